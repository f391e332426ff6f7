"""Drives a search: proposes candidates, has their stages evaluated, and writes what came of them into the journal.

All that a driver knows stands in the journal, and what it does next follows from that. So several drivers can work on
one journal, each claiming what it evaluates, and one that is killed is replaced by giving the command again.
"""

import dataclasses
import time
from collections.abc import Callable

from .halving import Budget, Halving
from .journal import HEARTBEAT, LEASE, Journal, Line, driver_name
from .measurement import Measurement, Stage
from .proposals import Proposals
from .trials import Trials
from .workers.pool import Pool, Task

# How long a driver waits for a result before it looks at what other drivers wrote.
_LOOK = 1.0


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a search is: what the driver knows, what runs now, and whether candidates are still proposed."""

    trials: Trials
    running: int
    seconds: float
    exploring: bool


class Driver:
    """One driver of a search; `run` ends when the budget is spent.

    `proposals` are those that belong to the journal's header; `progress` is told after every result.
    """

    def __init__(
        self,
        journal: Journal,
        trials: Trials,
        proposals: Proposals,
        pool: Pool,
        budget: Budget,
        progress: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._journal, self._trials, self._proposals, self._pool = journal, trials, proposals, pool
        self._budget, self._progress = budget, progress
        self._halving = Halving(trials, journal, budget)
        self._name = driver_name()
        self._told: set[int] = set()
        self._open: set[int] = set()
        """Candidates whose outcome is not decided."""
        self._running: dict[tuple[int, str], Task] = {}
        self._said = -HEARTBEAT

    def run(self) -> None:
        """Searches. An interrupt leaves claims of this driver void."""
        # Controllers may need minutes for proposals that were made before; nobody is to wait for them.
        self._journal.refresh()
        self._learn()
        try:
            while self._turn():
                pass
        finally:
            self._pool.close()
            with self._journal.locked():
                self._journal.append([{"kind": "alive", "driver": self._name, "holds": 0.0}])

    def _turn(self) -> bool:
        """Begins what can begin and waits for a result; False when the search has ended."""
        with self._journal.locked():
            self._learn()
            tasks, lines = self._claim()
            if time.monotonic() - self._said > HEARTBEAT:
                lines.append({"kind": "alive", "driver": self._name, "holds": LEASE})
                self._said = time.monotonic()
            if lines:
                self._journal.append(lines)
        for task in tasks:
            self._pool.begin(task)
            self._running[task.number, task.stage.name] = task
        if not self._running and not self._journal.claims() and not tasks and self._is_over():
            return False
        if not self._running:
            # Others evaluate what this driver waits for.
            time.sleep(_LOOK / 10)
            return True
        for task, found in self._pool.finished(_LOOK):
            self._record(task, found)
            self._show()
        return True

    def _record(self, task: Task, found: Measurement) -> None:
        self._running.pop((task.number, task.stage.name), None)
        line = {"kind": "result", "number": task.number, "stage": task.stage.name, "figures": dict(found.figures)}
        line |= {"failure": found.failure} if found.failure else {}
        line |= {"seconds": round(found.seconds, 3), "driver": self._name}
        with self._journal.locked():
            self._journal.append([line])
            self._learn()

    def _learn(self) -> None:
        """Takes in what stands in the journal, also what other drivers wrote."""
        self._trials.refresh()
        candidates = self._journal.candidates
        while len(self._proposals.candidates) < len(candidates):
            number = len(self._proposals.candidates)
            self._tell_decided()
            # The controllers make the proposal again; what stands in the journal counts, should it differ.
            self._proposals.replay(candidates[number])
            self._open.add(number)
        self._tell_decided()

    def _tell_decided(self) -> None:
        for number in sorted(self._open):
            trial = self._trials[number]
            if trial.decided:
                # What later stages find, or that they fail, is not told: a search that goes on would propose otherwise.
                self._proposals.tell(number, trial.decision)
                self._open.discard(number)

    def _claim(self) -> tuple[list[Task], list[Line]]:
        """The tasks to begin, and the lines that claim them; within the lock."""
        tasks: list[Task] = []
        lines: list[Line] = []
        claims = self._journal.claims()
        taken = set(claims)
        busy = {claim.place for claim in claims.values() if claim.place}
        free = self._pool.free

        def take(number: int, stage: Stage) -> bool:
            place = self._pool.place(stage)
            if place in busy:
                return False
            busy.update({place} if place else ())
            taken.add((number, stage.name))
            tasks.append(Task(number, self._journal.candidates[number], stage))
            line = {"kind": "claim", "number": number, "stage": stage.name, "driver": self._name}
            lines.append({**line, "holds": LEASE, "place": place})
            return True

        def propose() -> int | None:
            candidate = self._proposals.next() if self._halving.exploring else None
            if candidate is None:
                return None
            number = len(self._proposals.candidates) - 1
            self._journal.candidates[number] = candidate
            self._open.add(number)
            lines.append({"kind": "candidate", "number": number, "candidate": candidate})
            return number

        waiting = 0
        for number in sorted(self._open):
            stage = self._trials.next_stage(number)
            if stage is not None and (number, stage.name) not in taken:
                began = len(tasks) < free and take(number, stage)
                waiting += not began
        while len(tasks) < free and (new := propose()) is not None:
            stage = self._trials.next_stage(new)
            waiting += stage is None or not take(new, stage)
            if waiting:
                break
        if not tasks and not waiting:
            # All are busy: what comes next is thought of now, for a controller may need a while.
            propose()
        while len(tasks) < free and not self._open and not self._explores():
            late = self._halving.late(taken)
            if late is None or not take(late[0].number, late[1]):
                break
        return tasks, lines

    def _explores(self) -> bool:
        return self._halving.exploring and not self._proposals.exhausted

    def _is_over(self) -> bool:
        return not self._open and not self._explores() and self._halving.late(set(self._journal.claims())) is None

    def _show(self) -> None:
        self._progress(Progress(self._trials, len(self._running), self._journal.seconds, self._explores()))
