"""The arrays of a module as a parameter archive (`.irpa`), which a session maps into memory."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import iree.runtime
import numpy as np

from secateur.dialects.errors import SecateurError


class ParameterError(SecateurError):
    """An archive cannot be written or read; the text is one sentence."""


def write_parameters(path: str | os.PathLike[str], parameters: Mapping[str, np.ndarray]) -> None:
    """Writes an archive of `parameters`, sorted by name; equal arrays give equal bytes.

    Every array starts at a multiple of 64 bytes. Bools are stored as one byte each. Raises `ParameterError`.
    """
    path = Path(path)
    index = iree.runtime.ParameterIndex()
    index.reserve(len(parameters))
    for name, array in sorted(parameters.items()):
        flat = np.ascontiguousarray(array).reshape(-1)
        try:
            data = flat.view(np.uint8)
            # The index wants a writable view of read-only arrays (memory-mapped weights) and never writes to it.
            index.add_buffer(name, data)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ParameterError(f"the parameter '{name}' ({array.dtype}) cannot be stored: {error}") from None
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        index.create_archive_file(str(path))
    except (OSError, ValueError, RuntimeError) as error:
        raise ParameterError(f"'{path}' cannot be written: {error}") from None
