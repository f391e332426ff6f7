"""One layer: which units go and what the others become."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from secateur.dialects.number_formats import Storage
from secateur.dialects.schemes.blocks import group_sizes, spread
from secateur.dialects.schemes.selection import keep_largest, keep_units

from ..projections import project
from ..scheme import Scheme
from .blocks import block_mask
from .correction import damped, least_squares, output_error
from .patterns import pattern_mask
from .removal import removal_order
from .rounding import nearest, rounded


@dataclasses.dataclass(frozen=True)
class Solution:
    """A pruned weight (float64) and its mask, both [rows, columns]; `error` of the outputs squared, of `energy`."""

    weight: torch.Tensor
    mask: torch.Tensor
    error: float
    energy: float


def solve(
    weight: torch.Tensor,
    second: torch.Tensor,
    scheme: Scheme | None,
    sparsity: float | None,
    damping: float,
    area: int = 1,
    storage: Storage | None = None,
) -> Solution:
    """Prunes `weight` [rows, columns] for inputs with second moments `second` [columns, columns], both float64.

    The mask is chosen by the error of the outputs, with as many weights as `project` keeps:
    - `unstructured`, `bcr` with one row or column a block, `block`, kernel positions: `removal_order`, all bands
      competing.
    - `nm`: the same in each row, without competition.
    - `bcr` with rows and columns: `block_mask`.
    - `pattern`: `pattern_mask`.
    - `filter`: the rows whose outputs have the least energy (nothing can stand in for them).
    Without a scheme what is zero stays zero and nothing else goes.
    `area` is the number of kernel positions (schemes of kernels): columns are [channels, positions].
    What stays is corrected by `least_squares`, and with a `storage` by `rounded`. Never worse in output error than the
    largest weights left as they are, or each rounded by itself: where it would be, as for inputs that fix nothing,
    those are the result.
    Raises `PruneError` as `project` does.
    """
    energy = output_error(weight, second)
    regular = damped(second, damping)

    def candidate(mask: torch.Tensor, corrected: bool = True) -> Solution:
        solved = least_squares(weight, mask, regular) if corrected else weight * mask
        if storage is not None:
            solved = rounded(solved, weight, mask, regular, storage) if corrected else nearest(solved, storage)
        return Solution(solved, mask, output_error(solved - weight, second), energy)

    if scheme is None:
        return min(candidate(weight != 0), candidate(weight != 0, corrected=False), key=lambda found: found.error)
    shape: tuple[int, ...] = tuple(weight.shape)
    dimensions = scheme.rule.dimensions[0]
    if dimensions > 2:
        shape = (len(weight), second.shape[0] // area, *(1,) * (dimensions - 3), area)
    simple = project(weight.reshape(shape).cpu().numpy(), scheme, sparsity)
    largest = torch.from_numpy(simple.reshape(weight.shape)).to(weight.device)
    bound = candidate(largest, corrected=False)
    if largest.all():
        return bound if storage is None else min(candidate(largest), bound, key=lambda found: found.error)
    # The count that the projection reaches is what the units can reach.
    rate = scheme.fixed_sparsity if sparsity is None else sparsity
    assert rate is not None, "the projection has refused a missing sparsity"
    best = candidate(_mask(weight, regular, scheme, shape, rate))
    if best.error > bound.error:
        best = min(candidate(largest), bound, key=lambda found: found.error)
    return best


def _mask(
    weight: torch.Tensor, second: torch.Tensor, scheme: Scheme, shape: tuple[int, ...], sparsity: float
) -> torch.Tensor:
    units, block = scheme.rule.units(shape), scheme.rule.block
    budget = round((1 - sparsity) * weight.numel())
    if units.choice == "rows":
        energies = ((weight @ second) * weight).sum(dim=1).cpu().numpy()
        rows = torch.from_numpy(keep_largest(energies, budget // weight.shape[1])).to(weight.device)
        return rows[:, None].expand(weight.shape).clone()
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(second))
    if units.choice == "patterns":
        return pattern_mask(weight, inverse, block[0], sparsity)
    if units.choice == "quota":
        quota = block[1]
        left = round((1 - sparsity) * quota)
        order, _ = _order(weight[:, None], inverse, 1, left, quota)
        return torch.ones(weight.shape, dtype=torch.bool).scatter(1, order, False)
    if units.choice == "crossed":
        return _fast_first(lambda w, h: block_mask(w, h, block, budget), weight, inverse)
    height, width, _ = units.tiles[0]
    area = units.shape[2]
    if area == 1:
        return _units(weight, inverse, height, width, budget)
    together, widths = kernel_units(weight.shape[1], width, area)
    mask = torch.empty(weight.shape, dtype=torch.bool)
    mask[:, together] = _units(weight[:, together], inverse[together][:, together], height, width, budget, widths)
    return mask


def kernel_units(columns: int, width: int, area: int) -> tuple[torch.Tensor, np.ndarray]:
    """For columns [channels, positions] an order that brings the channels of a block together at each of the `area`
    positions, and how many there are: those are the units of schemes of kernels."""
    channels = columns // area
    places = np.arange(columns).reshape(channels, area)
    order = np.concatenate([places[start : start + width].T.reshape(-1) for start in range(0, channels, width)])
    return torch.from_numpy(order), np.repeat(group_sizes(channels, width), area)


def _units(
    weight: torch.Tensor,
    inverse: torch.Tensor,
    height: int,
    width: int,
    budget: int,
    widths: np.ndarray | None = None,
) -> torch.Tensor:
    """The mask of units of `height` rows and `width` columns (`widths`: of each unit) of at most `budget` weights."""
    order, cost, sizes = emptied(weight, inverse, height, width, widths)
    # Last removed first: of equal costs the first are kept, and so a band keeps the end of its order.
    kept = keep_units(cost[:, ::-1], np.ascontiguousarray(sizes[:, ::-1]), budget)[:, ::-1]
    units = np.zeros(kept.shape, bool)
    np.put_along_axis(units, order, kept, axis=1)
    widths = group_sizes(weight.shape[1], width) if widths is None else widths
    return torch.from_numpy(np.repeat(spread(units, 0, height, len(weight)), widths, axis=1)).to(weight.device)


def emptied(
    weight: torch.Tensor, inverse: torch.Tensor, height: int, width: int, widths: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`removal_order` for any shape: units of `height` rows and `width` columns, fewer at the edges or where `widths`
    says so. All [bands, units]: order, costs, and the number of weights of each unit in that order."""
    rows, columns = weight.shape
    widths = group_sizes(columns, width) if widths is None else widths
    heights = group_sizes(rows, height)
    # Short units get columns, and the last band rows, that are zero and depend on nothing.
    starts = np.arange(len(widths)) * width
    real = torch.from_numpy(np.concatenate([np.arange(s, s + w) for s, w in zip(starts, widths, strict=True)]))
    wide = weight.new_zeros(len(heights) * height, len(widths) * width)
    wide[:rows, real] = weight
    padded = torch.eye(wide.shape[1], dtype=inverse.dtype)
    padded[real[:, None], real] = inverse
    order, cost = _order(wide.reshape(len(heights), height, -1), padded, width)
    places = order.cpu().numpy()
    return places, cost.cpu().numpy(), heights[:, None] * widths[places]


def _order(
    weight: torch.Tensor, inverse: torch.Tensor, group: int, left: int | None = None, quota: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    order, cost = _fast_first(lambda w, h: removal_order(w, h, group, left, quota), weight, inverse)
    return order, cost.double()


def _fast_first(
    choose: Callable[[torch.Tensor, torch.Tensor], Any], weight: torch.Tensor, inverse: torch.Tensor
) -> Any:
    """What `choose` makes of weight and inverse in float32, twice as fast and precise enough to choose by (what stays
    is solved for in float64); in float64 where a factorisation fails in float32."""
    try:
        return choose(weight.float(), inverse.float())
    except torch.linalg.LinAlgError:
        return choose(weight, inverse)
