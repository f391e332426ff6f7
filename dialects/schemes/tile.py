"""Tile pruning: blocks of weights that stay or go as a whole (Gray, Radford and Kingma, "GPU Kernels for Block-Sparse
Weights", 2017)."""

import numpy as np

from .bcr import Bcr
from .block import Block
from .blocks import group_sizes, group_sums, spread
from .encoding import Encoding
from .pruning import Pruning, SchemeError, budget_of
from .selection import keep_units


class TilePruning(Pruning):
    """Sizes: rows and columns of a tile. The tiles of the largest norm are kept over the whole matrix.

    Tiles of four columns are what products of bytes multiply at once. Tiles are cut from the first row and column on;
    the last ones may be smaller. The norm is the largest for its number of weights where tiles divide the matrix.
    """

    name = "tile"
    separator = "x"
    default = (4, 4)
    timed = ("1x4", "2x4", "4x4", "8x4", "16x4")

    def check(self) -> None:
        if self.sizes[1] == 1:
            raise SchemeError(f"scheme 'tile' takes two columns or more, found '{self.sizes[0]}x1', which is bcr's")

    @property
    def block(self) -> tuple[int, int]:
        return (self.sizes[0], self.sizes[1])

    def project(self, squares: np.ndarray, sparsity: float, row_share: float | None) -> np.ndarray:
        height, width = self.block
        rows, columns, _ = squares.shape
        scores = group_sums(group_sums(squares[:, :, 0], 0, height), 1, width)
        sizes = np.outer(group_sizes(rows, height), group_sizes(columns, width))
        kept = keep_units(scores, sizes, budget_of(squares, sparsity))
        return spread(spread(kept, 0, height, rows), 1, width, columns)[:, :, None]

    def encoding(self, mask: np.ndarray) -> Encoding:
        # With one row a tile, the kept columns of a tile are a row segment.
        return Block(self.sizes[1]) if self.sizes[0] == 1 else Bcr(*self.sizes)
