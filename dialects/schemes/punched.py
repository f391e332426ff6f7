"""Block-punched pruning (YOLObile)."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from .encoding import Encoding
from .kernel_positions import KernelPositions, KernelPruning, block_sizes
from .reductions import Reductions


@dataclasses.dataclass(frozen=True)
class Punched(KernelPositions):
    """Block-punched (YOLObile): in a block of filters x channels the same kernel positions are gone.

    Bytes: 4 per kept value and a mask of the kernel's positions (`ceil(positions / 8)`) per block.
    """

    scheme = "punched"
    block_filters: int
    block_channels: int

    @classmethod
    def candidates(cls, mask: np.ndarray, reductions: Reductions) -> Iterator[tuple[int, Encoding]]:
        """Weights of three or more dimensions; see `block_sizes`."""
        for sizes in block_sizes(mask) if mask.ndim > 2 else ():
            encoding = cls(*sizes)
            yield encoding.packed_bytes(mask), encoding


class PunchedPruning(KernelPruning):
    """For convolutions of one, two or three dimensions."""

    name = "punched"
    dimensions = (3, 4, 5)

    def encoding(self, mask: np.ndarray) -> Encoding:
        return Punched(*self.sizes)
