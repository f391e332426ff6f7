"""f16: IEEE half precision. Storing rounds to 11 significant bits, to even; vectors of Arm's fp16 multiply."""

import numpy as np

from .number_format import Arithmetic, QuantizationError, Storage, Tolerance

LARGEST = 65504.0


class _F16(Storage):
    def check(self, array: np.ndarray) -> None:
        largest = float(np.abs(array).max(initial=0.0))
        if not largest <= LARGEST:
            raise QuantizationError(f"expected weights of at most {LARGEST:.0f} to store them as f16, found {largest}")


STORAGE = _F16("f16", "f16", np.float16, Tolerance(5e-3, 2e-2))
# Each layer adds about 1e-4 to the error, and layers amplify it.
ARITHMETIC = Arithmetic(
    "f16",
    storages=("f16",),
    cpu_features=(("asimdhp", "fphp"),),
    gpu_feature="f16",
    machines="Arm CPUs from cortex-a55 on and GPUs by their names",
    half_sums=128,
    accepted=Tolerance(2e-2, 5e-2),
)
