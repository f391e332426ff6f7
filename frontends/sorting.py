"""Sorting without data-dependent control flow, as decompositions: a value's place is how many values go before it.

Costs n * n comparisons for n values, so long axes are left to the report of what cannot be compiled.
"""

import torch

_aten = torch.ops.aten
# Rank by comparison writes n * n booleans; beyond this a sort would dominate any model.
_LONGEST = 1024


def sort(
    x: torch.Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`aten.sort`: values and indices along `dim`, equal values in their order, NaN as the largest."""
    return _sorted(x, dim, descending, None)


def sort_stable(
    x: torch.Tensor, *, stable: bool | None, dim: int = -1, descending: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """`aten.sort.stable`."""
    return _sorted(x, dim, descending, None)


def topk(
    x: torch.Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """`aten.topk`: always in order."""
    return _sorted(x, dim, largest, k)


def _sorted(x: torch.Tensor, dim: int, descending: bool, count: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    if x.dim() == 0:
        return _aten.clone(x), _aten.zeros_like(x, dtype=torch.int64)
    length = x.shape[dim]
    if length > _LONGEST:
        return NotImplemented
    last = x.movedim(dim, -1)
    mine, other = last.unsqueeze(-1), last.unsqueeze(-2)
    places = torch.arange(length, device=x.device)
    equal = mine == other
    before = (mine < other) if descending else (other < mine)
    if x.is_floating_point():
        mine_nan, other_nan = mine != mine, other != other
        equal = equal | (mine_nan & other_nan)
        before = before | ((other_nan & ~mine_nan) if descending else (mine_nan & ~other_nan))
    before = before | (equal & (places < places.unsqueeze(-1)))
    rank = before.sum(-1)
    # hit[..., place, element]: the element belongs there.
    hit = rank.unsqueeze(-2) == places[: length if count is None else count].unsqueeze(-1)
    kind = x.dtype if x.dtype != torch.bool else torch.int64
    values = torch.where(hit, last.unsqueeze(-2).to(kind), torch.zeros((), dtype=kind)).sum(-1).to(x.dtype)
    indices = torch.where(hit, places, torch.zeros((), dtype=torch.int64)).sum(-1)
    return values.movedim(-1, dim), indices.movedim(-1, dim)


SORTING = {_aten.sort.default: sort, _aten.sort.stable: sort_stable, _aten.topk.default: topk}
