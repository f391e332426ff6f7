"""The description of a weight's zeros that takes the fewest packed bytes.

Counting 90 block sizes one by one would read every weight 90 times. What a block keeps is (kept rows) x (kept
columns), and both counts of a large block are sums over smaller ones, so each array here is reduced from one
half or a third of its size: the whole search costs about ten passes over the mask.
"""

from collections.abc import Iterator

import numpy as np

from .schemes import (
    INDEX_BYTES,
    NM,
    VALUE_BYTES,
    Bcr,
    Block,
    Dense,
    Encoding,
    Pattern,
    Punched,
    Unstructured,
    as_matrix,
    csr_bytes,
    nonzeros,
    tile_codes,
)

# Size -> the size that it is reduced from. One row a block is what CSR stores. Narrow row segments with one bit
# each are a bitmap of single weights, which would find structure in any zeros that lie at random: chunks are
# wider than eight columns, and blocks have at least eight, or four where they have few rows.
_ROWS = {2: 1, 4: 2, 8: 4, 12: 4, 16: 8, 24: 12, 32: 16, 48: 24, 64: 32, 128: 64}
_COLUMNS = {2: 1, 4: 2, 8: 4, 16: 8, 32: 16, 64: 32, 128: 64}
_NARROW, _ROWS_OF_NARROW = 4, 16
_CHUNKS = (16, 32, 64, 128)
_GROUPS = {2: 1, 4: 2, 8: 4, 16: 8}
_TILES = (4, 3, 2)
_MAX_PATTERNS = 16
_FILTERS = (4, 8, 16, 32, 64)
_CHANNELS = (1, 2, 4, 8, 16, 32, 64)
_ORDER = ("dense", "block", "bcr", "punched", "pattern", "nm", "unstructured")


def detect(weight: np.ndarray) -> Encoding:
    """The description of the zeros of `weight` (two or more dimensions) with the fewest packed bytes.

    Candidates are `candidates`. Of equal ones the first in the order dense, block, bcr, punched, pattern, nm,
    unstructured wins, of one scheme the one with the larger blocks, then the one with more rows. No
    thresholds: one weight more or less may change the answer, and any answer keeps every weight.
    """
    mask = nonzeros(weight)
    if mask.all():  # every description stores at least each weight, which is what dense costs
        return Dense()

    def rank(candidate: tuple[int, Encoding]) -> tuple:
        size, encoding = candidate
        sizes = [v for v in encoding.parameters().values() if isinstance(v, int)]
        return size, _ORDER.index(encoding.scheme), -int(np.prod(sizes)), [-v for v in sizes]

    return min(candidates(mask), key=rank)[1]


def candidates(mask: np.ndarray) -> Iterator[tuple[int, Encoding]]:
    """The descriptions that `detect` compares, each with its packed bytes.

    Blocks of 2, 4, 8, 12, 16, 24, 32, 48, 64, 128 or all rows by 1, 4 (up to 16 rows), 8, 16, ... 128 or
    all columns; chunks of 16, 32, 64, 128 or all columns; N:M with M of 2, 4, 8, 16 and N a power of two up to
    M / 2; patterns of 2x2 to 4x4 with at most 16 masks of one number of weights; for three or more dimensions
    punched blocks of 4, 8, ... 64 or all filters by 1, 2, 4, ... 64 or all channels.
    """
    matrix = as_matrix(mask)
    yield VALUE_BYTES * mask.size, Dense()
    yield csr_bytes(matrix), Unstructured()
    if mask.size == 0:
        return
    bits = np.ascontiguousarray(matrix).view(np.uint8)
    yield from _blocks(bits)
    yield from _nm(bits)
    if mask.ndim == 2:
        yield from _patterns(bits)
    else:
        yield from _punched(mask)


def _reduce(array: np.ndarray, axis: int, factor: int, combine: np.ufunc) -> np.ndarray:
    """Combines each `factor` neighbours along `axis` (0 or 1); a remainder with nothing."""
    parts = [array[i::factor] if axis == 0 else array[:, i::factor] for i in range(factor)]
    result = parts[0].copy()
    for part in parts[1:]:
        fitting = result[: part.shape[0], : part.shape[1]]
        combine(fitting, part, out=fitting)
    return result


def _chain(array: np.ndarray, axis: int, steps: dict[int, int], combine: np.ufunc) -> dict[int, np.ndarray]:
    """`array` reduced by each size of `steps` that is smaller than the axis, and by the whole axis."""
    length = array.shape[axis]
    reduced = {1: array}
    for size, origin in steps.items():
        if size < length:
            reduced[size] = _reduce(reduced[origin], axis, size // origin, combine)
    if length > 1:
        wide = np.uint8 if combine is np.bitwise_or else np.int64
        largest = max(reduced)
        reduced[length] = combine.reduce(reduced[largest], axis=axis, keepdims=True, dtype=wide)
    return reduced


def _blocks(bits: np.ndarray) -> Iterator[tuple[int, Encoding]]:
    """`bcr` and `block`: both need the row segments that keep anything, by chunk of columns."""
    rows, columns = bits.shape
    segments = _chain(bits, 1, _COLUMNS, np.bitwise_or)
    for chunk in (*(c for c in _CHUNKS if c < columns), columns):
        if chunk > 2 * _NARROW:
            count = segments[chunk].sum(axis=0, dtype=np.int64)
            last = columns - chunk * (len(count) - 1)
            values = chunk * int(count[:-1].sum()) + last * int(count[-1])
            yield VALUE_BYTES * values + (segments[chunk].size + 7) // 8, Block(chunk)
    # kept_rows[c][r]: rows kept in each block of r x c; kept_columns likewise from the bands' columns
    bands = _chain(bits, 0, _ROWS, np.bitwise_or)
    kept_rows = {c: _chain(s, 0, _ROWS, np.add) for c, s in segments.items() if c >= _NARROW}
    for height, band in bands.items():
        if height == 1:
            continue
        per_band = band.sum(axis=1, dtype=np.int64)
        shared = INDEX_BYTES * int(per_band.sum()) + INDEX_BYTES * (len(per_band) + 1)
        last = rows - height * (len(per_band) - 1)
        values = height * int(per_band[:-1].sum()) + last * int(per_band[-1])
        yield VALUE_BYTES * values + shared, Bcr(height, 1)
        kept_columns = _chain(band, 1, _COLUMNS, np.add)
        for width, by_row in kept_rows.items():
            if width < 2 * _NARROW and height > _ROWS_OF_NARROW:
                continue
            block_rows = by_row[height]
            dtype = np.int32 if max(height, width) <= 128 else np.int64
            values = int(np.multiply(block_rows, kept_columns[width], dtype=dtype).sum(dtype=np.int64))
            masks = -(-height // 8) * int(np.count_nonzero(block_rows))
            yield VALUE_BYTES * values + masks + shared, Bcr(height, width)


def _nm(bits: np.ndarray) -> Iterator[tuple[int, Encoding]]:
    rows, columns = bits.shape
    counts = _chain(bits, 1, {m: o for m, o in _GROUPS.items() if m <= columns}, np.add)
    for m in _GROUPS:
        if m not in counts:
            continue
        most = max(1, int(counts[m].max()))
        n = 1 << (most - 1).bit_length()
        if 2 * n <= m:
            stored = rows * (columns // m * n + min(n, columns % m))
            yield VALUE_BYTES * stored + (stored * (m - 1).bit_length() + 7) // 8, NM(n, m)


def _patterns(bits: np.ndarray) -> Iterator[tuple[int, Encoding]]:
    for size in _TILES:
        if (bits.shape[0] < size) or (bits.shape[1] < size):
            continue
        codes = tile_codes(bits, size)
        present = np.flatnonzero(np.bincount(codes.reshape(-1), minlength=1 << size * size))
        weights = np.array([int(code).bit_count() for code in present])
        most = int(weights.max())
        patterns = present[weights == most]
        if most in (0, size * size) or len(patterns) > _MAX_PATTERNS:
            continue
        covered = ((present[:, None] & ~patterns[None, :]) == 0).any(axis=1)
        if covered.all():
            encoding = Pattern(size, tuple(patterns.tolist()))
            yield encoding.packed_bytes(bits.view(bool)), encoding


def _punched(mask: np.ndarray) -> Iterator[tuple[int, Encoding]]:
    filters, channels = mask.shape[:2]
    for block_filters in (*(f for f in _FILTERS if f < filters), filters):
        for block_channels in (*(c for c in _CHANNELS if c < channels), channels):
            if block_filters > 1:
                encoding = Punched(block_filters, block_channels)
                yield encoding.packed_bytes(mask), encoding
