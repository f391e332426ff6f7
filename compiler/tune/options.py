"""What a tuner is asked for."""

import dataclasses
import os
from typing import Any, Literal, get_args

from secateur.compiler.records.errors import TuneError
from secateur.compiler.records.objective import TIME, Objective
from secateur.dialects.number_formats import F32, NumberFormat

SamplerName = Literal["ga", "tpe", "random"]
SAMPLERS: tuple[str, ...] = get_args(SamplerName)


def jobs_here() -> int:
    """The CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_here() -> int:
    """Bytes of address space for a candidate: half of the machine's memory, but enough for the libraries it loads."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(6 << 30, min(16 << 30, physical // 2))


@dataclasses.dataclass(frozen=True)
class TuneOptions:
    """How to search. `trials` per layer; `budget_seconds` for all of them, None without a limit; `jobs` candidates that
    are compiled at once; `resume`: the trials of an earlier search count and are not made again; `again`: also layers
    that were tuned are searched anew; `candidate_seconds` and `memory_bytes` that one candidate may take; `objective`:
    what is made small; `numbers`: the format of all layers.
    """

    sampler: SamplerName = "ga"
    trials: int = 64
    budget_seconds: float | None = None
    seed: int = 0
    jobs: int = dataclasses.field(default_factory=jobs_here)
    resume: bool = False
    again: bool = False
    candidate_seconds: float = 60.0
    memory_bytes: int = dataclasses.field(default_factory=memory_here)
    objective: Objective = TIME
    numbers: NumberFormat = F32

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise TuneError(f"unknown sampler '{self.sampler}'; accepted: {', '.join(SAMPLERS)}", usage=True)
        for name in ("trials", "jobs"):
            if getattr(self, name) < 1:
                raise TuneError(f"expected '{name}' of 1 or more, found {getattr(self, name)}")
        if self.seed < 0:
            raise TuneError(f"expected 'seed' of 0 or more, found {self.seed}")


# For `compile --tune`: most of what there is to find, while one waits.
COMPILE_OPTIONS = TuneOptions(trials=32, budget_seconds=300.0, resume=True)


def compile_options(trials: int | None = None, budget_seconds: float | None = None) -> TuneOptions:
    """The options of `compile --tune`; None for what it does by itself."""
    changes: dict[str, Any] = {} if trials is None else {"trials": trials}
    if budget_seconds is not None:
        changes["budget_seconds"] = budget_seconds
    return dataclasses.replace(COMPILE_OPTIONS, **changes)
