"""A search from its parts: a space, an evaluator, goals, a controller, and the folder that keeps the journal."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .controllers import make_controller
from .driver import Driver, Progress
from .errors import SearchError
from .halving import Budget
from .journal import Journal
from .measurement import Evaluator, Goal, Limit, Objective, Stage
from .proposals import Proposals
from .space import Candidate, Space
from .trials import Trials
from .workers.local import LocalPool
from .workers.pool import Pool

JOURNAL = "journal.jsonl"


def search(
    space: Space,
    evaluator: Evaluator,
    goals: Goal | Sequence[Goal],
    folder: Path | str,
    *,
    budget: Budget,
    controller: str = "genetic",
    seed: int = 0,
    workers: int = 1,
    at_once: int | None = None,
    first: Sequence[Candidate] = (),
    about: Mapping[str, Any] | None = None,
    memory_bytes: int | None = None,
    pool: Pool | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Trials:
    """Searches `space` for the best candidates of each of `goals`, and returns all that was tried.

    `folder` keeps the journal: the same call again goes on where a search ended, and several processes that make it at
    the same time share the work. Each goal has a controller of the kind `controller` (`CONTROLLERS`, or `module:Class`)
    with a `seed` of its own, and these propose in turns; all learn from all candidates. `first`: candidates to try
    before theirs. `about`: values that JSON has, by name, of all else that figures depend on, such as a digest of a
    model; a journal whose figures depend on others is refused. `workers` processes of this machine evaluate, each with
    `memory_bytes` of its own (0: any), or a `pool` does (`RayPool`). `at_once`: how many candidates may be under way in
    all drivers together (default: twice the workers and two more); what is proposed depends on it, but on nothing else
    of the machines. `progress` is told after each result.

    Raises `SearchError`: for a space without candidates, for a folder with the journal of another search.
    """
    goals = (goals,) if isinstance(goals, Goal) else tuple(goals)
    if not goals:
        raise SearchError("a search has at least one goal, found none")
    # A space whose rules refuse everything is told before anything is written.
    space.sample(np.random.default_rng(seed))
    for candidate in first:
        space.encode(candidate)
    journal = Journal(Path(folder) / JOURNAL)
    journal.refresh()
    lag = at_once or (journal.header or {}).get("at_once") or 2 * workers + 2
    journal.begin({**_header(space, evaluator, goals, controller, seed, lag, first), **(about or {})})
    controllers = [make_controller(controller, space, goal, seed + n) for n, goal in enumerate(goals)]
    proposals = Proposals(space, goals, controllers, seed, lag, first)
    trials = Trials(journal, evaluator.stages, goals)
    pool = pool or LocalPool(evaluator, workers, memory_bytes)
    Driver(journal, trials, proposals, pool, budget, progress).run()
    return trials


def _header(
    space: Space,
    evaluator: Evaluator,
    goals: Sequence[Goal],
    controller: str,
    seed: int,
    lag: int,
    first: Sequence[Candidate],
) -> dict[str, Any]:
    return {
        "space": space.name,
        "space_key": space.key,
        "dimensions": [[d.name, list(d.choices), d.phase] for d in space.dimensions],
        "goals": [dataclasses.asdict(goal) for goal in goals],
        "stages": [dataclasses.asdict(stage) for stage in evaluator.stages],
        "controller": controller,
        "seed": seed,
        "at_once": lag,
        "first": [dict(candidate) for candidate in first],
    }


def open_search(folder: Path | str) -> tuple[Journal, Trials]:
    """The journal in `folder` and its trials, for those who look on. Raises `SearchError` where there is none."""
    journal = Journal(Path(folder) / JOURNAL)
    journal.refresh()
    if journal.header is None:
        raise SearchError(f"there is no search in '{folder}': expected a file '{JOURNAL}'", usage=True)
    header = journal.header
    goals = [
        Goal(tuple(Objective(**o) for o in goal["objectives"]), tuple(Limit(**limit) for limit in goal["limits"]))
        for goal in header["goals"]
    ]
    stages = [
        Stage(**{**stage, "ranks": Objective(**stage["ranks"]) if stage["ranks"] else None})
        for stage in header["stages"]
    ]
    trials = Trials(journal, stages, goals)
    trials.refresh()
    return journal, trials
