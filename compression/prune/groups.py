"""The groups of each scheme: weights that stay or go together, as tiles of a view of the weight."""

import dataclasses

import torch

from .scheme import Scheme


@dataclasses.dataclass(frozen=True)
class Tiling:
    """A weight seen as an array of `shape` [rows, columns, positions], cut into tiles of `tile`: each one group.

    Tiles at the upper edges may be smaller.
    """

    shape: tuple[int, int, int]
    tile: tuple[int, int, int]

    def sums(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over each group of `values` (of the weight's shape): one entry a group, three dimensions."""
        values = values.reshape(self.shape)
        for axis, size in enumerate(self.tile):
            length = values.shape[axis]
            if size == 1:
                continue
            if size >= length:
                values = values.sum(dim=axis, keepdim=True)
                continue
            whole = length // size * size
            parts = values.narrow(axis, 0, whole).unflatten(axis, (-1, size)).sum(dim=axis + 1)
            if whole < length:
                rest = values.narrow(axis, whole, length - whole).sum(dim=axis, keepdim=True)
                parts = torch.cat([parts, rest], dim=axis)
            values = parts
        return values

    def spread(self, groups: torch.Tensor, shape: torch.Size) -> torch.Tensor:
        """Each group's entry at all of its weights, in the weight's shape."""
        for axis, size in enumerate(self.tile):
            if size > 1:
                groups = groups.repeat_interleave(size, dim=axis).narrow(axis, 0, self.shape[axis])
        return groups.reshape(shape)

    def sizes(self) -> torch.Tensor:
        """The number of weights of each group."""
        rows, columns, positions = (
            torch.tensor([min(size, length - start) for start in range(0, length, size)], dtype=torch.float32)
            for size, length in zip(self.tile, self.shape, strict=True)
        )
        return rows[:, None, None] * columns[None, :, None] * positions[None, None, :]


def tilings(scheme: Scheme, shape: tuple[int, ...]) -> list[Tiling]:
    """The groups of a scheme in a weight of that shape. More than one tiling: a weight belongs to a group of each.

    They are the units of the scheme; what competes within a tile of `nm` or `pattern` is the projection's affair.
    """
    units = scheme.rule.units(shape)
    return [Tiling(units.shape, tile) for tile in units.tiles]
