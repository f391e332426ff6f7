"""What a compilation is asked for, and what it is given."""

import dataclasses
from typing import TYPE_CHECKING

from secateur.compiler.pipeline.levels import Progress
from secateur.dialects.number_formats import ALL_F32, NumberPlan

if TYPE_CHECKING:
    from secateur.compiler.records.tuned import Tuned
    from secateur.runtime_targets.targets import Target


@dataclasses.dataclass(frozen=True)
class TargetOptions:
    """A target, how the model is lowered for it, and what tuning found for it."""

    target: "Target"
    lowering: str
    tuned: "Tuned | None" = None

    @property
    def file_name(self) -> str:
        """The target's name as a part of a path, in which a colon is not allowed everywhere."""
        return self.target.name.replace(":", "-")


@dataclasses.dataclass(frozen=True)
class Options:
    """What `compile_model` was asked for, the same for all targets."""

    threads: int
    verify: bool | str = True
    compile_to: str = "iree"
    schedule: dict[str, int] | None = None
    progress: Progress = lambda stage: None
    leave_out: tuple[str, ...] = ()
    numbers: NumberPlan = ALL_F32
