"""The arrays of several targets as archives in which none is stored twice."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file `name` of a bundle with `arrays` by symbol, all of which each of `targets` reads."""

    name: str
    targets: tuple[str, ...]
    arrays: Mapping[str, np.ndarray]

    @property
    def array_bytes(self) -> int:
        """Bytes of the arrays, without the file's own."""
        return sum(array.nbytes for array in self.arrays.values())


def parameter_archives(parameters: Mapping[str, Mapping[str, np.ndarray]]) -> list[Archive]:
    """Target -> symbol -> array, as archives: one for every set of targets that have arrays in common.

    Arrays are the same where symbol, type, shape and bytes are. A target reads all archives that name it, in which no
    symbol occurs twice, and nothing that only others need. For one target the file is `weights.irpa`; for several,
    `weights/shared.irpa` (the largest that some share; then `weights/shared-2.irpa` ...) and one of each
    target's own, named after it.
    """
    users: dict[tuple[str, str], list[str]] = {}
    arrays: dict[tuple[str, str], np.ndarray] = {}
    digests: dict[tuple[int, tuple[int, ...]], str] = {}
    for target, named in parameters.items():
        for symbol, array in named.items():
            key = (symbol, _digest(array, digests) if len(parameters) > 1 else "")
            users.setdefault(key, []).append(target)
            arrays[key] = array
    groups: dict[tuple[str, ...], dict[str, np.ndarray]] = {}
    for (symbol, digest), found in users.items():
        groups.setdefault(tuple(found), {})[symbol] = arrays[symbol, digest]
    archives = [Archive("", targets, members) for targets, members in groups.items()]
    shared = 0
    named_archives = []
    for archive in sorted(archives, key=lambda a: (len(a.targets) == 1, -a.array_bytes, a.targets)):
        if len(parameters) == 1:
            name = "weights.irpa"
        elif len(archive.targets) == 1:
            name = f"weights/{archive.targets[0].replace(':', '-')}.irpa"
        else:
            shared += 1
            name = "weights/shared.irpa" if shared == 1 else f"weights/shared-{shared}.irpa"
        named_archives.append(dataclasses.replace(archive, name=name))
    return named_archives


def _digest(array: np.ndarray, known: dict[tuple[int, tuple[int, ...]], str]) -> str:
    """A hash of type, shape and bytes; that of an array that was seen before is not computed again."""
    place = (array.__array_interface__["data"][0], (*array.shape, *array.strides, ord(array.dtype.char)))
    if array.size == 0 or place not in known:
        flat = np.ascontiguousarray(array)
        digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
        digest.update(flat.reshape(-1).view(np.uint8).data)
        known[place] = digest.hexdigest()
    return known[place]
