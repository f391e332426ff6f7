"""What a compilation tells about itself."""

import dataclasses
from typing import Any

from .verify import Difference, Tolerance


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """A linear layer: weight [rows, columns], the encoding found, fraction of weights that are zero (0..1)."""

    name: str
    rows: int
    columns: int
    encoding: str
    sparsity_fraction: float


@dataclasses.dataclass
class Report:
    """Figures of one compilation.

    `level` reached; `layers` in program order; `statistics` pass -> name -> amount; `seconds` stage -> wall time
    (of the compilation that filled the cache where `cached`); `verification` every comparison with PyTorch, empty
    where there was none; `unverified_reason` then says why.
    """

    target: str
    threads: int
    level: str = "torch"
    lowering: str = "kernels"
    layers: list[LayerReport] = dataclasses.field(default_factory=list)
    statistics: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    verification: list[Difference] = dataclasses.field(default_factory=list)
    unverified_reason: str = ""
    cached: bool = False
    model_hash: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The report as values that JSON has."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Report":
        """The inverse of `to_dict`. Raises `TypeError` or `KeyError` for something else."""
        value = dict(value)
        value["layers"] = [LayerReport(**layer) for layer in value["layers"]]
        value["verification"] = [
            Difference(**{**d, "tolerance": Tolerance(**d["tolerance"])}) for d in value["verification"]
        ]
        return cls(**value)

    @property
    def sparsity_fraction(self) -> float:
        """Zeros over all weights of the layers."""
        total = sum(layer.rows * layer.columns for layer in self.layers)
        zeros = sum(layer.rows * layer.columns * layer.sparsity_fraction for layer in self.layers)
        return zeros / total if total else 0.0
