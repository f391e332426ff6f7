"""Descriptions of a zero mask, one class a scheme: what it keeps and how many bytes it takes.

A *mask* is boolean and true where the weight is not zero (NaN is not zero). A weight of more than two
dimensions `[filters, channels, ...]` is seen as the matrix `filters x (channels * ...)`; only `Punched` needs it whole.
A description *keeps* a superset of the mask; kept weights that are zero are padding: stored and multiplied.
Packed bytes are those of the kept values (4 each) plus what it takes to find them, by the formula that each
class states; all are exact integers, so that descriptions can be compared.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

VALUE_BYTES = 4
INDEX_BYTES = 4


class IllegalEncodingError(ValueError):
    """A mask keeps a weight that the description cannot; the text says where."""


def nonzeros(weight: np.ndarray) -> np.ndarray:
    """The mask of a weight: true where it is not zero (NaN is not zero, minus zero is)."""
    return np.asarray(weight) != 0


def as_matrix(mask: np.ndarray) -> np.ndarray:
    """A mask of two or more dimensions as `rows x columns`."""
    if mask.ndim < 2:
        raise ValueError(f"expected a weight of two or more dimensions, found shape {list(mask.shape)}")
    columns = int(np.prod(mask.shape[1:]))
    return mask.reshape(mask.shape[0], columns)


def csr_bytes(mask: np.ndarray) -> int:
    """Bytes of the mask's weights in compressed sparse rows: `4 nnz + 4 nnz + 4 (rows + 1)`."""
    return (VALUE_BYTES + INDEX_BYTES) * int(np.count_nonzero(mask)) + INDEX_BYTES * (mask.shape[0] + 1)


def _bytes_of_bits(bits: int) -> int:
    return (bits + 7) // 8


def _spread(flags: np.ndarray, axis: int, size: int, length: int) -> np.ndarray:
    """Repeats each entry of `axis` `size` times and cuts the axis to `length`."""
    return np.repeat(flags, size, axis=axis).take(range(length), axis=axis)


def _any_of(mask: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Whether any of each `size` neighbours along `axis` is set; the last group may be smaller."""
    if 0 in mask.shape:
        shape = list(mask.shape)
        shape[axis] = -(-shape[axis] // size)
        return np.zeros(shape, bool)
    return np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], size), axis=axis)


@dataclasses.dataclass(frozen=True)
class Encoding:
    """Base of the descriptions. The fields are those of the attribute `#sparsity.<scheme>`."""

    scheme: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"expected '{field.name}' of {self.scheme} to be positive, found {value}")

    def parameters(self) -> dict[str, object]:
        """The fields by name, as plain Python values."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def kept(self, mask: np.ndarray) -> np.ndarray:
        """What the description keeps of `mask`: a superset of it, of its shape.

        Raises `IllegalEncodingError` where a weight of the mask cannot be kept.
        """
        raise NotImplementedError

    def packed_bytes(self, mask: np.ndarray) -> int:
        """Bytes of a weight with this mask when packed. Raises `IllegalEncodingError` as `kept` does."""
        raise NotImplementedError

    def is_legal(self, mask: np.ndarray) -> bool:
        """Whether the description can keep every weight of the mask."""
        try:
            self.kept(mask)
        except IllegalEncodingError:
            return False
        return True

    def __str__(self) -> str:
        return self.scheme


class Dense(Encoding):
    """Everything is kept: `4 * rows * columns` bytes."""

    scheme = "dense"

    def kept(self, mask: np.ndarray) -> np.ndarray:
        return np.ones_like(mask, dtype=bool)

    def packed_bytes(self, mask: np.ndarray) -> int:
        return VALUE_BYTES * mask.size


@dataclasses.dataclass(frozen=True)
class Bcr(Encoding):
    """Block-column-row (GRIM): in each block, the kept rows times the kept columns.

    Bytes: 4 per kept value; 4 per kept column of each block; a row mask of `ceil(block_rows / 8)` bytes per
    block that keeps anything; `4 * (bands + 1)` for where each band of blocks begins (a column's number tells
    its block).
    With `block_columns = 1` a kept column of a band keeps all rows of the band, and there are no row masks.
    """

    scheme = "bcr"
    block_rows: int
    block_columns: int

    def kept(self, mask: np.ndarray) -> np.ndarray:
        matrix = as_matrix(mask)
        height, width = matrix.shape
        columns = _spread(_any_of(matrix, 0, self.block_rows), 0, self.block_rows, height)
        if self.block_columns > 1:
            columns &= _spread(_any_of(matrix, 1, self.block_columns), 1, self.block_columns, width)
        return columns.reshape(mask.shape)

    def packed_bytes(self, mask: np.ndarray) -> int:
        matrix = as_matrix(mask)
        columns = _any_of(matrix, 0, self.block_rows)
        total = VALUE_BYTES * int(self.kept(matrix).sum()) + INDEX_BYTES * int(columns.sum())
        if self.block_columns > 1:
            blocks = int(_any_of(columns, 1, self.block_columns).sum())
            total += _bytes_of_bits(self.block_rows) * blocks
        return total + INDEX_BYTES * (columns.shape[0] + 1)

    def __str__(self) -> str:
        return f"bcr {self.block_rows}x{self.block_columns}"


@dataclasses.dataclass(frozen=True)
class Block(Encoding):
    """Block pruning (RT3, level 1): in each chunk of columns, whole row segments.

    Bytes: 4 per kept value and one bit per (row, chunk), rounded up.
    """

    scheme = "block"
    chunk_columns: int

    def kept(self, mask: np.ndarray) -> np.ndarray:
        matrix = as_matrix(mask)
        segments = _any_of(matrix, 1, self.chunk_columns)
        return _spread(segments, 1, self.chunk_columns, matrix.shape[1]).reshape(mask.shape)

    def packed_bytes(self, mask: np.ndarray) -> int:
        segments = _any_of(as_matrix(mask), 1, self.chunk_columns)
        return VALUE_BYTES * int(self.kept(mask).sum()) + _bytes_of_bits(segments.size)

    def __str__(self) -> str:
        return f"block {self.chunk_columns}"


@dataclasses.dataclass(frozen=True)
class Pattern(Encoding):
    """Pattern pruning (RT3, level 2): each `size x size` tile keeps one of `patterns`.

    Bit `row * size + column` of a pattern is set where the weight is kept. A tile takes the pattern with the
    fewest bits that covers it, the first of equals; a tile at the edge keeps what of it lies inside.
    Bytes: 4 per kept value; 1 per tile (at most 256 patterns); `ceil(size^2 / 8)` per pattern.
    """

    scheme = "pattern"
    size: int
    patterns: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "patterns", tuple(int(p) for p in self.patterns))

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
        table = len(self.patterns) * _bytes_of_bits(self.size**2)
        return VALUE_BYTES * int(self.kept(mask).sum()) + tiles + table

    def __str__(self) -> str:
        return f"pattern {self.size}x{self.size} ({len(self.patterns)} masks)"


@dataclasses.dataclass(frozen=True)
class Punched(Encoding):
    """Block-punched (YOLObile) and kernel groups (RT3D): in a block of filters x channels, kernel positions.

    Takes a mask `[filters, channels, ...]`. Bytes: 4 per kept value and a mask of the kernel's positions
    (`ceil(positions / 8)`) per block.
    """

    scheme = "punched"
    block_filters: int
    block_channels: int

    def _positions(self, mask: np.ndarray) -> np.ndarray:
        if mask.ndim < 3:
            raise IllegalEncodingError(
                f"a punched weight has dimensions [filters, channels, ...], found shape {list(mask.shape)}"
            )
        flat = mask.reshape(*mask.shape[:2], int(np.prod(mask.shape[2:])))
        return _any_of(_any_of(flat, 0, self.block_filters), 1, self.block_channels)

    def kept(self, mask: np.ndarray) -> np.ndarray:
        kept = _spread(self._positions(mask), 0, self.block_filters, mask.shape[0])
        return _spread(kept, 1, self.block_channels, mask.shape[1]).reshape(mask.shape)

    def packed_bytes(self, mask: np.ndarray) -> int:
        filters, channels, positions = self._positions(mask).shape
        return VALUE_BYTES * int(self.kept(mask).sum()) + filters * channels * _bytes_of_bits(positions)

    def __str__(self) -> str:
        return f"punched {self.block_filters}x{self.block_channels}"


@dataclasses.dataclass(frozen=True)
class NM(Encoding):
    """N:M: of every `m` neighbouring columns of a row, `n`; of a remainder of fewer columns at most all.

    A group with fewer weights keeps zeros beside them, the leftmost ones. Bytes: 4 per kept value and
    `ceil(log2 m)` bits for its place in the group, rounded up to bytes once.
    """

    scheme = "nm"
    n: int
    m: int

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
        return VALUE_BYTES * stored + _bytes_of_bits(stored * (self.m - 1).bit_length())

    def __str__(self) -> str:
        return f"nm {self.n}:{self.m}"


class Unstructured(Encoding):
    """Single weights, as compressed sparse rows: `8 nnz + 4 (rows + 1)` bytes."""

    scheme = "unstructured"

    def kept(self, mask: np.ndarray) -> np.ndarray:
        return np.array(mask, dtype=bool)

    def packed_bytes(self, mask: np.ndarray) -> int:
        return csr_bytes(mask)


ENCODINGS = {e.scheme: e for e in (Dense, Bcr, Block, Pattern, Punched, NM, Unstructured)}


def encoding_of(scheme: str, parameters: Mapping[str, Any]) -> Encoding:
    """The description with these fields, as `Encoding.parameters` gives them.

    Raises `ValueError` for an unknown scheme or a field that is missing, unknown or not positive.
    """
    if scheme not in ENCODINGS:
        raise ValueError(f"unknown scheme '{scheme}'; accepted: {', '.join(ENCODINGS)}")
    try:
        return ENCODINGS[scheme](**parameters)
    except TypeError:
        fields = [f.name for f in dataclasses.fields(ENCODINGS[scheme])]
        raise ValueError(f"expected {scheme} to have the fields {fields}, found {[*parameters]}") from None


def tile_codes(matrix: np.ndarray, size: int) -> np.ndarray:
    """Each `size x size` tile of a mask as an integer: bit `row * size + column`; zeros beyond the edge."""
    height, width = (-(-n // size) for n in matrix.shape)
    codes = np.zeros((height, width), np.uint16 if size <= 4 else np.int64)
    for row in range(size):
        for column in range(size):
            part = matrix[row::size, column::size]
            codes[: part.shape[0], : part.shape[1]] |= part.astype(codes.dtype) << (row * size + column)
    return codes.astype(np.int64)
