"""How many steps a training has. With a budget of minutes they are planned once and then kept."""

import dataclasses
import math
import time
from collections.abc import Callable

from .errors import TrainError
from .job import TrainingJob

_WARM = 2
_MEASURED = 8
# Checkpoints, the optimizer and the evaluations in between take the rest.
_SHARE = 0.93


@dataclasses.dataclass(frozen=True)
class Plan:
    """`steps` of the optimizer; `seconds_per_step` where it was measured to plan them."""

    steps: int
    warmup_steps: int
    steps_per_epoch: int
    seconds_per_step: float | None = None


def plan_steps(job: TrainingJob, steps_per_epoch: int, rehearse: Callable[[], None]) -> Plan:
    """The plan of a job.

    Rule for minutes: forward and backward passes of the first batches are rehearsed on the untrained model (which
    they leave as it is); the median time of 8 of them, after 2 to warm up, fills 93 % of the minutes. The number is
    recorded with the job: a training that was killed goes on with it, and the learning rate reaches zero at
    its last step, whenever that is. `rehearse()` runs the next batch.
    """
    seconds = None
    if job.steps is not None:
        steps = job.steps
    elif job.epochs is not None:
        steps = max(1, math.ceil(job.epochs * steps_per_epoch))
    else:
        assert job.minutes is not None
        times = []
        for _ in range(_WARM + _MEASURED):
            began = time.perf_counter()
            rehearse()
            times.append(time.perf_counter() - began)
        seconds = sorted(times[_WARM:])[_MEASURED // 2]
        steps = int(_SHARE * job.minutes * 60 / seconds)
        if steps < 1:
            raise TrainError(
                f"one step takes {seconds:.1f} s here, so {job.minutes:g} minutes are too few: give more, or a smaller"
                " batch"
            )
    return Plan(steps, min(job.warmup_steps, steps // 10), steps_per_epoch, seconds)
