"""Models made ready for a contest: exported for the peers (kept between runs), compiled by Secateur (made anew)."""

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .peers.contest import Candidate
from .peers.model_files import write_model
from .peers.registry import REQUIREMENTS, SECATEUR, Peer

if TYPE_CHECKING:
    import torch


@dataclasses.dataclass
class Workshop:
    """`kept`: folder of what the peers converted, which later runs use again. `environments`: the peers' own. `demo`:
    the folder in which `make demo KEEP=DIR` left its models, if there is one.
    """

    kept: Path
    environments: Path
    progress: Callable[[str], None]
    demo: Path | None = None

    def __post_init__(self) -> None:
        self.kept.mkdir(parents=True, exist_ok=True)
        self._scratch = tempfile.TemporaryDirectory(dir=self.kept, prefix="compiled-")

    def close(self) -> None:
        """Removes what was compiled."""
        self._scratch.cleanup()

    def for_peer(
        self,
        name: str,
        peer: Peer,
        module: "torch.nn.Module",
        inputs: "Mapping[str, torch.Tensor]",
        calibration: "Mapping[str, torch.Tensor] | None" = None,
        **rest: int,
    ) -> Candidate:
        """`module` for an engine other than Secateur. `calibration`: rows of inputs, for one that needs them."""
        from secateur.compiler.build.cache import hash_weights

        arrays = {key: tensor.detach().numpy() for key, tensor in [*module.state_dict().items(), *inputs.items()]}
        content = hash_weights(arrays) + repr(module) + "".join(_requirements())
        folder = self.kept / f"model-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        if not folder.exists():
            self.progress(f"exporting {name}")
            with tempfile.TemporaryDirectory(dir=self.kept, prefix="exporting-") as scratch:
                write_model(Path(scratch) / "model", module, inputs, calibration=calibration)
                (Path(scratch) / "model").rename(folder)
        return Candidate(name, peer, folder, rounded=peer.precision != "f32", **rest)

    def for_secateur(
        self,
        name: str,
        module: "torch.nn.Module",
        inputs: "Mapping[str, torch.Tensor]",
        threads: int = 1,
        repeat: int = 1,
        **options: Any,
    ) -> Candidate:
        """`module` compiled by Secateur, with `options` of `compile_model`."""
        from secateur.compiler import compile_model

        self.progress(f"compiling {name}")
        compiled = compile_model(module, inputs, threads=threads, **options)
        folder = self._folder(module, inputs)
        compiled.save(folder / "model.bundle")
        return Candidate(name, SECATEUR, folder, threads, repeat, rounded="arithmetic" in options)

    def for_bundle(
        self, name: str, bundle: Path, module: "torch.nn.Module", inputs: "Mapping[str, torch.Tensor]"
    ) -> Candidate:
        """`module`, which `secateur compile` made `bundle` of for one thread."""
        folder = self._folder(module, inputs)
        (folder / "model.bundle").symlink_to(bundle.resolve())
        return Candidate(name, SECATEUR, folder)

    def _folder(self, module: "torch.nn.Module", inputs: "Mapping[str, torch.Tensor]") -> Path:
        folder = Path(tempfile.mkdtemp(dir=self._scratch.name))
        write_model(folder, module, inputs, for_peers=False)
        return folder


def _requirements() -> list[str]:
    here = Path(__file__).with_name("peers")
    return [(here / file).read_text() for file in REQUIREMENTS.values()]
