"""Interleaved timing: candidates take turns, so that a slow moment of the machine hits all of them alike."""

import dataclasses
import gc
import statistics
import time
from collections.abc import Callable, Mapping


@dataclasses.dataclass(frozen=True)
class Latency:
    """Latency of one candidate over its runs. `min_ms`, `p25_ms`, `median_ms` in milliseconds."""

    runs: int
    min_ms: float
    p25_ms: float
    median_ms: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Latency":
        """From the seconds of each run (at least one)."""
        ordered = sorted(seconds)
        p25 = ordered[(len(ordered) - 1) // 4]
        return cls(len(ordered), ordered[0] * 1e3, p25 * 1e3, statistics.median(ordered) * 1e3)


def interleave(
    candidates: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 30,
    warmup: int = 2,
    budget_seconds: float = 120.0,
    reported: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Latency]:
    """Runs every candidate once per round and returns the latency of each.

    The order is turned by one place every round, so that no candidate always runs after the same neighbour (whose
    data fills the caches). Stops after `rounds` rounds or, from the third round on, when `budget_seconds` are spent.
    With `reported` a candidate returns the seconds that its run took (another process measured them). `progress` is
    called with (rounds done, rounds).
    """
    names = list(candidates)
    if not names:
        raise ValueError("there is nothing to time")
    for _ in range(warmup):
        for name in names:
            candidates[name]()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    collecting = gc.isenabled()
    gc.disable()
    try:
        begin = time.perf_counter()
        for done in range(rounds):
            if done >= 3 and time.perf_counter() - begin > budget_seconds:
                break
            turn = done % len(names)
            for name in names[turn:] + names[:turn]:
                start = time.perf_counter()
                answer = candidates[name]()
                passed = time.perf_counter() - start
                seconds[name].append(float(answer) if reported else passed)  # type: ignore[arg-type]
            if progress is not None:
                progress(done + 1, rounds)
    finally:
        if collecting:
            gc.enable()
    return {name: Latency.of(values) for name, values in seconds.items()}


def ratio(slower: Latency, faster: Latency) -> float:
    """How many times faster the second is, by medians of one interleaved run."""
    return slower.median_ms / faster.median_ms
