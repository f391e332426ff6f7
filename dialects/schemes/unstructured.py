"""Unstructured: single weights, without a rule."""

from collections.abc import Iterator

import numpy as np

from .encoding import Encoding, as_matrix, csr_bytes
from .pruning import Pruning, budget_of
from .reductions import Reductions
from .selection import keep_largest


class Unstructured(Encoding):
    """Single weights, `#sparsity.unstructured<{}>`, as compressed sparse rows: `8 nnz + 4 (rows + 1)` bytes."""

    scheme = "unstructured"

    @classmethod
    def candidates(cls, mask: np.ndarray, reductions: Reductions) -> Iterator[tuple[int, Encoding]]:
        yield csr_bytes(as_matrix(mask)), cls()

    def kept(self, mask: np.ndarray) -> np.ndarray:
        return np.array(mask, dtype=bool)

    def packed_bytes(self, mask: np.ndarray) -> int:
        return csr_bytes(mask)


class UnstructuredPruning(Pruning):
    """The largest weights are kept: exact."""

    name = "unstructured"
    timed = (None,)

    def project(self, squares: np.ndarray, sparsity: float, row_share: float | None) -> np.ndarray:
        return keep_largest(squares, budget_of(squares, sparsity))

    def encoding(self, mask: np.ndarray) -> Encoding:
        return Unstructured()
