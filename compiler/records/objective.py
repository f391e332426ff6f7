"""What a search makes small: the time of a candidate, or what it executes on an emulated CPU.

Figures of one objective are compared with each other and with no others: a record names its objective, unless that is
the time.
"""

import dataclasses
from typing import Any, Literal, get_args

from .errors import TuneError

ObjectiveKind = Literal["time", "counts", "cycles"]
OBJECTIVES: tuple[str, ...] = get_args(ObjectiveKind)


@dataclasses.dataclass(frozen=True)
class Objective:
    """`time`: median milliseconds on this machine. On the emulated CPU `device` (`qemu:MODEL`), both of one inference's
    kernels and the same in every run:

        counts = instructions + loads    (a load takes a place among the instructions and one of the ports to memory)
        cycles = the sum over blocks of code of runs * cycles of one run in the steady state, by llvm-mca
    """

    kind: ObjectiveKind = "time"
    device: str = ""

    def __post_init__(self) -> None:
        if self.kind not in OBJECTIVES:
            raise TuneError(f"unknown objective '{self.kind}'; accepted: {', '.join(OBJECTIVES)}", usage=True)
        if (self.kind == "time") == bool(self.device):
            raise TuneError("schedules are timed on this machine, and counted on a device such as qemu:cortex-a76")

    @property
    def name(self) -> str:
        """As records have it: "time", "counts on qemu:cortex-a76"."""
        return f"{self.kind} on {self.device}" if self.device else self.kind

    def in_record(self) -> dict[str, str]:
        """The field of records that names it; none for the time."""
        return {"objective": self.name} if self.device else {}

    @property
    def unit(self) -> str:
        """Of its figures."""
        return "ms" if self.kind == "time" else self.kind


TIME = Objective()


def objective_of(record: dict[str, Any]) -> str:
    """The name of the objective of a record."""
    return str(record.get("objective", TIME.name))
