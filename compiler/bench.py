"""Times a bundle: whole runs in turns with others, and its dispatches one by one."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiled_model import CompiledModel
from .timing import Latency, interleave
from .verify import sample

if TYPE_CHECKING:
    pass


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
    specs = compiled.inputs
    # Any integer is a position in some table; zero and one are in all of them.
    examples = {spec.name: np.array([0, 1]) for spec in specs}
    arrays = sample(specs, examples, getattr(loaded, "config", None), np.random.default_rng(0))
    candidates: dict[str, Callable[[], object]] = {"secateur": lambda: compiled.run(arrays)}
    if loaded is not None:
        from .baselines import stock_iree, torch_eager

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
