"""Where a model is pruned without training: on the GPU, where PyTorch has one that knows float64."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def accelerated(module: "torch.nn.Module") -> Iterator[None]:
    """The module is on the first CUDA (or ROCm) device while this lasts, if there is one, and afterwards on the CPU."""
    import torch

    if not torch.cuda.is_available():
        yield
        return
    try:
        module.to("cuda")
        yield
    finally:
        module.to("cpu")
