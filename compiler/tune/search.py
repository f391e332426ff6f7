"""The search for one layer's schedule: propose, compile in parallel, check and time one at a time, record."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from secateur.compiler.records.errors import TuneError
from secateur.compiler.records.objective import TIME, Objective, objective_of
from secateur.compiler.records.records import Record, RecordsFile, new_record, timing_lock
from secateur.passes.scheduled.schedule_space import Schedule, schedule_space, whole_schedule

from .candidate import Compiled
from .errors import CandidateError
from .options import TuneOptions
from .proposals import Proposals
from .task import Task
from .workers import Worker, next_finished

COMPILE = "secateur.compiler.tune.candidate:compile_candidate"


def measuring(objective: Objective, threads: int) -> tuple[str, Any]:
    """The function that a worker calls to measure a candidate, and its second argument: how to run it."""
    if objective.kind == "time":
        return "secateur.compiler.tune.candidate:measure", threads
    return "secateur.compiler.tune.counted:measure", objective


# The last comparison: the best few against the default, long enough to tell a percent.
FINALISTS = 3
_FINAL_STAGES = ((150, 0.0),)
# Less than this is noise, and then the default stays.
_WORTH_IT = 0.99


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where candidates are made for and run: the target's name, threads that they run on, and what is made small."""

    target: str
    threads: int
    objective: Objective = TIME


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found: the schedule, both costs (milliseconds, or the objective's counts), and the number of
    trials on record and of those that failed. `reused`: it was found before, and nothing was searched.
    """

    task: Task
    schedule: Schedule
    default_cost: float
    best_cost: float
    trials: int
    failed: int
    reused: bool = False


class Crew:
    """The worker processes of a tuner: `jobs` that compile, and one that measures."""

    def __init__(self, options: TuneOptions) -> None:
        self.compilers = [Worker(options.memory_bytes) for _ in range(options.jobs)]
        self.measurer = Worker(options.memory_bytes)

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in (*self.compilers, self.measurer):
            worker.stop()


class Search:
    """The search for the schedule of `task`, whose folder is `folder`. `compile` and `measure` name the functions that
    workers call, as `module:function`.
    """

    def __init__(
        self,
        task: Task,
        folder: Path,
        machine: Machine,
        records: RecordsFile,
        crew: Crew,
        options: TuneOptions,
        *,
        compile: str = COMPILE,
        measure: str | None = None,
    ) -> None:
        self._task, self._folder, self._machine = task, folder, machine
        self._records, self._crew, self._options = records, crew, options
        self._compile_function = compile
        function, self._runner = measuring(machine.objective, machine.threads)
        self._measure_function = measure or function
        self._space = schedule_space(task.layer)
        self._proposals = Proposals(self._space, options.sampler, options.seed) if self._space else None
        self._scores: dict[str, float] = {}
        """Times by digest of what was timed, as fractions of the default's."""
        self._tried: dict[tuple[tuple[str, int], ...], Record] = {}
        self._default: Compiled | None = None
        self._incumbent: tuple[float, Compiled] | None = None

    def run(self, deadline: float, progress: Callable[[str], None] = lambda stage: None) -> Found:
        """Searches until the trials are made, `deadline` (of `time.monotonic`) has passed or nothing is left to try.

        Raises `TuneError` where the default itself does not compile or run.
        """
        objective = self._machine.objective.name
        known = [r for r in self._records.usable() if r["key"] == self._task.key and objective_of(r) == objective]
        chosen = [r for r in known if r["kind"] == "chosen"]
        if chosen and not self._options.again and not self._options.resume:
            return self._found(chosen[-1], reused=True)
        if self._options.resume:
            self._learn(known)
            done = chosen and chosen[-1]["trials"] >= min(len(self._tried), self._options.trials)
            if done and len(self._tried) >= min(self._options.trials, len(self._space)):
                return self._found(chosen[-1], reused=True)
        self._begin()
        while time.monotonic() < deadline and len(self._tried) < self._options.trials and self._proposals:
            left = self._options.trials - len(self._tried)
            batch = [s for _ in range(min(left, len(self._crew.compilers))) if (s := self._proposals.ask()) is not None]
            if not batch:
                break
            for schedule, outcome in self._compiled(batch):
                self._try(schedule, outcome)
            progress(f"{self._task.name}, trial {len(self._tried)}, best {1 / self._best():.2f}x")
        return self._finish()

    def _best(self) -> float:
        return min((r["score"] for r in self._tried.values() if r["status"] == "ok"), default=1.0)

    def _learn(self, known: Sequence[Record]) -> None:
        """Takes over the trials of an earlier search."""
        for record in known:
            if record["kind"] == "trial" and self._proposals is not None:
                self._note(record)

    def _note(self, record: Record) -> None:
        self._tried[tuple(sorted(record["schedule"].items()))] = record
        score = record["score"] if record["status"] == "ok" else None
        if score is not None and "digest" in record:
            self._scores[record["digest"]] = score
        assert self._proposals is not None
        self._proposals.tell(record["schedule"], score)

    def _begin(self) -> None:
        """Compiles the default, which all times are fractions of."""
        ((_, outcome),) = self._compiled([self._task.default])
        if isinstance(outcome, CandidateError):
            raise TuneError(f"the layer '{self._task.name}' cannot be tuned, its default schedule fails: {outcome}")
        self._default = outcome
        self._scores[outcome.digest] = 1.0
        self._incumbent = (1.0, outcome)
        if self._proposals is not None:
            # A sampler starts from what the compiler does by itself; that costs no trial.
            self._proposals.tell(whole_schedule(self._task.default, self._task.layer), 1.0)

    def _compiled(self, batch: Sequence[Schedule]) -> list[tuple[Schedule, Compiled | CandidateError]]:
        """Compiles candidates at once; a failure takes the place of what failed."""
        busy: dict[Worker, Schedule] = {}
        made: list[tuple[Schedule, Compiled | CandidateError]] = []
        for worker, schedule in zip(self._crew.compilers, batch, strict=False):
            arguments = (str(self._folder), schedule, self._task.layer.panel, self._machine.target)
            seconds = self._options.candidate_seconds
            worker.submit(self._compile_function, *arguments, self._machine.threads, seconds=seconds)
            busy[worker] = schedule
        while busy:
            worker = next_finished(list(busy))
            schedule = busy.pop(worker)
            try:
                made.append((schedule, worker.result()))
            except CandidateError as error:
                made.append((schedule, error))
        # In the order of proposal, whichever was compiled first: a seed gives one search.
        return sorted(made, key=lambda pair: batch.index(pair[0]))

    def _measured(self, candidate: Compiled, against: Compiled, *stages: Any) -> dict[str, Any]:
        arguments = (str(self._folder), self._runner, candidate, against, *stages)
        with timing_lock(self._records.path.parent):
            return self._crew.measurer.call(self._measure_function, *arguments, seconds=self._options.candidate_seconds)

    def _try(self, schedule: Schedule, outcome: Compiled | CandidateError) -> None:
        """Checks and times a candidate, and records what came of it."""
        assert self._incumbent is not None
        values: dict[str, Any] = {"schedule": schedule, "sampler": self._options.sampler, "seed": self._options.seed}
        try:
            if isinstance(outcome, CandidateError):
                raise outcome
            values["digest"] = outcome.digest
            if outcome.digest in self._scores:
                values |= {"status": "ok", "score": self._scores[outcome.digest], "same_code": True}
            else:
                timed = self._measured(outcome, self._incumbent[1])
                score = self._incumbent[0] * timed["ratio"]
                values |= {"status": "ok", "score": score, "ms": timed["ms"], "runs": timed["runs"]}
                values |= {"early_stop": not timed["whole"]}
                if timed["whole"] and timed["ratio"] < 1:
                    self._incumbent = (score, outcome)
        except CandidateError as error:
            values |= {"status": error.kind, "message": str(error)[:500]}
        record = self._record("trial", **values)
        self._records.add([record])
        self._note(record)

    def _finish(self) -> Found:
        """Compares the best few with the default once more, and records the winner."""
        assert self._default is not None
        good = [r for r in self._tried.values() if r["status"] == "ok" and r["score"] < 1]
        winner: tuple[float, Schedule] = (_WORTH_IT, self._task.default)
        default_ms = best_ms = 0.0
        finalists = [r["schedule"] for r in sorted(good, key=lambda r: r["score"])[:FINALISTS]]
        for schedule in [*finalists, self._task.default]:
            ((_, outcome),) = self._compiled([schedule])
            if isinstance(outcome, CandidateError):
                continue
            try:
                timed = self._measured(outcome, self._default, _FINAL_STAGES)
            except CandidateError:
                continue
            if timed["ratio"] < winner[0] and schedule != self._task.default:
                winner = (timed["ratio"], schedule)
                default_ms, best_ms = timed["incumbent_ms"], timed["ms"]
            elif schedule == self._task.default and winner[1] == self._task.default:
                default_ms = best_ms = timed["incumbent_ms"]
        failed = sum(r["status"] != "ok" for r in self._tried.values())
        record = self._record(
            "chosen",
            schedule=winner[1],
            default_ms=default_ms,
            ms=best_ms,
            trials=len(self._tried),
            failed=failed,
            layer=self._task.name,
        )
        # What was not searched is not said to have been.
        self._records.add([record] if self._tried else [])
        return self._found(record)

    def _record(self, kind: str, **values: Any) -> Record:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        target = self._task.target
        values |= self._machine.objective.in_record()
        return new_record(kind, self._records.machine, self._task.signature, target, time=when, **values)

    def _found(self, record: Record, reused: bool = False) -> Found:
        return Found(
            self._task,
            record["schedule"],
            record["default_ms"],
            record["ms"],
            record["trials"],
            record["failed"],
            reused,
        )
