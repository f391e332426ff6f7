"""How a candidate is trained."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Distillation from the dense model; the fields are those of `secateur.compression.train.TrainingJob`, where they
    are described. One of `epochs`, `steps` and `minutes`; minutes depend on what else the machine does."""

    epochs: float | None = None
    steps: int | None = None
    minutes: float | None = None
    batch: int = 32
    learning_rate: float = 3e-4
    warmup_steps: int = 150
    logits_weight: float = 0.9
    temperature: float = 2.0
    precision: str = "fp32"

    def settings(self) -> dict[str, Any]:
        """As arguments of a `TrainingJob`."""
        return dataclasses.asdict(self)
