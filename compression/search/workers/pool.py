"""What a driver asks of the place where candidates are evaluated."""

import dataclasses
from typing import Protocol

from ..measurement import Measurement, Stage
from ..space import Candidate


@dataclasses.dataclass(frozen=True)
class Task:
    """One stage of one candidate."""

    number: int
    candidate: Candidate
    stage: Stage


class Pool(Protocol):
    """Evaluates tasks. A task that crashes, hangs, or takes too much memory ends as a failure of its candidate."""

    @property
    def free(self) -> int:
        """How many tasks can be begun now."""

    def place(self, stage: Stage) -> str | None:
        """A name for the device of a stage, where only one task of all drivers may be; None where there is no need to
        ask, because the stage measures on none or the pool sees to it."""

    def begin(self, task: Task) -> None:
        """Starts a task."""

    def finished(self, seconds: float) -> list[tuple[Task, Measurement]]:
        """The tasks that have ended since the last call; waits up to `seconds` for one."""

    def close(self) -> None:
        """Ends what is running."""
