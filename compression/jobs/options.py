"""What `secateur prune` can be asked for."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Methods that prune once, before any training, and those that are a training.
AT_ONCE = ("one-shot", "second-order")
IN_TRAINING = ("admm", "reweighted", "gradual", "fixed")


@dataclasses.dataclass(frozen=True)
class Pruning:
    """The options of `secateur prune` that say what is pruned, and to what.

    `weights` is the storage that second-order pruning rounds to; with `only_rounds` that is all it does. No training
    has either. `arithmetic` is that of the layers that `target` times.
    """

    model: str
    out: Path
    method: str
    scheme: str
    block: str | None
    sparsity: float | None
    include: Sequence[str] | None
    skip: Sequence[str] | None
    rates: str
    target: str | None
    budget_ms: float | None
    blocks: Sequence[str] | None
    clock_ghz: float | None
    arithmetic: str
    data: str | None
    samples: int
    weights: str
    only_rounds: bool
    overlay: Path | None
    seed: int

    def description(self) -> dict[str, Any]:
        """The options of a training as JSON values, without where things lie."""
        values = dataclasses.asdict(self)
        for name in ("out", "overlay", "weights", "only_rounds"):
            del values[name]
        return {**values, "model": Path(self.model).resolve().name}
