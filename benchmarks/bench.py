"""Times a bundle: whole runs in turns with PyTorch and stock IREE, or with every engine that is installed."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.compiler.build.compiled_model import CompiledModel
from secateur.compiler.measure.timing import Latency, interleave
from secateur.compiler.verify.comparison import sample
from secateur.dialects.errors import SecateurError
from secateur.dialects.scratch import ScratchFolder

if TYPE_CHECKING:
    from secateur.compiler.verify.comparison import Arrays

    from .peers.contest import Outcome


class BenchError(SecateurError):
    """A bundle cannot be timed; the text is one sentence."""


def bench_bundle(
    path: str | os.PathLike[str],
    *,
    model: str | None = None,
    with_stock_iree: bool = False,
    threads: int = 1,
    rounds: int = 30,
    progress: Callable[[str], None] = lambda stage: None,
) -> dict[str, Latency]:
    """Latencies by candidate: `secateur`; with `model`, the folder the bundle was made of, also `PyTorch`; and
    `stock IREE` where asked. All run on the same random inputs, of the bundle's full size, in turns.
    """
    progress("loading")
    compiled = CompiledModel.open(path, threads=threads)
    loaded: Any = None
    if model is not None:
        from secateur.frontends import load_model

        loaded = load_model(model)
    arrays = _random_inputs(compiled, getattr(loaded, "config", None))
    candidates: dict[str, Callable[[], object]] = {"secateur": lambda: compiled.run(arrays)}
    if loaded is not None:
        from secateur.compiler.measure.baselines import stock_iree, torch_eager

        eager = torch_eager(loaded.module, threads)
        candidates["PyTorch"] = lambda: eager(arrays)
        if with_stock_iree:
            import torch

            progress("compiling with stock IREE")
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            stock = stock_iree(loaded.module, tensors, threads)
            candidates["stock IREE"] = lambda: stock(arrays)
    progress("timing")
    return interleave(candidates, rounds=rounds, progress=lambda done, of: progress(f"timing, round {done} of {of}"))


def bench_beside_peers(
    path: str | os.PathLike[str],
    *,
    model: str,
    threads: int = 1,
    rounds: int = 30,
    environments: Path | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> "Outcome":
    """The bundle in turns with every peer on the model in the folder `model`, each in a process of its own.

    All get the same weights and random inputs of the bundle's full size; outputs are compared with PyTorch's.
    `environments`: the folder of the peers' environments. A peer that is not installed, or fails, is in `skipped` of
    the outcome.
    """
    import torch

    from secateur.frontends import load_model

    from .peers.contest import Candidate, contest
    from .peers.model_files import write_model
    from .peers.registry import PEERS, SECATEUR

    progress("loading")
    compiled, loaded = CompiledModel.open(path, threads=threads), load_model(model)
    arrays = _random_inputs(compiled, loaded.config)
    with ScratchFolder("bench") as scratch:
        folder = Path(scratch) / "model"
        progress("exporting the model for the peers")
        write_model(folder, loaded.module, {name: torch.from_numpy(array) for name, array in arrays.items()})
        compiled.save(folder / "model.bundle")
        candidates = [Candidate("secateur", SECATEUR, folder, threads)]
        candidates += [Candidate(peer.title, peer, folder, threads) for peer in PEERS.values()]
        return contest(candidates, environments=environments, rounds=rounds, progress=progress)


def _random_inputs(compiled: CompiledModel, config: Any) -> "Arrays":
    specs = compiled.inputs
    # Any integer is a position in some table; zero and one are in all of them.
    examples = {spec.name: np.array([0, 1]) for spec in specs}
    return sample(specs, examples, config, np.random.default_rng(0))
