"""Filter pruning: whole rows. Detection describes them as blocks of all columns."""

import numpy as np

from .block import Block
from .encoding import Encoding
from .pruning import Pruning, Units, budget_of, matrix_view
from .selection import keep_largest


class FilterPruning(Pruning):
    """The rows of the largest norm are kept: exact."""

    name = "filter"
    timed = (None,)

    def units(self, shape: tuple[int, ...]) -> Units:
        view = matrix_view(shape)
        return Units(view, ((1, view[1], 1),), "rows")

    def project(self, squares: np.ndarray, sparsity: float, row_share: float | None) -> np.ndarray:
        rows = keep_largest(squares.sum(axis=(1, 2)), budget_of(squares, sparsity) // squares.shape[1])
        return np.repeat(rows[:, None], squares.shape[1], axis=1)[:, :, None]

    def encoding(self, mask: np.ndarray) -> Encoding:
        return Block(matrix_view(mask.shape)[1])
