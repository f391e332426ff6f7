"""The table of a parameter archive (`.irpa`), read without IREE, whose reader trusts the file.

An archive of ours is one header, a table of entries in the order of their names, the names, and the arrays one after
the other (`iree/schemas/parameter_archive.h`, version 0.0; all numbers are little-endian). IREE follows links to other
headers, adds offsets that may overflow, and takes arrays that overlap; none of these is in an archive of ours.
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

from .parameters import ParameterError

# magic, version (major, minor), size of the header, next header, flags, entries; then offset and length of the table,
# of the names and of the arrays.
_HEADER = struct.Struct("<4sHHQQQQ" + "QQ" * 3)
# size, type, flags; offset and length of the name and of metadata; alignment; offset and length of the array.
_ENTRY = struct.Struct("<QIQ" + "QQ" * 2 + "Q" + "QQ")
_ALIGNMENT, _STORED = 16, 2


class Stored(NamedTuple):
    """Where an array lies in its file, in bytes."""

    offset: int
    length: int


def read_table(path: str | os.PathLike[str]) -> dict[str, Stored]:
    """Name -> place of every array. Raises `ParameterError` for a file that `write_parameters` cannot have written."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            fields = _HEADER.unpack(_read(file, 0, _HEADER.size, size, "its header"))
            magic, major, minor, header_size, linked, flags, count, *segments = fields
            if magic != b"IRPA" or (major, minor) != (0, 0) or (header_size, linked, flags) != (_HEADER.size, 0, 0):
                raise ValueError("its header is not one of version 0.0")
            table, names, arrays = zip(segments[::2], segments[1::2], strict=True)
            entries = _read(file, *table, size, "its table")
            text = _read(file, *names, size, "its names")
            if sum(arrays) > size:
                raise ValueError(f"its arrays end at byte {sum(arrays)} of a file of {size}")
            return _entries(entries, count, text, arrays)
    except OSError as error:
        raise ParameterError(f"'{path}' cannot be read: {error.strerror or error}") from None
    except (ValueError, struct.error) as error:
        raise ParameterError(f"'{path}' is no parameter archive, or a damaged one: {error}") from None


def _read(file, offset: int, length: int, size: int, what: str) -> bytes:  # type: ignore[no-untyped-def]
    if offset + length > size:
        raise ValueError(f"{what} ends at byte {offset + length} of a file of {size}")
    file.seek(offset)
    found: bytes = file.read(length)
    return found


def _entries(table: bytes, count: int, names: bytes, arrays: tuple[int, int]) -> dict[str, Stored]:
    stride = -(-_ENTRY.size // _ALIGNMENT) * _ALIGNMENT
    if len(table) != max(0, count * stride - (stride - _ENTRY.size)):
        raise ValueError(f"its table of {len(table)} bytes is not one of {count} arrays")
    found: dict[str, Stored] = {}
    end = 0
    for position in range(count):
        size, kind, flags, name_at, name_size, _, metadata_size, alignment, at, length = _ENTRY.unpack_from(
            table, position * stride
        )
        if (size, kind, flags, metadata_size) != (_ENTRY.size, _STORED, 0, 0):
            raise ValueError(f"entry {position} of its table is no array")
        if name_at + name_size > len(names):
            raise ValueError(f"the name of entry {position} lies outside of its names")
        name = names[name_at : name_at + name_size].decode()
        if name in found:
            raise ValueError(f"it holds '{name}' twice")
        if at < end or at + length > arrays[1]:
            raise ValueError(f"'{name}' at byte {at} lies in another array or outside of them")
        if alignment and (alignment & (alignment - 1) or (arrays[0] + at) % alignment):
            raise ValueError(f"'{name}' does not start at a multiple of {alignment} bytes")
        end = at + length
        found[name] = Stored(arrays[0] + at, length)
    return found
