"""Small decompositions that PyTorch's tables lack: distances, products so far, and ops with a number for a tensor."""

import math
from typing import Any

import torch

_aten = torch.ops.aten
# As for sums so far: the work is quadratic.
_LONGEST = 1024


def cdist(a: torch.Tensor, b: torch.Tensor, p: float, mode: int | None) -> torch.Tensor:
    """`aten._cdist_forward`: [..., n, d] and [..., m, d] to distances [..., n, m]."""
    return _norm(a.unsqueeze(-2) - b.unsqueeze(-3), p)


def pdist(x: torch.Tensor, p: float = 2.0) -> torch.Tensor:
    """`aten._pdist_forward`: [n, d] to the distances of the n * (n - 1) / 2 pairs."""
    pairs = torch.triu_indices(x.shape[0], x.shape[0], 1)
    return _norm(x.index_select(0, pairs[0]) - x.index_select(0, pairs[1]), p)


def _norm(x: torch.Tensor, p: float) -> torch.Tensor:
    if p == 2:
        return (x * x).sum(-1).sqrt()
    if p == 0:
        return (x != 0).to(x.dtype).sum(-1)
    if p == 1:
        return x.abs().sum(-1)
    return x.abs().amax(-1) if math.isinf(p) else x.abs().pow(p).sum(-1).pow(1 / p)


def fmod(x: torch.Tensor, other: float) -> torch.Tensor:
    """`aten.fmod.Scalar`."""
    kind = torch.result_type(x, other)
    return torch.fmod(x.to(kind), torch.full((), other, dtype=kind))


def bitwise_or(x: torch.Tensor, other: int) -> torch.Tensor:
    """`aten.bitwise_or.Scalar`."""
    return torch.bitwise_or(x, torch.full((), other, dtype=torch.result_type(x, other)))


def bitwise_xor(x: torch.Tensor, other: int) -> torch.Tensor:
    """`aten.bitwise_xor.Scalar`."""
    return torch.bitwise_xor(x, torch.full((), other, dtype=torch.result_type(x, other)))


def copysign(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """`aten.copysign.Tensor`; the sign of a zero counts."""
    negative = (other < 0) | ((other == 0) & (1 / other < 0))
    return torch.where(negative, -x.abs(), x.abs())


def cumprod(x: torch.Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """`aten.cumprod`."""
    if x.dim() == 0 or x.shape[dim] > _LONGEST:
        return NotImplemented
    last = (x if dtype is None else x.to(dtype)).movedim(dim, -1).unsqueeze(-2)
    return torch.where(_so_far(x.shape[dim]), last, torch.ones((), dtype=last.dtype)).prod(-1).movedim(-1, dim)


def cummax(x: torch.Tensor, dim: int) -> Any:
    """`aten.cummax`: the largest value so far and the last place that holds it."""
    return _extreme(x, dim, largest=True)


def cummin(x: torch.Tensor, dim: int) -> Any:
    """`aten.cummin`."""
    return _extreme(x, dim, largest=False)


def _extreme(x: torch.Tensor, dim: int, largest: bool) -> Any:
    if x.dim() == 0 or x.shape[dim] > _LONGEST or not x.is_floating_point():
        return NotImplemented
    length = x.shape[dim]
    last = x.movedim(dim, -1).unsqueeze(-2)
    neutral = torch.full((), -math.inf if largest else math.inf, dtype=x.dtype)
    seen = torch.where(_so_far(length), last, neutral)
    values = seen.amax(-1) if largest else seen.amin(-1)
    holds = (last == values.unsqueeze(-1)) & _so_far(length)
    places = torch.where(holds, torch.arange(length), torch.zeros((), dtype=torch.int64)).amax(-1)
    return values.movedim(-1, dim), places.movedim(-1, dim)


def _so_far(length: int) -> torch.Tensor:
    places = torch.arange(length)
    return places <= places.unsqueeze(1)


ELEMENTARY = {
    _aten._cdist_forward.default: cdist,
    _aten._pdist_forward.default: pdist,
    _aten.fmod.Scalar: fmod,
    _aten.bitwise_or.Scalar: bitwise_or,
    _aten.bitwise_xor.Scalar: bitwise_xor,
    _aten.copysign.Tensor: copysign,
    _aten.cumprod.default: cumprod,
    _aten.cummax.default: cummax,
    _aten.cummin.default: cummin,
}
