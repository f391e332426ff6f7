"""Block-column-row pruning (GRIM)."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from .block import Block
from .blocks import project_bcr
from .encoding import INDEX_BYTES, VALUE_BYTES, Encoding, any_of, as_matrix, bytes_of_bits, repeat_cut
from .pruning import Pruning, Units, budget_of, matrix_view
from .reductions import COLUMNS, Reductions, chain

# Size -> the size that it is reduced from. One row a block is what CSR stores. Blocks have at least eight columns, or
# four where they have few rows, since narrower ones would find structure in zeros that lie at random.
_ROWS = {2: 1, 4: 2, 8: 4, 12: 4, 16: 8, 24: 12, 32: 16, 48: 24, 64: 32, 128: 64}
_NARROW, _ROWS_OF_NARROW = 4, 16


@dataclasses.dataclass(frozen=True)
class Bcr(Encoding):
    """Block-column-row (GRIM): in each `block_rows` x `block_columns` block whole rows and columns are gone.

    Bytes: 4 per kept value; 4 per kept column of each block; a row mask of `ceil(block_rows / 8)` bytes per
    block that keeps anything; `4 * (bands + 1)` for where each band of blocks begins (a column's number tells
    its block). With `block_columns = 1` it is a list of kept columns per band of `block_rows` rows, without row masks.
    """

    scheme = "bcr"
    block_rows: int
    block_columns: int

    @classmethod
    def candidates(cls, mask: np.ndarray, reductions: Reductions) -> Iterator[tuple[int, Encoding]]:
        """Blocks of 2, 4, 8, 12, 16, 24, 32, 48, 64, 128 or all rows by 1, 4 (up to 16 rows), 8, 16, ... 128 or all
        columns."""
        bits = reductions.bits
        # kept_rows[c][r]: rows kept in each block of r x c; kept_columns likewise from the bands' columns
        bands = chain(bits, 0, _ROWS, np.bitwise_or)
        kept_rows = {c: chain(s, 0, _ROWS, np.add) for c, s in reductions.segments.items() if c >= _NARROW}
        for height, band in bands.items():
            if height == 1:
                continue
            per_band = band.sum(axis=1, dtype=np.int64)
            shared = INDEX_BYTES * int(per_band.sum()) + INDEX_BYTES * (len(per_band) + 1)
            last = bits.shape[0] - height * (len(per_band) - 1)
            values = height * int(per_band[:-1].sum()) + last * int(per_band[-1])
            yield VALUE_BYTES * values + shared, cls(height, 1)
            kept_columns = chain(band, 1, COLUMNS, np.add)
            for width, by_row in kept_rows.items():
                if width < 2 * _NARROW and height > _ROWS_OF_NARROW:
                    continue
                block_rows = by_row[height]
                dtype = np.int32 if max(height, width) <= 128 else np.int64
                values = int(np.multiply(block_rows, kept_columns[width], dtype=dtype).sum(dtype=np.int64))
                masks = bytes_of_bits(height) * int(np.count_nonzero(block_rows))
                yield VALUE_BYTES * values + masks + shared, cls(height, width)

    def kept(self, mask: np.ndarray) -> np.ndarray:
        matrix = as_matrix(mask)
        height, width = matrix.shape
        columns = repeat_cut(any_of(matrix, 0, self.block_rows), 0, self.block_rows, height)
        if self.block_columns > 1:
            columns &= repeat_cut(any_of(matrix, 1, self.block_columns), 1, self.block_columns, width)
        return columns.reshape(mask.shape)

    def packed_bytes(self, mask: np.ndarray) -> int:
        matrix = as_matrix(mask)
        columns = any_of(matrix, 0, self.block_rows)
        total = VALUE_BYTES * int(self.kept(matrix).sum()) + INDEX_BYTES * int(columns.sum())
        if self.block_columns > 1:
            blocks = int(any_of(columns, 1, self.block_columns).sum())
            total += bytes_of_bits(self.block_rows) * blocks
        return total + INDEX_BYTES * (columns.shape[0] + 1)

    def band(self, rows: int) -> int | None:
        return min(self.block_rows, rows) if self.block_columns == 1 else None

    def __str__(self) -> str:
        return f"bcr {self.block_rows}x{self.block_columns}"


class BcrPruning(Pruning):
    """Sizes: rows and columns of a block. Exact with one row or column a block; otherwise see `project_bcr`."""

    name = "bcr"
    separator = "x"
    default = (4, 1)
    timed = ("4x16", "4x1", "8x1", "16x1", "32x1", "64x1")

    @property
    def block(self) -> tuple[int, int]:
        return (self.sizes[0], self.sizes[1])

    def units(self, shape: tuple[int, ...]) -> Units:
        height, width = self.block
        if 1 in self.block:
            return Units(matrix_view(shape), ((height, width, 1),))
        return Units(matrix_view(shape), ((1, width, 1), (height, 1, 1)), "crossed")

    def project(self, squares: np.ndarray, sparsity: float, row_share: float | None) -> np.ndarray:
        return project_bcr(squares[:, :, 0], self.block, budget_of(squares, sparsity), row_share)[:, :, None]

    def encoding(self, mask: np.ndarray) -> Encoding:
        # With one row a block, the kept columns of the block are a row segment.
        return Block(self.sizes[1]) if self.sizes[0] == 1 else Bcr(*self.sizes)
