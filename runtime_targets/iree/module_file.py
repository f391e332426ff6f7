"""A module's file (`.vmfb`), looked at before its code is loaded.

IREE writes a module as a ZIP archive that stores the module and each of its executables with a CRC-32. Its loader reads
past these: damaged machine code ends the process or computes other numbers.
"""

import os
import zipfile
import zlib
from pathlib import Path

import iree.runtime as rt

from ..interface import Signature
from .errors import IREE_ERRORS, SessionError, first_line

SIGNATURE = "secateur.signature"
"""The reflection entry of a function that holds `Signature.dumps`."""
_MODULE = "module.fb"


def read_signatures(path: str | os.PathLike[str]) -> dict[str, Signature]:
    """What the module in a file says of its functions, by name. The file is checked, and no code loaded: it may be made
    for another machine. Raises `SessionError`."""
    path = Path(path)
    check_whole(path)
    try:
        # What was read lives as long as the instance and the module do.
        instance = rt.VmInstance()
        code = rt.VmModule.mmap(instance, str(path))
        return signatures_of(code)
    except IREE_ERRORS as error:
        raise SessionError(f"'{path}' has no signature that can be read: {first_line(error)}") from None


def signatures_of(code: rt.VmModule) -> dict[str, Signature]:
    """What a loaded module says of its functions. Raises `ValueError` where it was not made by this compiler."""
    found = {}
    for name in code.function_names:
        text = code.lookup_function(name).reflection.get(SIGNATURE)
        if text is not None:
            found[name] = Signature.loads(text)
    if not found:
        raise ValueError("it has no function with a signature of this compiler")
    return found


def check_whole(path: Path) -> None:
    """Raises `SessionError` unless every part of a module's file has the CRC-32 that was written with it."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if not parts or (parts[0].filename, parts[0].header_offset) != (_MODULE, 0):
                raise zipfile.BadZipFile(f"it does not begin with '{_MODULE}'")
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise zipfile.BadZipFile("a part of it is compressed")
            damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"'{damaged}' in it has another CRC-32 than was written")
    except OSError as error:
        raise SessionError(f"'{path}' cannot be read: {error.strerror or error}") from None
    # A damaged archive raises whatever its damage leads the reader to.
    except (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, zlib.error) as error:
        raise SessionError(f"'{path}' is no module of IREE, or a damaged one: {error}") from None
