"""The groups of each scheme: weights that stay or go together, as tiles of a view of the weight."""

import dataclasses
import math

import torch

from ..scheme import Scheme


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

    `bcr` r x c: row segments 1 x c and column segments r x 1 (one kind where a block has one row or column);
    `block` c: row segments; `filter`: rows; `punched`: one position of a block of filters x channels;
    `unstructured`, `nm`, `pattern`: single weights (what competes within a tile is the projection's affair).
    """
    rows, columns = shape[0], math.prod(shape[1:])
    matrix = (rows, columns, 1)
    if scheme.name == "filter":
        return [Tiling(matrix, (1, columns, 1))]
    if scheme.name == "block":
        return [Tiling(matrix, (1, scheme.sizes[0], 1))]
    if scheme.name == "bcr":
        height, width = scheme.sizes
        if height == 1 or width == 1:
            return [Tiling(matrix, (height, width, 1))]
        return [Tiling(matrix, (1, width, 1)), Tiling(matrix, (height, 1, 1))]
    if scheme.name == "punched":
        return [Tiling((rows, shape[1], math.prod(shape[2:])), (*scheme.sizes, 1))]  # type: ignore[arg-type]
    return [Tiling(matrix, (1, 1, 1))]
