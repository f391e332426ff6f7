"""What the schemes of convolution kernels share: a block of filters x channels keeps the same kernel positions."""

import dataclasses

import numpy as np

from .blocks import group_sizes, group_sums, spread
from .encoding import VALUE_BYTES, Encoding, IllegalEncodingError, any_of, bytes_of_bits, repeat_cut
from .pruning import Pruning, SchemeError, Units, budget_of
from .selection import keep_units

FILTERS = (4, 8, 16, 32, 64)
CHANNELS = (1, 2, 4, 8, 16, 32, 64)


def block_sizes(mask: np.ndarray) -> list[tuple[int, int]]:
    """Blocks of 4, 8, ... 64 or all filters by 1, 2, 4, ... 64 or all channels; none of one filter."""
    filters, channels = mask.shape[:2]
    return [
        (height, width)
        for height in (*(f for f in FILTERS if f < filters), filters)
        for width in (*(c for c in CHANNELS if c < channels), channels)
        if height > 1
    ]


@dataclasses.dataclass(frozen=True)
class KernelPositions(Encoding):
    """Takes a mask `[filters, channels, ...]`; a subclass names the two sizes of a block, filters first.

    Bytes: 4 per kept value and a mask of the kernel's positions (`ceil(positions / 8)`) per block.
    """

    def _sizes(self) -> tuple[int, int]:
        filters, channels = (getattr(self, field.name) for field in dataclasses.fields(self))
        return filters, channels

    def _check(self, mask: np.ndarray) -> None:
        if mask.ndim < 3:
            raise IllegalEncodingError(
                f"a {self.scheme} weight has dimensions [filters, channels, ...], found shape {list(mask.shape)}"
            )

    def _positions(self, mask: np.ndarray) -> np.ndarray:
        self._check(mask)
        flat = mask.reshape(*mask.shape[:2], int(np.prod(mask.shape[2:])))
        filters, channels = self._sizes()
        return any_of(any_of(flat, 0, filters), 1, channels)

    def kept(self, mask: np.ndarray) -> np.ndarray:
        filters, channels = self._sizes()
        kept = repeat_cut(self._positions(mask), 0, filters, mask.shape[0])
        return repeat_cut(kept, 1, channels, mask.shape[1]).reshape(mask.shape)

    def band(self, rows: int) -> int | None:
        return min(self._sizes()[0], rows)

    def packed_bytes(self, mask: np.ndarray) -> int:
        filters, channels, positions = self._positions(mask).shape
        return VALUE_BYTES * int(self.kept(mask).sum()) + filters * channels * bytes_of_bits(positions)

    def __str__(self) -> str:
        return f"{self.scheme} {'x'.join(map(str, self._sizes()))}"


class KernelPruning(Pruning):
    """Sizes: filters and channels of a block. Exact without remainder on one of the two sides."""

    separator = "x"
    default = (4, 4)

    @property
    def block(self) -> tuple[int, int]:
        return (self.sizes[0], self.sizes[1])

    def check_shape(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 3:
            raise SchemeError(f"scheme '{self}' takes weights [filters, channels, ...], found {list(shape)}")
        super().check_shape(shape)

    def units(self, shape: tuple[int, ...]) -> Units:
        return Units((shape[0], shape[1], int(np.prod(shape[2:]))), ((*self.block, 1),))

    def project(self, squares: np.ndarray, sparsity: float, row_share: float | None) -> np.ndarray:
        height, width = self.block
        filters, channels, _ = squares.shape
        scores = group_sums(group_sums(squares, 0, height), 1, width)
        sizes = np.outer(group_sizes(filters, height), group_sizes(channels, width))
        budget = budget_of(squares, sparsity)
        kept = keep_units(scores, np.broadcast_to(sizes[:, :, None], scores.shape), budget)
        return spread(spread(kept, 0, height, filters), 1, width, channels)
