"""Ends a process that takes too much memory together with those that it started, or by sharing it.

The limit of a process (`RLIMIT_DATA`) holds for each process by itself, and for private memory only.
"""

import contextlib
import os
import re
import signal
import threading
from pathlib import Path

_SECONDS = 0.2


class MemoryWatch:
    """Watches `process` and all that descend from it until it ends; where they take more than `memory_bytes` together
    they are killed, and `fault` says so."""

    def __init__(self, process: int, memory_bytes: int) -> None:
        self.fault: str | None = None
        self._process, self._memory = process, memory_bytes
        threading.Thread(target=self._run, daemon=True, name="memory of a candidate").start()

    def _run(self) -> None:
        pause = threading.Event()
        while Path(f"/proc/{self._process}").exists():
            family = descendants(self._process)
            # The cheap sum counts what parent and child share twice; only where it is too large the exact one is taken.
            if _resident(family) > self._memory and (taken := _proportional(family)) > self._memory:
                self.fault = (
                    f"it and the processes that it started take {taken / 1e9:.2f} GB of memory, more than the"
                    f" {self._memory / 1e9:.2f} GB that a candidate may have"
                )
                for process in reversed(family):
                    with contextlib.suppress(OSError):
                        os.kill(process, signal.SIGKILL)
                return
            pause.wait(_SECONDS)


def descendants(process: int) -> list[int]:
    """A process and all that it started, and these, parents first."""
    found = [process]
    for parent in found:
        for file in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found += [int(child) for child in file.read_text().split()]
    return found


def _resident(processes: list[int]) -> int:
    """Bytes of anonymous and shared memory, with what several processes share counted for each."""
    return _sum(processes, "status", r"^Rss(?:Anon|Shmem):\s+(\d+) kB")


def _proportional(processes: list[int]) -> int:
    """The same, with what several processes share counted once."""
    return _sum(processes, "smaps_rollup", r"^Pss_(?:Anon|Shmem):\s+(\d+) kB")


def _sum(processes: list[int], file: str, line: str) -> int:
    found = 0
    for process in processes:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process}/{file}").read_text()
            found += sum(int(kilobytes) << 10 for kilobytes in re.findall(line, text, re.MULTILINE))
    return found
