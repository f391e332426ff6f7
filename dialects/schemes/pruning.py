"""What pruning must know of a scheme: its sizes, the units that stay or go together, and the projection onto it."""

import dataclasses
import re
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from secateur.dialects.errors import SecateurError

from .encoding import Encoding


class SchemeError(SecateurError):
    """A scheme does not have such sizes, does not fit a weight or does not reach a sparsity; one sentence."""

    usage = True


@dataclasses.dataclass(frozen=True)
class Units:
    """The units of a weight: what stays or goes as a whole.

    `shape`: the weight seen as [rows, columns, positions]; `tiles`: the extent of a unit in it. Where there are two,
    a weight belongs to one unit of each and goes with either. `choice` says what competes: `free` all units, `rows`
    whole rows (no other weight can stand in for one), `crossed` rows and columns of the blocks, `quota` the weights of
    a group, `patterns` the masks of a tile.
    """

    shape: tuple[int, int, int]
    tiles: tuple[tuple[int, int, int], ...]
    choice: Literal["free", "rows", "crossed", "quota", "patterns"] = "free"


@dataclasses.dataclass(frozen=True)
class Pruning:
    """Base of the schemes that a weight can be pruned to, with the `sizes` of the block."""

    name: ClassVar[str] = ""
    # What stands between the sizes in a text: "" for one size, None for none.
    separator: ClassVar[str | None] = None
    default: ClassVar[tuple[int, ...]] = ()
    # The blocks among which a latency decides, as texts; empty where no layer of the scheme can be timed.
    timed: ClassVar[tuple[str | None, ...]] = ()
    # Numbers of dimensions of the weights that it is for: 2 linear layers, 3 to 5 convolutions.
    dimensions: ClassVar[tuple[int, ...]] = (2,)

    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.default) or any(size < 1 for size in self.sizes):
            raise SchemeError(f"scheme '{self.name}' takes {self.form()}, found sizes {list(self.sizes)}")
        self.check()

    @classmethod
    def form(cls) -> str:
        """What the sizes look like, for messages."""
        if cls.separator is None:
            return "no block"
        sizes = "two positive sizes" if len(cls.default) == 2 else "one positive size"
        return f"{sizes} such as {cls.separator.join(map(str, cls.default))}"

    @classmethod
    def parse(cls, block: str) -> tuple[int, ...]:
        """The sizes of a text such as `4x16`. Raises `SchemeError`."""
        parts = block.split(cls.separator) if cls.separator else [block]
        if cls.separator is None or not all(re.fullmatch(r"[0-9]{1,9}", part) for part in parts):
            raise SchemeError(f"scheme '{cls.name}' takes {cls.form()}, found '{block}'")
        return tuple(int(part) for part in parts)

    def __str__(self) -> str:
        return " ".join([self.name, *([(self.separator or "").join(map(str, self.sizes))] if self.sizes else [])])

    def check(self) -> None:
        """Raises `SchemeError` for sizes that are positive each but do not fit together."""

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns of a block: the least extent of a weight."""
        return (1, 1)

    @property
    def fixed_sparsity(self) -> float | None:
        """The only sparsity of the scheme, or None where any can be asked for."""
        return None

    def at(self, sparsity: float) -> "Pruning | None":
        """The scheme on the way to `fixed_sparsity`, near a lower sparsity; None where all weights are kept."""
        return self

    def reachable(self, sparsities: Sequence[float]) -> list[float]:
        """Those of `sparsities` that the scheme has, or what it has near them."""
        return sorted(set(sparsities)) if self.fixed_sparsity is None else [self.fixed_sparsity]

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises `SchemeError` for a weight of other dimensions, or smaller than a block."""
        rows, columns = self.units(shape).shape[:2]
        if self.block[0] > rows or self.block[1] > columns:
            raise SchemeError(f"the block of '{self}' exceeds the weight, which is {rows}x{columns}")

    def units(self, shape: tuple[int, ...]) -> Units:
        """The units of a weight of that shape."""
        return Units(matrix_view(shape), ((*self.block, 1),))

    def step(self, shape: tuple[int, ...]) -> int:
        """Weights by which a projection may miss the number that was asked for."""
        units = self.units(shape)
        return max(int(np.prod(np.minimum(tile, units.shape))) for tile in units.tiles)

    def coarseness(self) -> tuple[float, float]:
        """How many weights stay or go together: the smallest unit, then the next larger kind of unit (or infinity)."""
        units = self.units((1,) * self.dimensions[0])
        if units.choice == "rows":
            return float("inf"), float("inf")
        tiles = [(*self.block, 1)] if units.choice in ("quota", "patterns") else units.tiles
        smallest, *larger = sorted(float(np.prod(tile)) for tile in tiles)
        return smallest, larger[0] if larger else float("inf")

    def project(self, squares: np.ndarray, sparsity: float, row_share: float | None) -> np.ndarray:
        """Which weights to keep: a mask like `squares`, the squared weights seen as `Units.shape`.

        Keeps at most round((1 - sparsity) * weights), and the largest norm where the scheme's docstring says so.
        Raises `SchemeError` for a sparsity out of reach.
        """
        raise NotImplementedError

    def encoding(self, mask: np.ndarray) -> Encoding:
        """The description that keeps exactly what a projection kept of a weight of the mask's shape."""
        raise NotImplementedError

    def random_mask(self, shape: tuple[int, ...], sparsity: float, random: np.random.Generator) -> np.ndarray:
        """A mask of the scheme, for tests and measurements: the projection of normally distributed weights."""
        self.check_shape(shape)
        squares = np.square(random.standard_normal(shape)).reshape(self.units(shape).shape)
        return self.project(squares, sparsity, None).reshape(shape)


def matrix_view(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A weight as [rows, columns, 1]."""
    return (shape[0], int(np.prod(shape[1:])), 1)


def budget_of(squares: np.ndarray, sparsity: float) -> int:
    """How many weights may be kept."""
    return round((1 - sparsity) * squares.size)
