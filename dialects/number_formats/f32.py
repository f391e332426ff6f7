"""f32: numbers as PyTorch has them."""

import numpy as np

from .number_format import Arithmetic, Storage, Tolerance

STORAGE = Storage("f32", "f32", np.float32, Tolerance(1e-5, 1e-4))
ARITHMETIC = Arithmetic("f32")
