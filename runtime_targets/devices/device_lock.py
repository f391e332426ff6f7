"""One process at a time in what is deployed to a device."""

import contextlib
import fcntl
import re
from collections.abc import Callable, Iterator

from secateur.dialects.user_folders import user_folder


@contextlib.contextmanager
def sole_use(device: str, progress: Callable[[str], None] = lambda stage: None) -> Iterator[None]:
    """Waits until no other process of this user deploys to `device` (its name), and keeps others waiting.

    A version that one deploys is an old one to the other, which removes it. The system keeps the lock (`flock`) and
    drops it with the process, so a killed one never blocks; where it cannot be had, none is held.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            folder = user_folder("XDG_DATA_HOME") / "secateur" / "locks"
            folder.mkdir(parents=True, exist_ok=True)
            file = held.enter_context((folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', device)}.lock").open("wb"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress(f"waiting for another deployment to {device}")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
