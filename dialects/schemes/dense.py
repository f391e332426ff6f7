"""Dense: no zeros that pay."""

from collections.abc import Iterator

import numpy as np

from .encoding import VALUE_BYTES, Encoding
from .reductions import Reductions


class Dense(Encoding):
    """Everything is kept, `#sparsity.dense<{}>`: `4 * rows * columns` bytes."""

    scheme = "dense"

    @classmethod
    def candidates(cls, mask: np.ndarray, reductions: Reductions) -> Iterator[tuple[int, Encoding]]:
        yield VALUE_BYTES * mask.size, cls()

    def kept(self, mask: np.ndarray) -> np.ndarray:
        return np.ones_like(mask, dtype=bool)

    def band(self, rows: int) -> int | None:
        return rows

    def packed_bytes(self, mask: np.ndarray) -> int:
        return VALUE_BYTES * mask.size
