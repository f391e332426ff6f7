"""Runs the steps of several jobs on a fixed number of sessions, in turns.

A session computes on one core and leaves the interpreter lock while it does, so a thread per session fills the cores
and more threads would only slow each other. A job is made of short steps (a window of a text). Free sessions take one
step of the job that waited longest, so that a short question does not wait until a long text is done, and one job
alone has all sessions.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from .errors import BusyError, TimeLimitError

Session = TypeVar("Session")
Step = Callable[[Any], "Iterable[Step] | None"]
"""Is called with a session; may return further steps of its job."""

# How long a first step takes nobody knows before one was made.
_STEP_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 60


class Job:
    """A job in a pool. `done` is resolved with None when its last step is, or with what a step raised."""

    def __init__(self, first: Step, deadline: float | None) -> None:
        self.done: Future[None] = Future()
        self._steps: deque[Step] = deque([first])
        self._running = 0
        self._waits = False
        self._ended = False
        self._deadline = deadline

    def cancel(self) -> None:
        """Forgets the steps that have not begun; those that run end. `done` is cancelled."""
        self.done.cancel()


class FairPool(Generic[Session]):
    """A thread for each of `sessions`. At most `capacity` jobs are unfinished at any moment; None: any number."""

    def __init__(self, sessions: Sequence[Session], capacity: int | None = None) -> None:
        self._capacity = capacity
        self._changed = threading.Condition()
        self._ready: deque[Job] = deque()
        self._jobs: set[Job] = set()
        self._closed = False
        self._step_seconds = _STEP_SECONDS
        self._threads = [threading.Thread(target=self._work, args=(s,), daemon=True) for s in sessions]
        for thread in self._threads:
            thread.start()

    @property
    def sessions(self) -> int:
        """How many steps run at a time."""
        return len(self._threads)

    @property
    def unfinished(self) -> int:
        """Jobs that run or wait."""
        with self._changed:
            self._drop_cancelled()
            return len(self._jobs)

    def submit(self, first: Step, time_limit_seconds: float | None = None) -> Job:
        """Begins a job with one step. Raises `BusyError` where `capacity` jobs are unfinished.

        A job that is not done after `time_limit_seconds` begins no further step and ends with `TimeLimitError`.
        """
        deadline = None if time_limit_seconds is None else time.monotonic() + time_limit_seconds
        job = Job(first, deadline)
        with self._changed:
            if self._closed:
                raise BusyError(1)
            self._drop_cancelled()
            if self._capacity is not None and len(self._jobs) >= self._capacity:
                raise BusyError(self._retry_after_seconds())
            self._jobs.add(job)
            self._queue(job)
        return job

    def close(self) -> None:
        """Cancels what has not ended and stops the threads after their current step."""
        with self._changed:
            self._closed = True
            jobs = list(self._jobs)
            self._jobs.clear()
            self._ready.clear()
            self._changed.notify_all()
        for job in jobs:
            job.cancel()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _drop_cancelled(self) -> None:
        self._jobs = {job for job in self._jobs if not job.done.done()}

    def _retry_after_seconds(self) -> int:
        steps = sum(len(job._steps) + job._running for job in self._jobs)
        seconds = steps * self._step_seconds / max(1, len(self._threads))
        return min(_LONGEST_RETRY_SECONDS, max(1, round(seconds)))

    def _queue(self, job: Job) -> None:
        if job._steps and not job._waits:
            job._waits = True
            self._ready.append(job)
        self._changed.notify(max(1, len(job._steps)))

    def _work(self, session: Session) -> None:
        while True:
            with self._changed:
                while not self._ready and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                job = self._ready.popleft()
                job._waits = False
                if job.done.done() or not job._steps:
                    self._jobs.discard(job)
                    continue
                step = job._steps.popleft()
                job._running += 1
                self._queue(job)
            self._run(session, job, step)

    def _run(self, session: Session, job: Job, step: Step) -> None:
        fault: BaseException | None = None
        further: list[Step] = []
        began = time.monotonic()
        if job._deadline is not None and began > job._deadline:
            fault = TimeLimitError("the answer took longer than it may; ask about a shorter text or when fewer ask")
        else:
            try:
                further = list(step(session) or ())
            # Whatever a step raises is its caller's to see; the thread goes on with other jobs.
            except BaseException as error:
                fault = error
            self._step_seconds = 0.9 * self._step_seconds + 0.1 * (time.monotonic() - began)
        with self._changed:
            job._running -= 1
            if fault is not None:
                job._steps.clear()
            elif not job.done.done():
                job._steps.extend(further)
                self._queue(job)
            # Two steps of a job may fail side by side: the first word counts.
            ended = not job._ended and (fault is not None or not (job._steps or job._running))
            if ended:
                job._ended = True
                self._jobs.discard(job)
        # False where the job was cancelled meanwhile.
        if ended and job.done.set_running_or_notify_cancel():
            if fault is None:
                job.done.set_result(None)
            else:
                job.done.set_exception(fault)
