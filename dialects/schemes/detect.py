"""The description of a weight's zeros that takes the fewest packed bytes."""

from collections.abc import Iterator

import numpy as np

from .dense import Dense
from .encoding import Encoding, as_matrix, nonzeros
from .reductions import Reductions
from .registry import ENCODINGS
from .unstructured import Unstructured


def detect(weight: np.ndarray) -> Encoding:
    """The description of the zeros of `weight` (two or more dimensions) with the fewest packed bytes.

    Candidates are `candidates`. Of equal ones the first in the order of `ENCODINGS` wins, of one scheme the one with
    the larger blocks, then the one with more rows. No thresholds: one weight more or less may change the answer, and
    any answer keeps every weight.
    """
    mask = nonzeros(weight)
    if mask.all():  # every description stores at least each weight, which is what dense costs
        return Dense()
    order = list(ENCODINGS)

    def rank(candidate: tuple[int, Encoding]) -> tuple:
        size, encoding = candidate
        sizes = [v for v in encoding.parameters().values() if isinstance(v, int)]
        return size, order.index(encoding.scheme), -int(np.prod(sizes)), [-v for v in sizes]

    return min(candidates(mask), key=rank)[1]


def candidates(mask: np.ndarray) -> Iterator[tuple[int, Encoding]]:
    """The descriptions that `detect` compares, each with its packed bytes; see `candidates` of each scheme."""
    reductions = Reductions(as_matrix(mask))
    for kind in ENCODINGS.values() if mask.size else (Dense, Unstructured):
        yield from kind.candidates(mask, reductions)
