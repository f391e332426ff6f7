"""Pattern pruning (RT3, level 2): each tile keeps one of a few masks."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from .encoding import VALUE_BYTES, Encoding, IllegalEncodingError, as_matrix, bytes_of_bits
from .pruning import Pruning, SchemeError, Units, matrix_view
from .reductions import Reductions

_TILES = (4, 3, 2)
_MAX_PATTERNS = 16  # that detection takes
_PATTERNS = 8  # that a projection chooses, as PatDNN does
_FREQUENT = 64
_SAMPLED_TILES = 1 << 15
# How far from a wanted sparsity the next one may be that patterns have.
_NEAR = 0.03


@dataclasses.dataclass(frozen=True)
class Pattern(Encoding):
    """Pattern pruning (RT3, level 2): each `size` x `size` tile takes one of `patterns` masks.

    A mask is an integer; bit `row * size + column` is set where the weight is kept. A tile takes the pattern with the
    fewest bits that covers it, the first of equals; a tile at the edge keeps what of it lies inside.
    Bytes: 4 per kept value; 1 per tile (at most 256 patterns); `ceil(size^2 / 8)` per pattern.
    """

    scheme = "pattern"
    size: int
    patterns: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "patterns", tuple(int(p) for p in self.patterns))

    def check(self) -> None:
        if self.size > 7:
            raise ValueError(f"expected 'size' of #sparsity.pattern from 1 to 7, found {self.size}")
        if not self.patterns:
            raise ValueError("expected at least one mask in 'patterns' of #sparsity.pattern, found none")
        for mask in self.patterns:
            if not 0 <= mask < 1 << self.size**2:
                raise ValueError(f"expected masks of #sparsity.pattern to have {self.size**2} bits, found {mask}")

    @classmethod
    def candidates(cls, mask: np.ndarray, reductions: Reductions) -> Iterator[tuple[int, Encoding]]:
        """Patterns of 2x2 to 4x4 with at most 16 masks of one number of weights, for matrices."""
        for size in _TILES if mask.ndim == 2 else ():
            if min(mask.shape) < size:
                continue
            codes = tile_codes(reductions.bits, size)
            present = np.flatnonzero(np.bincount(codes.reshape(-1), minlength=1 << size * size))
            weights = np.array([int(code).bit_count() for code in present])
            most = int(weights.max())
            patterns = present[weights == most]
            if most in (0, size * size) or len(patterns) > _MAX_PATTERNS:
                continue
            covered = ((present[:, None] & ~patterns[None, :]) == 0).any(axis=1)
            if covered.all():
                encoding = cls(size, tuple(patterns.tolist()))
                yield encoding.packed_bytes(mask), encoding

    def kept(self, mask: np.ndarray) -> np.ndarray:
        matrix, size = as_matrix(mask), self.size
        codes = tile_codes(matrix, size)
        chosen = np.full(codes.shape, -1, np.int64)
        for pattern in sorted(self.patterns, key=int.bit_count):
            chosen = np.where((chosen < 0) & (codes & ~pattern == 0), pattern, chosen)
        if (chosen < 0).any():
            row, column = np.argwhere(chosen < 0)[0] * size
            raise IllegalEncodingError(f"no pattern covers the {size}x{size} tile at row {row}, column {column}")
        bits = (chosen[:, :, None] >> np.arange(size * size)) & 1
        bits = bits.reshape(*codes.shape, size, size).transpose(0, 2, 1, 3).astype(bool)
        tiled = bits.reshape(codes.shape[0] * size, codes.shape[1] * size)
        return tiled[: matrix.shape[0], : matrix.shape[1]].reshape(mask.shape)

    def packed_bytes(self, mask: np.ndarray) -> int:
        rows, columns = as_matrix(mask).shape
        tiles = -(-rows // self.size) * -(-columns // self.size)
        table = len(self.patterns) * bytes_of_bits(self.size**2)
        return VALUE_BYTES * int(self.kept(mask).sum()) + tiles + table

    def __str__(self) -> str:
        return f"pattern {self.size}x{self.size} ({len(self.patterns)} masks)"


class PatternPruning(Pruning):
    """Sizes: p and p of a square tile. Each tile takes one of 8 masks that keep round((1 - sparsity) p^2) weights, so
    the sparsity is a multiple of 1/p^2. Exact for the set; the set is a heuristic (PatDNN: the most frequent best
    masks; here of the 64 most frequent those that greedily add the most norm).
    """

    name = "pattern"
    separator = "x"
    default = (4, 4)
    timed = ("4x4",)

    @classmethod
    def parse(cls, block: str) -> tuple[int, ...]:
        return super().parse(f"{block}x{block}" if block.isdecimal() else block)

    def check(self) -> None:
        if not (self.sizes[0] == self.sizes[1] <= 5):
            raise SchemeError(f"scheme 'pattern' takes square tiles up to 5x5, found {self}")

    @property
    def block(self) -> tuple[int, int]:
        return (self.sizes[0], self.sizes[1])

    def reachable(self, sparsities: Sequence[float]) -> list[float]:
        area = self.sizes[0] ** 2
        near = {round(s * area) / area for s in sparsities if abs(round(s * area) / area - s) <= _NEAR}
        return sorted(s for s in near if 0 < s < 1)

    def units(self, shape: tuple[int, ...]) -> Units:
        return Units(matrix_view(shape), ((1, 1, 1),), "patterns")

    def step(self, shape: tuple[int, ...]) -> int:
        """One weight of each tile."""
        return -(-int(np.prod(shape)) // self.sizes[0] ** 2)

    def project(self, squares: np.ndarray, sparsity: float, row_share: float | None) -> np.ndarray:
        size = self.sizes[0]
        area = size * size
        count = round((1 - sparsity) * area)
        if count == 0:
            raise SchemeError(f"scheme '{self}' reaches sparsities up to {1 - 1 / area:g}, found {sparsity:g} wanted")
        rows, columns, _ = squares.shape
        height, width = -(-rows // size), -(-columns // size)
        padded = np.zeros((height * size, width * size))
        padded[:rows, :columns] = squares[:, :, 0]
        tiles = padded.reshape(height, size, width, size).transpose(0, 2, 1, 3).reshape(-1, area)
        patterns = pattern_set(tiles, count)
        chosen = patterns[np.argmax(tiles @ patterns.T.astype(np.float64), axis=1)]
        kept = chosen.reshape(height, width, size, size).transpose(0, 2, 1, 3).reshape(padded.shape)
        return kept[:rows, :columns, None]

    def encoding(self, mask: np.ndarray) -> Encoding:
        size = self.sizes[0]
        return Pattern(size, tuple(np.unique(tile_codes(as_matrix(mask), size)).tolist()))


def tile_codes(matrix: np.ndarray, size: int) -> np.ndarray:
    """Each `size x size` tile of a mask as an integer: bit `row * size + column`; zeros beyond the edge."""
    height, width = (-(-n // size) for n in matrix.shape)
    codes = np.zeros((height, width), np.uint16 if size <= 4 else np.int64)
    for row in range(size):
        for column in range(size):
            part = matrix[row::size, column::size]
            codes[: part.shape[0], : part.shape[1]] |= part.astype(codes.dtype) << (row * size + column)
    return codes.astype(np.int64)


def pattern_set(tiles: np.ndarray, count: int) -> np.ndarray:
    """Up to 8 masks [masks, area] of `count` weights for tiles [tiles, area] of squared weights."""
    area = tiles.shape[1]
    sample = tiles[:: -(-len(tiles) // _SAMPLED_TILES)]
    best = np.argsort(-sample, axis=1, kind="stable")[:, :count]
    codes, frequency = np.unique((1 << best.astype(np.int64)).sum(axis=1), return_counts=True)
    frequent = codes[np.argsort(-frequency, kind="stable")[:_FREQUENT]]
    masks = ((frequent[:, None] >> np.arange(area)) & 1).astype(bool)
    norms = sample @ masks.T.astype(np.float64)
    chosen: list[int] = []
    reached = np.zeros(len(sample))
    while len(chosen) < min(_PATTERNS, len(masks)):
        totals = np.maximum(norms, reached[:, None]).sum(axis=0)
        totals[chosen] = -1
        chosen.append(int(np.argmax(totals)))
        reached = np.maximum(reached, norms[:, chosen[-1]])
    return masks[chosen]
