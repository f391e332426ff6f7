"""The weight store: arrays by symbol, content-addressed, memory-mapped on disk. Free of torch.

On disk a store is a folder: `symbols.json` (symbol -> SHA-256 of the array's file) and
`objects/<sha256>.npy`, so equal arrays are kept once and any NumPy can read them.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import numpy as np

from .errors import SecateurError

_INDEX = "symbols.json"


class WeightStoreError(SecateurError):
    """A store cannot be read; the text is one sentence with the file and the fault."""


class WeightStore(MutableMapping[str, np.ndarray]):
    """A mapping from symbol to array. Arrays are held as given (no copy) and never written to.

    `WeightStore()` lives in memory; `WeightStore.open(folder)` maps the arrays of a saved one, and what
    is added afterwards lives in memory until `save`.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def __getitem__(self, symbol: str) -> np.ndarray:
        return self._arrays[symbol]

    def __setitem__(self, symbol: str, array: np.ndarray) -> None:
        self._arrays[symbol] = array

    def __delitem__(self, symbol: str) -> None:
        del self._arrays[symbol]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def add(self, hint: str, array: np.ndarray) -> str:
        """Stores a derived array under `hint`, or `hint.1`, `hint.2`, ... where that is taken by another array.

        Returns the symbol. The same hint with an equal array gives the same symbol, so a pass may run twice.
        """
        symbol, count = hint, 0
        while symbol in self._arrays:
            known = self._arrays[symbol]
            if known.dtype == array.dtype and known.shape == array.shape and np.array_equal(known, array):
                return symbol
            count += 1
            symbol = f"{hint}.{count}"
        self._arrays[symbol] = array
        return symbol

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the store; equal arrays once. The index is replaced last, so a cut-off save leaves the old store."""
        folder = Path(folder)
        objects = folder / "objects"
        objects.mkdir(parents=True, exist_ok=True)
        index, known = {}, {}
        for symbol, array in sorted(self._arrays.items()):
            if id(array) not in known:
                header, data = _npy(array)
                digest = hashlib.sha256(header)
                digest.update(data)
                known[id(array)] = digest.hexdigest()
                target = objects / f"{digest.hexdigest()}.npy"
                if not target.exists():
                    _write(target, header, data)
            index[symbol] = known[id(array)]
        _write(folder / _INDEX, json.dumps(index, indent=1, sort_keys=True).encode())

    @classmethod
    def open(cls, folder: str | os.PathLike[str], verify: bool = True) -> "WeightStore":
        """Maps a saved store. Raises `WeightStoreError` where it is missing, malformed or (`verify`) altered."""
        folder = Path(folder)
        try:
            index = json.loads((folder / _INDEX).read_text())
            items = dict(index).items()
        except FileNotFoundError:
            raise WeightStoreError(f"'{folder}' is no weight store: it has no {_INDEX}") from None
        except (OSError, ValueError, TypeError) as error:
            raise WeightStoreError(f"'{folder / _INDEX}' cannot be read: {error}") from None
        store, known = cls(), {}
        for symbol, digest in items:
            if not isinstance(digest, str) or not re.fullmatch(r"[0-9a-f]{64}", digest):
                raise WeightStoreError(f"'{folder / _INDEX}' gives '{symbol}' the malformed hash {digest!r}")
            if digest not in known:
                known[digest] = _map(folder / "objects" / f"{digest}.npy", digest, verify)
            store[symbol] = known[digest]
        return store


def _npy(array: np.ndarray) -> tuple[bytes, memoryview]:
    array = np.asarray(array, order="C")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return header.getvalue(), array.reshape(-1).view(np.uint8).data


def _write(target: Path, *parts: bytes | memoryview) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            for part in parts:
                file.write(part)
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _map(path: Path, digest: str, verify: bool) -> np.ndarray:
    try:
        if verify:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != digest:
                raise WeightStoreError(f"'{path}' was altered: its SHA-256 is {found}")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise WeightStoreError(f"'{path}' cannot be read: {error}") from None
