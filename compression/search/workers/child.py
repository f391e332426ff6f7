"""Evaluates a candidate in a process of its own, which may crash, hang or take all memory."""

import ctypes
import multiprocessing.spawn
import pickle
import resource
import time
from typing import Any

from secateur.compiler.tune.errors import CandidateError
from secateur.compiler.tune.workers import Worker

from ..errors import SearchError
from ..measurement import Evaluator, Measurement, Stage
from ..space import Candidate
from .memory_watch import MemoryWatch

_FUNCTION = "secateur.compression.search.workers.child:evaluate"
_SET_CHILD_SUBREAPER = 36
_evaluator: Evaluator | None = None


def packed(evaluator: Evaluator) -> bytes:
    """The evaluator as bytes that another process makes it from. Raises `SearchError` where it cannot be packed."""
    try:
        return pickle.dumps((_preparation(), pickle.dumps(evaluator)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise SearchError(f"the evaluator cannot be sent to another process: {error}") from None


def _preparation() -> dict[str, Any]:
    """What `multiprocessing` tells a process that it spawns: where modules are found, and which file is the program."""
    data = multiprocessing.spawn.get_preparation_data("evaluator")
    return {name: value for name, value in data.items() if name != "authkey"}


def evaluate(evaluator: bytes | None, memory_bytes: int, candidate: Candidate, stage: str) -> Measurement:
    """Called in the process: the figures of a stage. `evaluator`: None where the process has it already.

    `memory_bytes` that the process may have of its own (0: any); what it shares or has children take, `MemoryWatch`
    sees. Rationale: a limit of the address space would refuse what drivers of GPUs reserve and never use.
    """
    global _evaluator
    if evaluator is not None:
        preparation, data = pickle.loads(evaluator)
        multiprocessing.spawn.prepare(preparation)
        if memory_bytes:
            resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
            # What a process that ended has left behind is this one's child then, and is not lost sight of.
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        _evaluator = pickle.loads(data)
    assert _evaluator is not None
    began = time.monotonic()
    found = _evaluator.evaluate(candidate, stage)
    figures = {name: float(value) for name, value in found.figures.items()}
    return Measurement(figures, found.failure, found.seconds or time.monotonic() - began)


class Child:
    """A process that evaluates one candidate after another; after a fault the next has a new one."""

    def __init__(self, evaluator: bytes, memory_bytes: int) -> None:
        self.worker = Worker(memory_bytes=0)
        self._evaluator, self._memory = evaluator, memory_bytes
        self._has_it: int | None = None
        self._watch: MemoryWatch | None = None
        self._began = 0.0

    def submit(self, candidate: Candidate, stage: Stage) -> None:
        """Begins the stage; `result` waits for it."""
        known = self._has_it is not None and self._has_it == self.worker.process_id
        self._began = time.monotonic()
        evaluator = None if known else self._evaluator
        self.worker.submit(_FUNCTION, evaluator, self._memory, dict(candidate), stage.name, seconds=stage.seconds)
        self._has_it = self.worker.process_id
        if not known and self._memory and self._has_it is not None:
            self._watch = MemoryWatch(self._has_it, self._memory)

    def result(self, stage: Stage) -> Measurement:
        """The figures, or the sentence that says why there are none."""
        try:
            found: Measurement = self.worker.result()
        except CandidateError as error:
            return Measurement({}, self._sentence(error, stage), time.monotonic() - self._began)
        wrong = [name for name, value in found.figures.items() if not abs(value) < float("inf")]
        if wrong and found.failure is None:
            why = f"its figure '{wrong[0]}' is {found.figures[wrong[0]]}, and no finite number"
            return Measurement({}, why, found.seconds)
        return Measurement({} if found.failure else found.figures, found.failure, found.seconds)

    def _sentence(self, error: CandidateError, stage: Stage) -> str:
        if self._watch is not None and self._watch.fault is not None:
            return self._watch.fault
        if error.kind == "timeout":
            return f"stage '{stage.name}' takes longer than the {stage.seconds:g} s that a candidate has"
        # What follows the first line of a crash is where it happened, and too long for a journal.
        return str(error).partition("\n")[0]

    def stop(self) -> None:
        """Ends the process."""
        self.worker.stop()
