"""What a number format is: how the weights of a layer are stored, and what it multiplies them in. NumPy only."""

import dataclasses
from typing import Any

import numpy as np

from ..errors import SecateurError


class QuantizationError(SecateurError):
    """Weights that a format does not hold. The text continues the name of the layer or array."""


class NumberFormatError(SecateurError):
    """There is no such format. The text says which there are."""

    usage = True


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far outputs may be off: relative L2 `|a - b|_2 / |b|_2`, and the largest `|a - b|` over the largest `|b|`."""

    relative_l2: float
    scaled_max: float


@dataclasses.dataclass(frozen=True)
class Storage:
    """How weights are stored. This one keeps them as they are; others override what differs.

    `name`, as options have it; `element`: the MLIR type of a stored number; `dtype`: NumPy's; `coarse`: accepted of a
    model's outputs where its weights were changed before they were rounded, so that both sides are rounded, at
    different places.
    """

    name: str
    element: str
    dtype: type[np.generic]
    coarse: Tolerance

    def check(self, array: np.ndarray) -> None:
        """Raises `QuantizationError` where `array` has a number that this storage cannot hold."""

    def scales(self, largest: np.ndarray) -> np.ndarray | None:
        """The f32 scales of rows whose largest absolute weights are `largest`; None where rows have none."""
        return None

    def store(self, array: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
        """`array` as it is stored; `scales` broadcast against it."""
        return array.astype(self.dtype)

    def read(self, stored: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
        """What stored numbers are read as, in f32; `scales` broadcast against them."""
        wide = stored.astype(np.float32)
        return wide if scales is None else wide * scales

    def store_rows(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The rows of `array` [rows, ...] as they are stored, and their scales [rows]. Raises `QuantizationError`."""
        self.check(array)
        flat = array.reshape(len(array), -1)
        scales = self.scales(np.abs(flat).max(axis=1, initial=0.0))
        return self.store(flat, None if scales is None else scales[:, None]).reshape(array.shape), scales

    def read_rows(self, stored: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
        """What rows stored by `store_rows` are read as, in f32."""
        return self.read(stored, None if scales is None else scales.reshape(-1, *[1] * (stored.ndim - 1)))


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """What layers of many tokens multiply and sum in.

    `storages`: names of those that it takes weights in; none: all. `cpu_features`: sets of features (as /proc/cpuinfo
    names them) of which a CPU must have one; none: every machine. `gpu_feature`: the field of a GPU's target that must
    be true; empty: no GPU multiplies in it. `machines` says which these are, to a person. `inner`
    neighbouring features are multiplied by one instruction. `half_sums` products are summed in f16 before the sum is
    added to one in f32; 0: none. `accepted` of a model's outputs; None: what its storage is held to.
    """

    name: str
    storages: tuple[str, ...] = ()
    cpu_features: tuple[tuple[str, ...], ...] = ()
    gpu_feature: str = ""
    machines: str = ""
    inner: int = 1
    half_sums: int = 0
    accepted: Tolerance | None = None

    @property
    def rounds_activations(self) -> bool:
        """Whether what a layer reads is rounded to bytes."""
        return self.inner > 1

    def runs_with(self, cpu_features: tuple[str, ...]) -> bool:
        """Whether a CPU with these features has its instructions."""
        return not self.cpu_features or any(set(needed) <= set(cpu_features) for needed in self.cpu_features)


@dataclasses.dataclass(frozen=True)
class NumberFormat:
    """How the numbers of layers are stored and multiplied."""

    storage: Storage
    arithmetic: Arithmetic

    def __str__(self) -> str:
        """Weights and arithmetic, as in `int8 x f32`."""
        return f"{self.storage.name} x {self.arithmetic.name}"

    @property
    def is_f32(self) -> bool:
        """Whether everything stays as the model has it."""
        return self.storage.name == self.arithmetic.name == "f32"

    def pass_options(self) -> dict[str, dict[str, Any]]:
        """The options of passes that choose it for all layers; none where everything stays f32."""
        if self.is_f32:
            return {}
        return {"sparsity-number-format": {"weights": self.storage.name, "arithmetic": self.arithmetic.name}}


def largest_relative_error(original: np.ndarray, read: np.ndarray, largest: np.ndarray) -> float:
    """The largest `|original - read|` over the largest absolute weight of its row (`largest`, which broadcasts)."""
    error = np.abs(original.astype(np.float64) - read)
    wide = np.broadcast_to(largest.astype(np.float64), error.shape)
    return float(np.divide(error, wide, out=np.zeros(error.shape), where=wide > 0).max(initial=0.0))
