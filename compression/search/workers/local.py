"""Processes of this machine."""

import socket

from secateur.compiler.tune.options import memory_here
from secateur.compiler.tune.workers import Worker, finished_within

from ..measurement import Evaluator, Measurement, Stage
from .child import Child, packed
from .pool import Task


class LocalPool:
    """`workers` processes; each may have `memory_bytes` of its own (0: any; default: half of the machine's memory)."""

    def __init__(self, evaluator: Evaluator, workers: int = 1, memory_bytes: int | None = None) -> None:
        memory = memory_here() if memory_bytes is None else memory_bytes
        data = packed(evaluator)
        self._idle = [Child(data, memory) for _ in range(workers)]
        self._busy: dict[Worker, tuple[Child, Task]] = {}

    @property
    def free(self) -> int:
        """Processes without a task."""
        return len(self._idle)

    def place(self, stage: Stage) -> str | None:
        """The target, on this machine."""
        return f"{socket.gethostname()}:{stage.target}" if stage.target else None

    def begin(self, task: Task) -> None:
        """Starts a task in an idle process."""
        child = self._idle.pop()
        child.submit(task.candidate, task.stage)
        self._busy[child.worker] = child, task

    def finished(self, seconds: float) -> list[tuple[Task, Measurement]]:
        """The task that ends next, if one does within `seconds`."""
        worker = finished_within(list(self._busy), seconds) if self._busy else None
        if worker is None:
            return []
        child, task = self._busy.pop(worker)
        self._idle.append(child)
        return [(task, child.result(task.stage))]

    def close(self) -> None:
        """Ends all processes."""
        for child in (*self._idle, *(child for child, _ in self._busy.values())):
            child.stop()
