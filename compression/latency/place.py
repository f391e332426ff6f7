"""Where latencies are measured: on this machine, or as cycles on an emulated CPU."""

import dataclasses
from typing import TYPE_CHECKING

from secateur.compiler.records.objective import Objective, ObjectiveKind
from secateur.compiler.tune.tuner import check_runs_here
from secateur.dialects.number_formats import F32, NumberFormat

if TYPE_CHECKING:
    from secateur.runtime_targets.targets import Target

from .errors import LatencyError

_EMULATED = "qemu:"


@dataclasses.dataclass(frozen=True)
class Place:
    """`name` as the user wrote it, the `target` that code is made for, what is measured of it, and the format that
    layers are stored and multiplied in."""

    name: str
    target: "Target"
    objective: Objective
    threads: int
    numbers: NumberFormat = F32

    @property
    def unit(self) -> str:
        """Of its figures: `ms`, `cycles` or `counts`."""
        return self.objective.unit


def place_of(name: str, threads: int = 1, counted: ObjectiveKind = "cycles", numbers: NumberFormat = F32) -> Place:
    """`host-cpu` and other targets of this machine are timed; on `qemu:MODEL` code for that Arm core is `counted`.

    Raises `LatencyError` for more than one emulated thread, `TuneError` for a target whose code this machine does not
    run, `TargetError` for an unknown one.
    """
    from secateur.runtime_targets.targets import get_target

    if not name.startswith(_EMULATED):
        target, objective = get_target(name, workers=threads), Objective()
    else:
        if threads != 1:
            raise LatencyError(f"what runs on '{name}' is counted on one thread, found {threads}", usage=True)
        target = get_target(f"android-arm64:{name.removeprefix(_EMULATED)}", workers=threads)
        objective = Objective(counted, name)
    check_runs_here(target, objective)
    if not numbers.arithmetic.runs_with(target.cpu_features):
        raise LatencyError(
            f"the target '{target.name}' has no arithmetic in {numbers.arithmetic.name} that is used", usage=True
        )
    return Place(name, target, objective, threads, numbers)
