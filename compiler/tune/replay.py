"""Searches replayed on a space whose every time is known: how many trials a sampler needs, without a machine.

The table of a layer is a JSON file that `benchmarks/tuner_efficiency.py` measures:
    {"machine": "...", "layer": {...}, "tools": {...}, "default": {...},
     "candidates": [{"schedule": {...}, "score": 0.93}, ...]}
"""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping
from typing import Any

from .proposals import Proposals, Schedule

# A search has found what there is when its best schedule is as fast as this part of the fastest.
GOOD_ENOUGH = 0.95


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """How a sampler did over several seeds. `trials_needed`: for each seed, trials until `GOOD_ENOUGH`; `reached`: for
    each seed, the fastest time over the best that was found in the given part of the space.
    """

    sampler: str
    candidates: int
    trials_needed: tuple[int, ...]
    reached: tuple[float, ...]

    @property
    def median_fraction(self) -> float:
        """Median of the trials needed as a part (0..1) of the space."""
        return statistics.median(self.trials_needed) / self.candidates


def history(
    table: Mapping[str, Any], sampler: str, seed: int, trials: int, until: float = float("inf"), jobs: int = 2
) -> list[float]:
    """The score of each trial of a search; infinity for a candidate that failed. `jobs` are asked for at once.

    Nothing is known at the start (a real search knows the default's time). The search ends after `trials`, but not
    before a score of `until` or less is found.
    """
    rows = table["candidates"]
    scores = {_key(row["schedule"]): row["score"] for row in rows}
    proposals = Proposals([dict(row["schedule"]) for row in rows], sampler, seed)
    found: list[float] = []
    while len(found) < len(scores) and (len(found) < trials or min(found) > until):
        batch = [s for _ in range(min(jobs, len(scores) - len(found))) if (s := proposals.ask()) is not None]
        for schedule in batch:
            score = scores[_key(schedule)]
            proposals.tell(schedule, score)
            found.append(float("inf") if score is None else score)
    return found


def efficiency(table: Mapping[str, Any], sampler: str, seeds: Iterable[int], fraction: float = 0.2) -> Efficiency:
    """Replays searches over all of the `table`. `fraction`: the part of the space for `Efficiency.reached`."""
    rows = table["candidates"]
    best = min(row["score"] for row in rows if row["score"] is not None)
    part = max(1, int(len(rows) * fraction))
    needed, reached = [], []
    for seed in seeds:
        scores = history(table, sampler, seed, part, best / GOOD_ENOUGH)
        needed.append(next(i for i, score in enumerate(scores, start=1) if best / score >= GOOD_ENOUGH))
        reached.append(best / min(scores[:part]))
    return Efficiency(sampler, len(rows), tuple(needed), tuple(reached))


def _key(schedule: Schedule) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(schedule.items()))
