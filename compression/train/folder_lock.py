"""One process at a time in a folder that is trained into."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import TrainError

_held: set[Path] = set()


@contextlib.contextmanager
def locked_folder(out: Path) -> Iterator[None]:
    """Makes the folder `out` and holds it; within a process the same folder may be held again, inside.

    The system keeps the lock (`flock`) and drops it with the process, so a killed one never blocks. Where the file
    system has no locks none is held. Raises `TrainError` where another process holds the folder.
    """
    place = out.resolve()
    # What is no folder is refused by those who write it, in their own words.
    if place in _held or (place.exists() and not place.is_dir()):
        yield
        return
    place.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(place, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainError(
                f"another process is writing '{out}'; wait for its end, or name a new folder with --out"
            ) from None
        except OSError:
            pass
        _held.add(place)
        yield
    finally:
        _held.discard(place)
        os.close(descriptor)
