"""Worker processes as their owner sees them: calls with a time limit, and processes that are replaced when they end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from .errors import CandidateError

# Address space, of which a worker with its libraries and an LLVM beside it takes a small part.
MEMORY_BYTES = 16 << 30
CALL_SECONDS = 60.0


class Worker:
    """A process that makes one call after the other; it is started by its first call.

    `memory_bytes`: address space of the process, and of each that it starts. `environment` is added to this one's.
    """

    def __init__(self, memory_bytes: int = MEMORY_BYTES, environment: Mapping[str, str] | None = None) -> None:
        self._memory, self._environment = memory_bytes, dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None
        self.deadline = 0.0

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def process_id(self) -> int | None:
        """The id of the process that runs, if one does."""
        return self._process.pid if self._process is not None else None

    def submit(self, reference: str, *arguments: Any, seconds: float = CALL_SECONDS) -> None:
        """Begins a call of `module:function`; `result` waits for it."""
        if self._process is None:
            self._start()
        assert self._connection is not None
        self.deadline = time.monotonic() + seconds
        # A worker that ended since its last call is found by `result`.
        with contextlib.suppress(OSError):
            self._connection.send((reference, arguments))

    def call(self, reference: str, *arguments: Any, seconds: float = CALL_SECONDS) -> Any:
        """Calls `module:function` and returns what it returns. Raises `CandidateError` as `result` does."""
        self.submit(reference, *arguments, seconds=seconds)
        return self.result()

    def result(self) -> Any:
        """What the call returns. Raises `CandidateError` where it failed, took too long, or ended the process.

        In the latter two cases the next call is made in a new process.
        """
        assert self._connection is not None
        try:
            if not self._connection.poll(max(0.0, self.deadline - time.monotonic())):
                self.stop()
                raise CandidateError("timeout", "it takes longer than a candidate may")
            kind, value = self._connection.recv()
        except (EOFError, OSError):
            raise CandidateError(*self._end()) from None
        if kind == "ok":
            return value
        if kind in ("crashed", "memory"):
            # Whatever it left in this process is not to meet the next candidate.
            self.stop()
        raise CandidateError(kind, value)

    def stop(self) -> None:
        """Ends the process with all that it started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process, self._connection = None, None

    def fileno(self) -> int:
        """For `multiprocessing.connection.wait`: readable when there is a result."""
        assert self._connection is not None
        return self._connection.fileno()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            arguments = [str(theirs.fileno()), str(os.getpid()), str(self._memory)]
            # A session of its own: it is ended with its children, and an interrupt at the terminal is for us alone.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "secateur.compiler.tune.worker", *arguments],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **self._environment},
            )
        self._connection = Connection(ours.detach())

    def _end(self) -> tuple[str, str]:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        self.stop()
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            return "crashed", f"its process was ended by {name}"
        return "crashed", f"its process ended with exit code {code}"


def next_finished(workers: Sequence[Worker]) -> Worker:
    """The first of the busy `workers` that has a result or is out of time."""
    found = finished_within(workers, float("inf"))
    assert found is not None
    return found


def finished_within(workers: Sequence[Worker], seconds: float) -> Worker | None:
    """The first of the busy `workers` that has a result or is out of time; None where none has within `seconds`."""
    first = min(workers, key=lambda worker: worker.deadline)
    left = first.deadline - time.monotonic()
    ready = wait(workers, timeout=max(0.0, min(left, seconds)))  # type: ignore[arg-type]
    if ready:
        return ready[0]  # type: ignore[return-value]
    return first if left <= seconds else None
