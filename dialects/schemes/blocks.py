"""Block-column-row pruning: in each block, whole rows and whole columns, independently of other blocks."""

import numpy as np

from .rectangles import keep_rectangles
from .selection import keep_by_density, keep_units

_STEPS = 4
_FEW_BLOCKS = 64


def group_sums(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Sums of each `size` neighbours along `axis`; the last group may be smaller."""
    return np.add.reduceat(values, np.arange(0, values.shape[axis], size), axis=axis)


def group_sizes(length: int, size: int) -> np.ndarray:
    """The lengths of the groups that `length` is cut into."""
    return np.diff([*range(0, length, size), length])


def spread(groups: np.ndarray, axis: int, size: int, length: int) -> np.ndarray:
    """The inverse of grouping: each entry `size` times along `axis`, cut to `length`."""
    return np.repeat(groups, group_sizes(length, size), axis=axis)


def project_bcr(squares: np.ndarray, block: tuple[int, int], budget: int, row_share: float | None = None) -> np.ndarray:
    """The weights to keep of a matrix whose squared weights are given; at most `budget` of them.

    With one column a block the units are block_rows x 1 (one row: 1 x block_columns), ranked by norm over the
    whole matrix: the largest norm that can be kept (`keep_units`). Otherwise `keep_rectangles`: the largest norm for
    blocks whose smaller side has up to 4 rows, but for the rest of the budget that is smaller than a block.

    With `row_share` s the wanted density d is split instead, into d^s for row segments and d^(1 - s) for column
    segments, from 0 (columns only) to 1 (rows only). The row segments (block, row) with the largest norm per weight
    are kept over the whole matrix; of what they leave, the column segments (block, column) with the largest norm per
    weight up to the budget. In a matrix of few blocks, where the rest of the budget counts, the best such split
    is taken if it keeps more.
    """
    height, width = block
    if width == 1 or height == 1:
        axis, size = (0, height) if width == 1 else (1, width)
        sizes = group_sizes(squares.shape[axis], size)
        shape = (-1, 1) if axis == 0 else (1, -1)
        scores = group_sums(squares, axis, size)
        kept = keep_units(scores, np.broadcast_to(sizes.reshape(shape), scores.shape), budget)
        return spread(kept, axis, size, squares.shape[axis])
    if row_share is not None:
        return _project_split(squares, block, budget, row_share)
    if budget >= squares.size:
        return np.ones(squares.shape, bool)
    if budget <= 0:
        return np.zeros(squares.shape, bool)
    kept = keep_rectangles(squares, block, budget)
    if -(-squares.shape[0] // height) * -(-squares.shape[1] // width) > _FEW_BLOCKS:
        return kept
    splits = [_project_split(squares, block, budget, i / _STEPS) for i in range(_STEPS + 1)]
    return max([kept, *splits], key=lambda mask: float(squares[mask].sum()))


def _project_split(squares: np.ndarray, block: tuple[int, int], budget: int, row_share: float) -> np.ndarray:
    rows, columns = squares.shape
    height, width = block
    row_scores = group_sums(squares, 1, width)
    row_sizes = np.broadcast_to(group_sizes(columns, width), row_scores.shape)
    row_budget = round(squares.size * (budget / squares.size) ** row_share)
    if row_share == 1:
        return spread(keep_units(row_scores, row_sizes, budget), 1, width, columns)
    kept_rows = keep_units(row_scores, row_sizes, max(row_budget, budget))
    kept = spread(kept_rows, 1, width, columns)
    column_scores = group_sums(squares * kept, 0, height)
    column_sizes = group_sums(kept.astype(np.int64), 0, height)
    kept_columns = keep_by_density(column_scores, column_sizes, budget)
    return kept & spread(kept_columns, 0, height, rows)
