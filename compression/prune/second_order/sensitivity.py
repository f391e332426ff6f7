"""What an error of a layer's output does to the outputs of the model, measured by noise."""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._pytree import tree_leaves

from .calibration import Calibration, on_output


def first_outputs(calibration: Calibration) -> list[torch.Tensor]:
    """The model's outputs for the first batch, of tokens that count; float64."""
    leaves: list[Any] = tree_leaves(calibration.run(0))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()]
    return [_tokens(tensor.double(), calibration.mask(0)) for tensor in tensors]


def effect_of_noise(
    calibration: Calibration,
    expected: Sequence[torch.Tensor],
    modules: Sequence[torch.nn.Module],
    fraction: float,
    seed: int,
) -> float:
    """How much of the squared norm of the model's outputs changes, over `fraction`, which is how much of the squared
    norm of the outputs of `modules` changes, by normal noise that is the same for all features; norms are about the
    mean. On the first batch, whose outputs without noise are `expected` (of `first_outputs`).
    """
    mask = calibration.mask(0)
    with contextlib.ExitStack() as stack:
        for module in modules:
            generator = torch.Generator().manual_seed(seed)

            def disturb(y: torch.Tensor, module: Any = module, generator: torch.Generator = generator) -> torch.Tensor:
                # The features of a convolution come second.
                last = y if isinstance(module, torch.nn.Linear) else y.movedim(1, -1)
                rows = _tokens(last, mask).flatten(0, -2)
                size = float((rows - rows.mean(dim=0)).square().mean()) * fraction
                return y + torch.randn(y.shape, generator=generator).to(y) * size**0.5

            stack.enter_context(on_output(module, disturb))
        found = first_outputs(calibration)
    effect = 0.0
    for before, after in zip(expected, found, strict=True):
        norm = float((before - before.mean()).square().sum())
        effect += float((after - before).square().sum()) / norm if norm else 0.0
    return effect / fraction


def _tokens(y: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The entries of the tokens that count, where `y` is [batch, tokens, ...]."""
    return y if mask is None or y.shape[: mask.dim()] != mask.shape else y[mask != 0]
