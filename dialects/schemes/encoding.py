"""What a description of a zero mask is: what it keeps and how many bytes it takes.

A *mask* is boolean and true where the weight is not zero (NaN is not zero). A weight of more than two dimensions
`[filters, channels, ...]` is seen as the matrix `filters x (channels * ...)` by all schemes but those of kernels.
A description *keeps* a superset of the mask; kept weights that are zero are padding: stored and multiplied.
Packed bytes are those of the kept values (4 each) plus what it takes to find them, by the formula that each
class states; all are exact integers, so that descriptions can be compared.
"""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from .reductions import Reductions

VALUE_BYTES = 4
INDEX_BYTES = 4


class IllegalEncodingError(ValueError):
    """A mask keeps a weight that the description cannot; the text says where."""


@dataclasses.dataclass(frozen=True)
class Encoding:
    """Base of the descriptions. The fields are those of the attribute `#sparsity.<scheme>`: integers, or tuples."""

    scheme: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"expected '{field.name}' of {self.scheme} to be positive, found {value}")

    def parameters(self) -> dict[str, object]:
        """The fields by name, as plain Python values."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def check(self) -> None:
        """Raises `ValueError` for fields that are positive each but do not fit together: what the verifier says."""

    @classmethod
    def candidates(cls, mask: np.ndarray, reductions: "Reductions") -> "Iterator[tuple[int, Encoding]]":
        """The descriptions of this scheme that detection compares, each with its packed bytes; no mask is empty."""
        return iter(())

    def kept(self, mask: np.ndarray) -> np.ndarray:
        """What the description keeps of `mask`: a superset of it, of its shape.

        Raises `IllegalEncodingError` where a weight of the mask cannot be kept.
        """
        raise NotImplementedError

    def packed_bytes(self, mask: np.ndarray) -> int:
        """Bytes of a weight with this mask when packed. Raises `IllegalEncodingError` as `kept` does."""
        raise NotImplementedError

    def band(self, rows: int) -> int | None:
        """How many neighbouring rows (filters) of `rows` keep the same columns; None where the rows of any two may
        differ."""
        return None

    def is_legal(self, mask: np.ndarray) -> bool:
        """Whether the description can keep every weight of the mask."""
        try:
            self.kept(mask)
        except IllegalEncodingError:
            return False
        return True

    def __str__(self) -> str:
        return self.scheme


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


def bytes_of_bits(bits: int) -> int:
    """Bits rounded up to bytes."""
    return (bits + 7) // 8


def repeat_cut(flags: np.ndarray, axis: int, size: int, length: int) -> np.ndarray:
    """Repeats each entry of `axis` `size` times and cuts the axis to `length`."""
    return np.repeat(flags, size, axis=axis).take(range(length), axis=axis)


def any_of(mask: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Whether any of each `size` neighbours along `axis` is set; the last group may be smaller."""
    if 0 in mask.shape:
        shape = list(mask.shape)
        shape[axis] = -(-shape[axis] // size)
        return np.zeros(shape, bool)
    return np.logical_or.reduceat(mask, np.arange(0, mask.shape[axis], size), axis=axis)
