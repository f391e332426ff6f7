"""Writes to computed places without loops, as decompositions: each place looks up the last value written to it.

%y = aten.index_put(%x, [%i], %v)   ->  %q[p] = the last m with i[m] = p, or -1
                                        %y = where(q >= 0, v[max(q, 0)], x)

Costs places * writes comparisons, so large writes are left to the report of what cannot be compiled.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

_aten = torch.ops.aten
# Comparisons beyond this would dominate any model.
_MOST = 1 << 24

Index = Sequence[torch.Tensor | None]


def index_put(x: torch.Tensor, indices: Index, values: torch.Tensor, accumulate: bool = False) -> Any:
    """`aten.index_put`: with one mask and one value, or with integers; `accumulate`: all values of a place count."""
    if any(index is not None and index.dtype == torch.bool for index in indices):
        return _put_where(x, indices, values, accumulate)
    given = [axis for axis, index in enumerate(indices) if index is not None]
    axes = [*given, *(axis for axis in range(x.dim()) if axis not in given)]
    sizes = [x.shape[axis] for axis in given]
    places = math.prod(sizes)
    written = torch.broadcast_tensors(*(index for index in indices if index is not None))
    count = written[0].numel()
    if not given or places * count > _MOST or given != list(range(given[0], given[0] + len(given))):
        return NotImplemented
    linear = torch.zeros_like(written[0])
    for index, size in zip(written, sizes, strict=True):
        linear = linear * size + torch.where(index < 0, index + size, index)
    # The indexed axes come first on both sides; in `values` the axes of the indices stand where the first one stood.
    rest = [x.shape[axis] for axis in axes[len(given) :]]
    before = [x.shape[axis] for axis in range(given[0])]
    shape = [*before, *written[0].shape, *rest[len(before) :]]
    shift = [*range(len(before), len(before) + written[0].dim()), *range(len(before))]
    shift += range(len(before) + written[0].dim(), len(shape))
    rows = values.expand(shape).permute(shift).reshape(count, -1)
    table = x.permute(axes).reshape(places, -1)
    made = _put_rows(table, linear.reshape(-1), rows, accumulate)
    inverse = sorted(range(x.dim()), key=axes.__getitem__)
    return made.reshape([*sizes, *rest]).permute(inverse)


def _put_rows(table: torch.Tensor, linear: torch.Tensor, rows: torch.Tensor, accumulate: bool) -> torch.Tensor:
    hit = linear == torch.arange(table.shape[0]).unsqueeze(1)
    if accumulate:
        return table + torch.where(hit.unsqueeze(-1), rows, torch.zeros((), dtype=rows.dtype)).sum(1)
    last = _last(hit)
    return torch.where((last >= 0).unsqueeze(-1), rows.index_select(0, last.clamp(min=0)), table)


def _last(hit: torch.Tensor) -> torch.Tensor:
    return torch.where(hit, torch.arange(hit.shape[-1]), torch.full((), -1, dtype=torch.int64)).amax(-1)


def _put_where(x: torch.Tensor, indices: Index, values: torch.Tensor, accumulate: bool) -> Any:
    mask = indices[0]
    alone = mask is not None and all(index is None for index in indices[1:])
    if not alone or mask is None or values.numel() != 1:
        return NotImplemented
    mask = mask.reshape([*mask.shape, *[1] * (x.dim() - mask.dim())])
    value = values.reshape([]).to(x.dtype)
    return torch.where(mask, x + value if accumulate else value, x)


def scatter_src(x: torch.Tensor, dim: int, index: torch.Tensor, src: torch.Tensor) -> Any:
    """`aten.scatter.src`."""
    return _scatter(x, dim, index, src, None)


def scatter_value(x: torch.Tensor, dim: int, index: torch.Tensor, value: float) -> Any:
    """`aten.scatter.value`."""
    return _scatter(x, dim, index, torch.full_like(index, value, dtype=x.dtype), None)


def scatter_add(x: torch.Tensor, dim: int, index: torch.Tensor, src: torch.Tensor) -> Any:
    """`aten.scatter_add`."""
    return _scatter(x, dim, index, src, "sum")


def scatter_reduce(
    x: torch.Tensor, dim: int, index: torch.Tensor, src: torch.Tensor, reduce: str, *, include_self: bool = True
) -> Any:
    """`aten.scatter_reduce.two`."""
    return _scatter(x, dim, index, src, reduce, include_self)


def _scatter(
    x: torch.Tensor, dim: int, index: torch.Tensor, src: torch.Tensor, reduce: str | None, include_self: bool = True
) -> Any:
    if x.dim() == 0 or x.numel() * index.shape[dim] > _MOST:
        return NotImplemented
    dim %= x.dim()
    # An index that is smaller than x on other axes leaves the rest of x alone: no place is -1.
    missing = [0 if axis == dim else x.shape[axis] - index.shape[axis] for axis in reversed(range(x.dim()))]
    padding = [size for after in missing for size in (0, after)]
    src = src[tuple(slice(0, size) for size in index.shape)]
    index = _aten.constant_pad_nd(index, padding, -1).movedim(dim, -1).unsqueeze(-2)
    src = _aten.constant_pad_nd(src, padding, 0).movedim(dim, -1)
    here = x.movedim(dim, -1)
    hit = index == torch.arange(here.shape[-1]).unsqueeze(1)
    if reduce is None:
        last = _last(hit)
        made = torch.where(last >= 0, src.gather(-1, last.clamp(min=0)), here)
        return made.movedim(-1, dim)
    empty = {"sum": 0, "mean": 0, "prod": 1, "amax": _lowest(x.dtype), "amin": _highest(x.dtype)}[reduce]
    neutral = torch.full((), empty, dtype=x.dtype)
    terms = torch.where(hit, src.unsqueeze(-2), neutral)
    touched = hit.any(-1)
    start = here if include_self else torch.where(touched, neutral, here)
    if reduce in ("sum", "mean"):
        made = start + terms.sum(-1)
        if reduce == "mean":
            count = hit.sum(-1) + (1 if include_self else 0)
            count = torch.where(touched, count, torch.ones((), dtype=count.dtype)).to(x.dtype)
            made = made / count if x.is_floating_point() else torch.div(made, count, rounding_mode="floor")
    elif reduce == "prod":
        made = start * terms.prod(-1)
    else:
        made = torch.maximum(start, terms.amax(-1)) if reduce == "amax" else torch.minimum(start, terms.amin(-1))
    return made.movedim(-1, dim)


def _lowest(dtype: torch.dtype) -> float:
    return -math.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def _highest(dtype: torch.dtype) -> float:
    return math.inf if dtype.is_floating_point else torch.iinfo(dtype).max


def masked_scatter(x: torch.Tensor, mask: torch.Tensor, source: torch.Tensor) -> Any:
    """`aten.masked_scatter`: the n-th true place takes the n-th value of `source`."""
    mask, x = torch.broadcast_tensors(mask, x)
    number = mask.reshape(-1).to(torch.int64).cumsum(0) - 1
    taken = source.reshape(-1).index_select(0, number.clamp(min=0)).reshape(x.shape)
    return torch.where(mask, taken, x)


SCATTERING = {
    _aten.index_put.default: index_put,
    _aten.scatter.src: scatter_src,
    _aten.scatter.value: scatter_value,
    _aten.scatter_add.default: scatter_add,
    _aten.scatter_reduce.two: scatter_reduce,
    _aten.masked_scatter.default: masked_scatter,
}
