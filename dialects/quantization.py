"""How weights are stored in fewer bits: f16, and symmetric int8 with a scale per row. NumPy only.

int8, row by row:  scale = max |w| / 127;  q = round(w / scale) in -127 .. 127;  w is read as q * scale
A row of zeros has scale zero. Zeros stay zeros, so that an encoding stays true; a kept weight may become one. The error
of a weight is at most half of its row's scale; f16 rounds to 11 significant bits, to even.
"""

import numpy as np

from .errors import SecateurError

WEIGHTS = ("f32", "f16", "int8")
"""What weights may be stored as, by the names of options."""
ARITHMETIC = ("f32", "f16")
"""What layers multiply and sum in, by the names of options. f16 goes with weights of f16."""
HALF_RUN = 128
"""How many products are summed in f16 before the sum is added to one in f32."""
LARGEST_INT8 = 127
LARGEST_F16 = 65504.0


class QuantizationError(SecateurError):
    """Weights that the format does not hold. The text continues the name of the layer or array."""


def check_range(array: np.ndarray, weights: str) -> None:
    """Raises `QuantizationError` where `array` has a number that `weights` (f16 or int8) cannot hold."""
    largest = float(np.abs(array).max(initial=0.0))
    if weights == "f16" and not largest <= LARGEST_F16:
        raise QuantizationError(f"expected weights of at most {LARGEST_F16:.0f} to store them as f16, found {largest}")
    if not np.isfinite(largest):
        raise QuantizationError(f"expected finite weights to store them as {weights}, found {largest}")


def row_scales(largest: np.ndarray) -> np.ndarray:
    """The f32 scales of rows whose largest absolute weights are `largest`."""
    return (largest.astype(np.float64) / LARGEST_INT8).astype(np.float32)


def to_int8(array: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """`array` in units of `scales` (which broadcast against it), rounded to even."""
    wide = scales.astype(np.float64)
    # A scale that underflowed to zero has weights below 1e-43 behind it.
    units = np.divide(array, wide, out=np.zeros(array.shape), where=np.broadcast_to(wide > 0, array.shape))
    return np.clip(np.rint(units), -LARGEST_INT8, LARGEST_INT8).astype(np.int8)


def quantize_rows(array: np.ndarray, weights: str) -> tuple[np.ndarray, np.ndarray | None]:
    """The rows of `array` [rows, ...] as f16 (no scales) or int8 (scales [rows]). Raises `QuantizationError`."""
    check_range(array, weights)
    if weights == "f16":
        return array.astype(np.float16), None
    flat = array.reshape(len(array), -1)
    scales = row_scales(np.abs(flat).max(axis=1, initial=0.0))
    return to_int8(flat, scales[:, None]).reshape(array.shape), scales


def dequantize_rows(values: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
    """What stored rows are read as, in f32."""
    wide = values.astype(np.float32)
    return wide if scales is None else wide * scales.reshape(-1, *[1] * (values.ndim - 1))


def largest_relative_error(original: np.ndarray, read: np.ndarray, largest: np.ndarray) -> float:
    """The largest `|original - read|` over the largest absolute weight of its row (`largest`, which broadcasts)."""
    error = np.abs(original.astype(np.float64) - read)
    wide = np.broadcast_to(largest.astype(np.float64), error.shape)
    return float(np.divide(error, wide, out=np.zeros(error.shape), where=wide > 0).max(initial=0.0))
