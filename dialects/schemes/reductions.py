"""Reductions of a mask that several schemes' candidates share.

Counting 90 block sizes one by one would read every weight 90 times. What a block keeps is (kept rows) x (kept
columns), and both counts of a large block are sums over smaller ones, so each array here is reduced from one
half or a third of its size: the whole search costs about ten passes over the mask.
"""

import functools

import numpy as np

# Size -> the size that it is reduced from.
COLUMNS = {2: 1, 4: 2, 8: 4, 16: 8, 32: 16, 64: 32, 128: 64}


class Reductions:
    """Of a mask [rows, columns]: its bytes, and its row segments."""

    def __init__(self, matrix: np.ndarray):
        self.bits = np.ascontiguousarray(matrix).view(np.uint8)

    @functools.cached_property
    def segments(self) -> dict[int, np.ndarray]:
        """Which row segments keep anything, by the number of columns in a segment."""
        return chain(self.bits, 1, COLUMNS, np.bitwise_or)


def chain(array: np.ndarray, axis: int, steps: dict[int, int], combine: np.ufunc) -> dict[int, np.ndarray]:
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


def _reduce(array: np.ndarray, axis: int, factor: int, combine: np.ufunc) -> np.ndarray:
    """Combines each `factor` neighbours along `axis` (0 or 1); a remainder with nothing."""
    parts = [array[i::factor] if axis == 0 else array[:, i::factor] for i in range(factor)]
    result = parts[0].copy()
    for part in parts[1:]:
        fitting = result[: part.shape[0], : part.shape[1]]
        combine(fitting, part, out=fitting)
    return result
