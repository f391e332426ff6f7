"""Arrays from `.npy` and `.npz` files that others wrote."""

import os
from typing import Any

import numpy as np


def read_arrays(path: str | os.PathLike[str]) -> np.ndarray | dict[str, np.ndarray]:
    """The array of a `.npy`, those of a `.npz` by name. Raises `ValueError`, one clause, where there are none."""
    try:
        found: Any = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return dict(found)
    # NumPy raises whatever the damage leads its readers to: those of ZIP archives and of Python's own syntax.
    except Exception as error:
        raise ValueError(f"is no NumPy file: {' '.join(str(error).split()) or type(error).__name__}") from None
