"""Whether the modules and archives of a bundle are whole, and fit each other and the manifest."""

import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.dialects.errors import SecateurError

from .interface import StoredParameter, check_manifest, check_parameters
from .manifest import BundleError, Manifest, TargetFiles

if TYPE_CHECKING:
    from .iree.archive_table import Stored

_CHUNK = 1 << 22


def check_code(manifest: Manifest, file: Callable[[str], Path], where: str) -> None:
    """Raises `BundleError` at the first fault in the code of any target of the bundle `where`.

    `file`: where a file of the bundle lies. No code is loaded, and no archive mapped: IREE trusts both.
    """
    from .iree.archive_table import read_table
    from .iree.module_file import read_signatures

    read_once = _Read(file)
    try:
        for target in manifest.targets:
            signatures = read_once(read_signatures, target.module)
            tables = {name: read_once(read_table, name) for name in target.parameters}
            check_manifest(manifest, target, signatures)
            signature = next(iter(signatures.values()))
            held: dict[str, int] = {}
            for table in tables.values():
                twice = sorted(held.keys() & table.keys())
                if twice:
                    raise BundleError(f"two archives of target '{target.name}' hold the parameter '{twice[0]}'")
                held.update({name: place.length for name, place in table.items()})
            check_parameters(held, signature, target)
            for name, table in tables.items():
                _check_places(file(name), table, signature.parameters or {}, target)
    except BundleError as error:
        raise BundleError(f"in '{where}', {error}") from None


class _Read:
    """What several targets share is read once. Errors name a file as the bundle does."""

    def __init__(self, file: Callable[[str], Path]) -> None:
        self._file = file
        self._found: dict[str, Any] = {}

    def __call__(self, read: Callable[[Path], Any], name: str) -> Any:
        path = self._file(name)
        try:
            if name not in self._found:
                self._found[name] = read(path)
        except SecateurError as error:
            raise BundleError(str(error).replace(str(path), name)) from None
        return self._found[name]


def _check_places(
    path: Path, table: "Mapping[str, Stored]", stored: Mapping[str, StoredParameter], target: TargetFiles
) -> None:
    """Compares the checksums of columns, bounds and offsets: a kernel reads from wherever they lead."""
    with path.open("rb") as file:
        for name, place in table.items():
            expected = stored[name].crc32 if name in stored else None
            if expected is None:
                continue
            file.seek(place.offset)
            found, left = 0, place.length
            while left and (chunk := file.read(min(left, _CHUNK))):
                found, left = zlib.crc32(chunk, found), left - len(chunk)
            if found != expected:
                raise BundleError(
                    f"the numbers of the parameter '{name}' are not those that the module '{target.module}' was "
                    "compiled with"
                )
