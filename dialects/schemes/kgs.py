"""Kernel-group structured sparsity (RT3D, Niu et al. 2021, arXiv 2007.09835, section 3)."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from .encoding import Encoding, IllegalEncodingError
from .kernel_positions import KernelPositions, KernelPruning, block_sizes
from .pruning import SchemeError
from .reductions import Reductions


@dataclasses.dataclass(frozen=True)
class Kgs(KernelPositions):
    """Kernel groups (RT3D): in a group of filters x channels the same locations of the 3-D kernels are gone.

    Takes weights `[filters, channels, depth, height, width]`. Bytes: 4 per kept value and a mask of the kernel's
    locations (`ceil(locations / 8)`) per group.
    """

    scheme = "kgs"
    group_filters: int
    group_channels: int

    def _check(self, mask: np.ndarray) -> None:
        if mask.ndim != 5:
            raise IllegalEncodingError(
                f"a kgs weight has dimensions [filters, channels, depth, height, width], found shape {list(mask.shape)}"
            )

    @classmethod
    def candidates(cls, mask: np.ndarray, reductions: Reductions) -> Iterator[tuple[int, Encoding]]:
        """Weights of five dimensions; see `block_sizes`."""
        for sizes in block_sizes(mask) if mask.ndim == 5 else ():
            encoding = cls(*sizes)
            yield encoding.packed_bytes(mask), encoding


class KgsPruning(KernelPruning):
    """For 3-D convolutions: g_M x g_N kernels, filters first, lose the same locations."""

    name = "kgs"
    dimensions = (5,)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 5:
            raise SchemeError(
                f"scheme '{self}' takes weights [filters, channels, depth, height, width], found {list(shape)}"
            )
        super().check_shape(shape)

    def encoding(self, mask: np.ndarray) -> Encoding:
        return Kgs(*self.sizes)
