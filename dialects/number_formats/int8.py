"""int8: symmetric, with a scale per row.

scale = max |w| / 127;  q = round(w / scale) in -127 .. 127, to even;  w is read as q * scale

A row of zeros has scale zero. Zeros stay zeros, so that an encoding stays true; a kept weight may become one. The error
of a weight is at most half of its row's scale.
"""

import numpy as np

from .number_format import Arithmetic, QuantizationError, Storage, Tolerance

LARGEST = 127


class _Int8(Storage):
    def check(self, array: np.ndarray) -> None:
        largest = float(np.abs(array).max(initial=0.0))
        if not np.isfinite(largest):
            raise QuantizationError(f"expected finite weights to store them as {self.name}, found {largest}")

    def scales(self, largest: np.ndarray) -> np.ndarray | None:
        return (largest.astype(np.float64) / LARGEST).astype(np.float32)

    def store(self, array: np.ndarray, scales: np.ndarray | None) -> np.ndarray:
        assert scales is not None
        wide = scales.astype(np.float64)
        # A scale that underflowed to zero has weights below 1e-43 behind it.
        units = np.divide(array, wide, out=np.zeros(array.shape), where=np.broadcast_to(wide > 0, array.shape))
        return np.clip(np.rint(units), -LARGEST, LARGEST).astype(np.int8)


STORAGE = _Int8("int8", "i8", np.int8, Tolerance(0.2, 0.5))
# Four neighbouring features make one product. Activations are rounded too, token by token: what a whole model is
# off by (4e-2 for a MiniLM at 70 % zeros). Faults of the code are told by its ops, each by itself.
ARITHMETIC = Arithmetic(
    "int8",
    storages=("int8",),
    gpu_feature="dot",
    machines="CPUs, and GPUs in the lowering 'gpu'",
    inner=4,
    accepted=Tolerance(1e-1, 2e-1),
)
