"""Where commands write: what stands in the way is told before anything takes long, and files are written whole."""

import os
from pathlib import Path

from .errors import SecateurError


def check_file_place(out: Path) -> None:
    """Raises `SecateurError` (of usage) where no file could be written at `out`; folders on the way may be missing."""
    if out.is_dir():
        raise SecateurError(f"'{out}' is a folder; expected a file", usage=True)
    check_around(out)


def check_folder_place(out: Path) -> None:
    """Raises `SecateurError` (of usage) where no files could be written into the folder `out`, which may be missing."""
    if out.exists() and not out.is_dir():
        raise SecateurError(f"'{out}' is a file; expected a folder", usage=True)
    check_around(out / "new")


def check_around(out: Path) -> None:
    """Raises `SecateurError` (of usage) where a file stands in place of a folder around `out`, or the nearest folder
    that is there may not be written to."""
    around = out.absolute().parent
    while not os.path.lexists(around):
        around = around.parent
    if not around.is_dir():
        raise SecateurError(f"'{out}' cannot be written: '{around}' is no folder", usage=True)
    if not os.access(around, os.W_OK | os.X_OK):
        raise SecateurError(f"'{out}' cannot be written: the folder '{around}' is read-only", usage=True)


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all; what is no plain file (a pipe, a terminal) is written into.

    Raises `OSError`, which names the file.
    """
    special = path.exists() and not path.is_file()
    written = path if special else path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            written.write_bytes(data)
            if not special:
                written.replace(path)
        finally:
            if not special:
                written.unlink(missing_ok=True)
    except OSError as error:
        error.filename = str(path)
        raise
