"""The compile cache: finished bundles by the content that they were made from.

An entry is a folder named by its key, made under a temporary name and renamed when it is complete, so a reader
never sees half of one and of two processes that make the same entry one wins and both go on. The folder is
`$SECATEUR_CACHE`, or `secateur` in `$XDG_CACHE_HOME` (by default `~/.cache`); `SECATEUR_CACHE=off` turns it off.
"""

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from secateur.dialects.scratch import write_fault
from secateur.dialects.user_folders import user_folder

# Least recently used entries go when the cache grows past this; a fresh one may be in use and stays.
LIMIT_BYTES = 20 << 30
_FRESH_SECONDS = 3600.0
_TEMPORARY = ".new-"
_HASHED = tuple(f"secateur.{part}" for part in ("compiler", "dialects", "frontends", "passes", "runtime_targets"))


def cache_folder() -> Path | None:
    """Where entries are kept; None where the cache is turned off."""
    chosen = os.environ.get("SECATEUR_CACHE", "")
    if chosen.lower() in ("off", "0", "no", "false"):
        return None
    if chosen:
        return Path(chosen).expanduser()
    return user_folder("XDG_CACHE_HOME") / "secateur"


def hash_weights(weights: Mapping[str, np.ndarray]) -> str:
    """A digest of every array's symbol, type, shape and bytes. Arrays are read in place where they are contiguous."""
    digest = hashlib.blake2b(digest_size=32)
    for symbol in sorted(weights):
        array = np.ascontiguousarray(weights[symbol])
        digest.update(f"{symbol}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """A digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def code_version() -> str:
    """A digest of Secateur's own source files, so that a changed pass never meets an entry of the old one."""
    digest = hashlib.blake2b(digest_size=16)
    for package in _HASHED:
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.submodule_search_locations, package
        root = Path(next(iter(spec.submodule_search_locations)))
        for file in sorted(root.rglob("*.py")):
            digest.update(f"{package}/{file.relative_to(root).as_posix()}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


@functools.cache
def tool_versions() -> dict[str, str]:
    """Versions of Secateur and of what code generation and numbers depend on."""
    names = ("secateur", "torch", "torch-mlir", "iree-base-compiler", "iree-base-runtime", "numpy", "transformers")
    versions = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def cache_key(**parts: object) -> str:
    """A key of JSON-able `parts`, the versions of the tools and the code of Secateur itself."""
    whole = {**parts, "tools": tool_versions(), "code": code_version()}
    return hashlib.blake2b(json.dumps(whole, sort_keys=True).encode(), digest_size=24).hexdigest()


class Cache:
    """Entries under `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> Path | None:
        """The folder of a complete entry, marked as used now; None where there is none."""
        entry = self.folder / key
        if not entry.is_dir():
            return None
        with contextlib.suppress(OSError):
            os.utime(entry)
        return entry

    @contextlib.contextmanager
    def write(self, key: str) -> Iterator[Path]:
        """A folder to fill; it becomes the entry when the block ends without an error, else it is removed.

        After the block, `find` gives the entry. An entry that another process finished first stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix=_TEMPORARY))
        try:
            yield folder
            # A folder cannot be renamed onto one that has files: then another process has made the same entry.
            with contextlib.suppress(OSError):
                folder.rename(self.folder / key)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._evict()

    def write_fault(self) -> str | None:
        """Why nothing can be written; None where a megabyte can."""
        return write_fault(self.folder)

    def discard(self, key: str) -> None:
        """Removes an entry, for one that turned out to be damaged."""
        shutil.rmtree(self.folder / key, ignore_errors=True)

    def _evict(self) -> None:
        now = time.time()
        entries = []
        for entry in self.folder.iterdir():
            with contextlib.suppress(OSError):
                size = sum(f.stat().st_size for f in entry.rglob("*") if f.is_file())
                entries.append((entry.stat().st_mtime, size, entry))
        total = sum(size for _, size, _ in entries)
        for used, size, entry in sorted(entries):
            abandoned = entry.name.startswith(_TEMPORARY) and now - used > 24 * _FRESH_SECONDS
            if abandoned or (total > LIMIT_BYTES and now - used > _FRESH_SECONDS):
                shutil.rmtree(entry, ignore_errors=True)
                total -= size
