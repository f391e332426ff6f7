"""What tuning a model found, layer by layer and for the whole of it."""

import dataclasses
from typing import TYPE_CHECKING, Any

from secateur.compiler.records.objective import TIME

if TYPE_CHECKING:
    from .search import Found


@dataclasses.dataclass(frozen=True)
class LayerTuned:
    """One kind of layer: the name of the first and how many there are, trials on record and those of them that failed,
    costs of the default and of the best schedule (milliseconds, or counts), and that schedule. `reused`: from an
    earlier search.
    """

    name: str
    count: int
    rows: int
    columns: int
    trials: int
    failed: int
    default_cost: float
    best_cost: float
    schedule: dict[str, int]
    reused: bool

    @classmethod
    def of(cls, found: "Found") -> "LayerTuned":
        """From what a search found."""
        return cls(
            name=found.task.name,
            count=found.task.count,
            rows=found.task.layer.rows,
            columns=found.task.layer.columns,
            trials=found.trials,
            failed=found.failed,
            default_cost=found.default_cost,
            best_cost=found.best_cost,
            schedule={name: value for name, value in found.schedule.items() if value},
            reused=found.reused,
        )

    @property
    def speedup(self) -> float:
        """How many times faster the best schedule is than the default."""
        return self.default_cost / self.best_cost if self.best_cost else 1.0


@dataclasses.dataclass(frozen=True)
class VariantTuned:
    """A choice between named variants: `name` of the first site and how many are alike, what the compiler takes by
    itself and what was chosen, and the time of each variant as a fraction of the default's (None: it failed).
    """

    name: str
    count: int
    default: str
    chosen: str
    ratios: dict[str, float | None]
    reused: bool


@dataclasses.dataclass(frozen=True)
class TuneReport:
    """Figures of one tuning. `variants`: fusion sites and panels, in the order in which they were decided. `model_ms`:
    medians of the whole model, `default` and `tuned`, run in turns; empty where they were not compared. `objective`:
    what was made small ("time", "counts on qemu:cortex-a76"); costs of layers are of it, times in ms.
    """

    model: str
    records: str
    seconds: float
    layers: tuple[LayerTuned, ...]
    variants: tuple[VariantTuned, ...]
    model_ms: dict[str, float]
    objective: str = TIME.name

    def to_dict(self) -> dict[str, Any]:
        """The report as values that JSON has."""
        value = dataclasses.asdict(self)
        for layer, record in zip(self.layers, value["layers"], strict=True):
            record["speedup"] = layer.speedup
        return value
