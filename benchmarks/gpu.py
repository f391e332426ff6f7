"""Times one encoder layer of MiniLM-L6 on a GPU, kernel by kernel: Secateur's, and stock IREE's.

    python -m secateur.benchmarks.gpu [--target android-vulkan]

128 tokens, hidden size 384, 12 heads, FFN 1536, batch 1, random weights, pruned by magnitude in bands of 16 rows. The
first GPU with Vulkan runs it. Where that is Mesa's lavapipe, the CPU does its work: counts, bytes and ratios say
something of a GPU, milliseconds nothing.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.dialects.scratch import ScratchFolder

from . import models

if TYPE_CHECKING:
    import torch

    from secateur.runtime_targets.targets import Target

STOCK = "stock IREE, dense"
SHAPE = {"hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536}


@dataclasses.dataclass(frozen=True)
class Timed:
    """A candidate: the least time of each of its dispatches, by kernel, in order, and the bytes that they read and
    write, where those are known."""

    name: str
    kernels: list[tuple[str, float]]
    moved_bytes: int | None

    def milliseconds(self, part: str = "") -> float:
        """Of the kernels whose names begin with `part`."""
        return sum(ms for kernel, ms in self.kernels if kernel.startswith(part))


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m secateur.benchmarks.gpu", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--target", default="android-vulkan", help="what code is made for")
    parser.add_argument("--sparsity", type=float, default=0.9, metavar="FRACTION")
    parser.add_argument(
        "--turns", type=int, default=5, metavar="N", help="of all candidates; each runs 12 times in one"
    )
    parser.add_argument("--kernels", action="store_true", help="list every dispatch")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    from rich.console import Console

    from secateur.compiler.measure.tables import table
    from secateur.runtime_targets.targets import get_target

    options, console = parse(arguments), Console()
    target = get_target(options.target)
    with ScratchFolder("gpu") as scratch:
        found = measure(target, options.sparsity, options.turns, Path(scratch))
    rows = []
    for timed in found:
        linears = timed.milliseconds("gpu_linear")
        rest = timed.milliseconds() - linears
        parts = ("", "") if timed.name == STOCK else (f"{linears:.2f}", f"{rest:.2f}")
        moved = "" if timed.moved_bytes is None else f"{timed.moved_bytes / 1e6:.1f}"
        rows.append((timed.name, str(len(timed.kernels)), *parts, f"{timed.milliseconds():.2f}", moved))
    columns = ("", "dispatches", "linears, ms", "rest, ms", "all, ms", "moved, MB")
    console.print(table(columns, rows))
    if options.kernels:
        for timed in found:
            console.print(table((timed.name, "ms"), [(kernel, f"{ms:.3f}") for kernel, ms in timed.kernels]))
    return 0


def measure(target: "Target", sparsity: float, turns: int, folder: Path) -> list[Timed]:
    """All candidates in turns, each time the least of all runs."""
    from secateur.runtime_targets.iree.vulkan import gpu_uri
    from secateur.runtime_targets.profile import profile_module

    layer = models.encoder_layer(**SHAPE)
    pruned = models.pruned(layer, "bcr", "16x1", sparsity)
    candidates: dict[str, tuple[Path, int | None]] = {}
    for name, module, weights in (
        (f"{sparsity:.0%} 16x1", pruned, "f32"),
        (f"{sparsity:.0%} 16x1, weights of f16", pruned, "f16"),
        ("dense", layer, "f32"),
    ):
        if weights == "f32" or target.f16:
            candidates[name] = _ours(module, target, weights, folder / f"ours{len(candidates)}")
    candidates[STOCK] = (_stock(target, folder / "stock"), None)
    uri, best = gpu_uri(target.subgroup), dict[str, list[tuple[str, float]]]()
    for _ in range(turns):
        for name, (where, _) in candidates.items():
            # Neither has an input beside the hidden states: nothing masks tokens here.
            words = [f"1x{models.TOKENS}x{SHAPE['hidden_size']}xf32=0.5"]
            calls = profile_module(where / "model.vmfb", [where / "weights.irpa"], words, 1, 12, uri).calls
            now = [(call.kernel, call.min_ms) for call in calls]
            before = best.get(name, now)
            best[name] = [(kernel, min(ms, old)) for (kernel, ms), (_, old) in zip(now, before, strict=True)]
    return [Timed(name, best[name], moved) for name, (_, moved) in candidates.items()]


def _ours(module: "torch.nn.Module", target: "Target", weights: str, folder: Path) -> tuple[Path, int]:
    """The folder with the code, and the bytes that a run reads and writes."""
    from secateur.compiler import compile_model
    from secateur.runtime_targets.bundle import open_bundle

    compile_model(module, _inputs(), target=target.name, weights=weights).save(folder)
    with open_bundle(folder) as bundle:
        work = bundle.target().dispatches
        moved = sum(w.read_bytes + w.written_bytes + w.weight_bytes + w.index_bytes for w in work)
    return folder, moved


def _inputs() -> "dict[str, torch.Tensor]":
    import torch

    torch.manual_seed(1)
    return {"hidden_states": torch.randn(1, models.TOKENS, SHAPE["hidden_size"])}


def _stock(target: "Target", folder: Path) -> Path:
    """torch-mlir's own lowering and IREE as it is; results are not used."""
    from iree.compiler import tools

    from secateur.compiler.pipeline.passmanager import run_pipeline
    from secateur.frontends import evaluation_copy, import_model
    from secateur.passes.base import PassContext
    from secateur.runtime_targets import iree

    # torch-mlir lowers the attention of separate products.
    layer = models.encoder_layer("eager", **SHAPE)
    imported = import_model(evaluation_copy(layer), _inputs())
    run_pipeline(imported.module, "torch-to-linalg", PassContext(imported.weights))
    assembly = iree.assemble(imported.module, imported.weights)
    folder.mkdir()
    code = tools.compile_str(assembly.text, extra_args=list(target.iree_flags), input_type="auto")
    (folder / "model.vmfb").write_bytes(code)
    iree.write_parameters(folder / "weights.irpa", dict(assembly.parameters))
    return folder


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
