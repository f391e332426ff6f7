"""N:M: of neighbouring columns a fixed number."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from .encoding import VALUE_BYTES, Encoding, IllegalEncodingError, as_matrix, bytes_of_bits
from .pruning import Pruning, SchemeError, Units, matrix_view
from .reductions import Reductions, chain

_GROUPS = {2: 1, 4: 2, 8: 4, 16: 8}


@dataclasses.dataclass(frozen=True)
class NM(Encoding):
    """N:M: of every `m` neighbouring columns of a row at most `n` are kept.

    Of a remainder of fewer columns at most all are. A group with fewer weights keeps zeros beside them, the leftmost
    ones. Bytes: 4 per kept value and `ceil(log2 m)` bits for its place in the group, rounded up to bytes once.
    """

    scheme = "nm"
    n: int
    m: int

    def check(self) -> None:
        if self.n >= self.m:
            raise ValueError(f"expected n < m in #sparsity.nm, found n = {self.n}, m = {self.m}")

    @classmethod
    def candidates(cls, mask: np.ndarray, reductions: Reductions) -> Iterator[tuple[int, Encoding]]:
        """M of 2, 4, 8, 16 and N a power of two up to M / 2."""
        rows, columns = reductions.bits.shape
        counts = chain(reductions.bits, 1, {m: o for m, o in _GROUPS.items() if m <= columns}, np.add)
        for m in _GROUPS:
            if m not in counts:
                continue
            most = max(1, int(counts[m].max()))
            n = 1 << (most - 1).bit_length()
            if 2 * n <= m:
                stored = rows * (columns // m * n + min(n, columns % m))
                yield VALUE_BYTES * stored + bytes_of_bits(stored * (m - 1).bit_length()), cls(n, m)

    def kept(self, mask: np.ndarray) -> np.ndarray:
        matrix, m = as_matrix(mask), self.m
        height, width = matrix.shape
        padded = np.zeros((height, -(-width // m) * m), bool)
        padded[:, :width] = matrix
        groups = padded.reshape(height, -1, m)
        counts = groups.sum(axis=2)
        if (counts > self.n).any():
            row, group = np.argwhere(counts > self.n)[0]
            last = min((group + 1) * m, width) - 1
            raise IllegalEncodingError(
                f"row {row} has {counts[row, group]} weights in columns {group * m} to {last}, "
                f"of which {self.n}:{m} keeps {self.n}"
            )
        room = self.n - counts
        fill = np.cumsum(~groups, axis=2, dtype=np.int64) <= room[:, :, None]
        return (groups | fill).reshape(height, -1)[:, :width].reshape(mask.shape)

    def packed_bytes(self, mask: np.ndarray) -> int:
        stored = int(self.kept(mask).sum())
        return VALUE_BYTES * stored + bytes_of_bits(stored * (self.m - 1).bit_length())

    def __str__(self) -> str:
        return f"nm {self.n}:{self.m}"


class NMPruning(Pruning):
    """Sizes: n and m. The n largest of each group are kept: exact; the sparsity is 1 - n/m."""

    name = "nm"
    separator = ":"
    default = (2, 4)
    timed = ("2:4",)

    def check(self) -> None:
        if self.sizes[0] >= self.sizes[1]:
            raise SchemeError(f"scheme 'nm' keeps n of m columns with n < m, found {self}")

    @property
    def block(self) -> tuple[int, int]:
        return (1, self.sizes[1])

    @property
    def fixed_sparsity(self) -> float:
        return 1 - self.sizes[0] / self.sizes[1]

    def at(self, sparsity: float) -> "NMPruning | None":
        least, of = self.sizes
        kept = max(least, round((1 - sparsity) * of))
        return None if kept >= of else NMPruning((kept, of))

    def units(self, shape: tuple[int, ...]) -> Units:
        return Units(matrix_view(shape), ((1, 1, 1),), "quota")

    def step(self, shape: tuple[int, ...]) -> int:
        rows, columns, _ = matrix_view(shape)
        return 1 if columns % self.sizes[1] == 0 else rows * self.sizes[0]

    def project(self, squares: np.ndarray, sparsity: float, row_share: float | None) -> np.ndarray:
        n, m = self.sizes
        if not math.isclose(sparsity, self.fixed_sparsity, abs_tol=0.005):
            raise SchemeError(f"scheme '{self}' gives a sparsity of {1 - n / m:g}, found {sparsity:g} wanted")
        rows, columns, _ = squares.shape
        padded = np.full((rows, -(-columns // m) * m), -1.0)
        padded[:, :columns] = squares[:, :, 0]
        groups = padded.reshape(rows, -1, m)
        order = np.argsort(-groups, axis=2, kind="stable")
        kept = np.zeros(groups.shape, bool)
        np.put_along_axis(kept, order[:, :, :n], True, axis=2)
        return kept.reshape(rows, -1)[:, :columns, None]

    def encoding(self, mask: np.ndarray) -> Encoding:
        return NM(*self.sizes)
