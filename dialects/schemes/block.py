"""Block pruning (RT3, level 1)."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from .blocks import project_bcr
from .encoding import VALUE_BYTES, Encoding, any_of, as_matrix, bytes_of_bits, repeat_cut
from .pruning import Pruning, budget_of
from .reductions import Reductions

# Row segments with one bit each are a bitmap where they are narrow, which would find structure in any zeros that lie
# at random: chunks are wider than eight columns.
_CHUNKS = (16, 32, 64, 128)
_LEAST = 9


@dataclasses.dataclass(frozen=True)
class Block(Encoding):
    """Block pruning (RT3, level 1): in each chunk of `chunk_columns` columns whole row segments are gone.

    Bytes: 4 per kept value and one bit per (row, chunk), rounded up.
    """

    scheme = "block"
    chunk_columns: int

    @classmethod
    def candidates(cls, mask: np.ndarray, reductions: Reductions) -> Iterator[tuple[int, Encoding]]:
        """Chunks of 16, 32, 64, 128 or all columns."""
        columns = reductions.bits.shape[1]
        for chunk in (*(c for c in _CHUNKS if c < columns), columns):
            if chunk >= _LEAST:
                segments = reductions.segments[chunk]
                count = segments.sum(axis=0, dtype=np.int64)
                last = columns - chunk * (len(count) - 1)
                values = chunk * int(count[:-1].sum()) + last * int(count[-1])
                yield VALUE_BYTES * values + bytes_of_bits(segments.size), cls(chunk)

    def kept(self, mask: np.ndarray) -> np.ndarray:
        matrix = as_matrix(mask)
        segments = any_of(matrix, 1, self.chunk_columns)
        return repeat_cut(segments, 1, self.chunk_columns, matrix.shape[1]).reshape(mask.shape)

    def packed_bytes(self, mask: np.ndarray) -> int:
        segments = any_of(as_matrix(mask), 1, self.chunk_columns)
        return VALUE_BYTES * int(self.kept(mask).sum()) + bytes_of_bits(segments.size)

    def __str__(self) -> str:
        return f"block {self.chunk_columns}"


class BlockPruning(Pruning):
    """Sizes: the columns of a chunk. The row segments of the largest norm are kept: exact."""

    name = "block"
    separator = ""
    default = (64,)
    timed = ("16", "32", "64", "128")

    @property
    def block(self) -> tuple[int, int]:
        return (1, self.sizes[0])

    def project(self, squares: np.ndarray, sparsity: float, row_share: float | None) -> np.ndarray:
        return project_bcr(squares[:, :, 0], self.block, budget_of(squares, sparsity))[:, :, None]

    def encoding(self, mask: np.ndarray) -> Encoding:
        return Block(self.sizes[0])
