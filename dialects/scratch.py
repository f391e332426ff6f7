"""Folders for temporary files: what a killed process left goes with the next one, and a full disk is a sentence.

A folder is held by a lock (`flock`) for as long as its process lives, so a folder without one is nobody's. Those of
other users are never touched, nor are young ones, whose lock may be about to come.
"""

import contextlib
import fcntl
import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from .errors import SecateurError

_PREFIX, _SUFFIX = "secateur-", ".scratch"
_YOUNG_SECONDS = 60.0
_PROBED_BYTES = 1 << 20
OTHERWISE = "make room there, or set TMPDIR to another folder"


class ScratchFolder(tempfile.TemporaryDirectory[str]):
    """A folder below `root` (default: `$TMPDIR`), named after its `purpose`; it goes when the block or the object does.
    `otherwise` ends the sentence about a root that cannot be written: how another is named.

    Raises `SecateurError` where none can be made. What a block raises because nothing more can be written there is
    told as that, with the folder and the variable that names another.
    """

    def __init__(self, purpose: str, root: Path | None = None, otherwise: str = OTHERWISE) -> None:
        self._otherwise = otherwise
        try:
            self._root = Path(temporary_root()) if root is None else root
            if root is not None:
                root.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(str(self._root))
            super().__init__(prefix=f"{_PREFIX}{purpose}-", suffix=_SUFFIX, dir=self._root)
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from None
        self._lock = os.open(self.name, os.O_RDONLY | os.O_DIRECTORY)
        # A file system without locks: the folder stays where the process is killed.
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def cleanup(self) -> None:
        """Removes the folder."""
        super().cleanup()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with self.explained():
                if error is not None:
                    raise error
        finally:
            self.cleanup()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """What the block raises is told as a full disk where it is one."""
        try:
            yield
        except Exception as error:
            fault = write_fault(Path(self.name))
            if fault is None:
                raise
            raise self._refusal(fault) from error

    def _refusal(self, fault: str) -> SecateurError:
        return SecateurError(f"temporary files cannot be written into '{self._root}': {fault}; {self._otherwise}")


def temporary_root() -> str:
    """The folder that `TMPDIR` names, also where it cannot be written: tools that are started take it all the same."""
    return os.environ.get("TMPDIR") or tempfile.gettempdir()


def write_fault(folder: Path) -> str | None:
    """Why a file of a megabyte cannot be written into `folder`; None where it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_PROBED_BYTES))
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return None


@functools.cache
def _remove_abandoned(root: str) -> None:
    """Removes folders of this user below `root` that no process holds; once in a process."""
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.name.endswith(_SUFFIX):
                with contextlib.suppress(OSError):
                    _remove_where_abandoned(entry)


def _remove_where_abandoned(entry: "os.DirEntry[str]") -> None:
    found = entry.stat(follow_symlinks=False)
    young = time.time() - max(found.st_mtime, found.st_ctime) < _YOUNG_SECONDS
    if young or found.st_uid != os.geteuid() or not entry.is_dir(follow_symlinks=False):
        return
    descriptor = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.path, ignore_errors=True)
    finally:
        os.close(descriptor)
