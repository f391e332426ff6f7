"""What a compilation tells about itself."""

import dataclasses
from typing import Any

from secateur.compiler.verify.comparison import Difference
from secateur.compiler.verify.quantized_model import QuantizationReport
from secateur.dialects.number_formats import Tolerance


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """A linear layer: weight [rows, columns], the encoding found, fraction of weights that are zero (0..1)."""

    name: str
    rows: int
    columns: int
    encoding: str
    sparsity_fraction: float


@dataclasses.dataclass
class TargetReport:
    """Figures of one target.

    `statistics` pass -> name -> amount; `verification` every comparison with PyTorch, empty where there was none:
    `unverified_reason` then says why. `verified_on`: where the code ran, as the end of a sentence ("on this machine",
    "under emulation (qemu:cortex-a76)"). Where activations are rounded, `ops_compared` ops were also held to their own
    references, the worst of them off by `ops_error` (relative L2, or the part of bytes). `module_bytes` of code;
    `parameter_bytes` of all arrays that it reads, of which `own_parameter_bytes` are of no other target of the bundle.
    """

    name: str
    lowering: str = "kernels"
    statistics: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    verification: list[Difference] = dataclasses.field(default_factory=list)
    verified_on: str = ""
    ops_compared: int = 0
    ops_error: float = 0.0
    unverified_reason: str = ""
    module_bytes: int = 0
    parameter_bytes: int = 0
    own_parameter_bytes: int = 0

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "TargetReport":
        """The inverse of `dataclasses.asdict`. Raises `TypeError` or `KeyError` for something else."""
        found = [Difference(**{**d, "tolerance": Tolerance(**d["tolerance"])}) for d in value["verification"]]
        return cls(**{**value, "verification": found})


@dataclasses.dataclass
class Report:
    """Figures of one compilation.

    `level` reached; `layers` in program order; `seconds` stage -> wall time, summed over the targets (of the
    compilation that filled the cache where `cached`); `dense_bytes`: the model's arrays, dense, in the types that it
    computes with; `csr_bytes`: the same with every sparse layer in compressed sparse rows; `weights_bytes`: the
    arrays of all targets, those that several read counted once; `common_bytes`: those of them that all targets read.
    `notes`: what did not go as usual, a sentence each. `failed`: target -> why there is no code for it, of those that
    were asked for beside others; the bundle and `targets` do without them.
    """

    threads: int
    targets: list[TargetReport]
    level: str = "torch"
    layers: list[LayerReport] = dataclasses.field(default_factory=list)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    cached: bool = False
    model_hash: str = ""
    quantization: QuantizationReport | None = None
    dense_bytes: int = 0
    csr_bytes: int = 0
    weights_bytes: int = 0
    common_bytes: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The report as values that JSON has."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "Report":
        """The inverse of `to_dict`. Raises `TypeError` or `KeyError` for something else."""
        layers = [LayerReport(**layer) for layer in value["layers"]]
        targets = [TargetReport.from_dict(t) for t in value["targets"]]
        stored = value["quantization"] and QuantizationReport(**value["quantization"])
        return cls(**{**value, "layers": layers, "targets": targets, "quantization": stored})

    @property
    def target(self) -> str:
        """The names of the targets."""
        return ", ".join(target.name for target in self.targets)

    @property
    def statistics(self) -> dict[str, dict[str, float]]:
        """Those of the first target."""
        return self.targets[0].statistics

    @property
    def verification(self) -> list[Difference]:
        """Every comparison with PyTorch, of all targets."""
        return [difference for target in self.targets for difference in target.verification]

    @property
    def unverified_reason(self) -> str:
        """Why a target was not compared with PyTorch: that of the first that was not, empty where all were."""
        return next((t.unverified_reason for t in self.targets if t.unverified_reason), "")

    @property
    def sparsity_fraction(self) -> float:
        """Zeros over all weights of the layers."""
        total = sum(layer.rows * layer.columns for layer in self.layers)
        zeros = sum(layer.rows * layer.columns * layer.sparsity_fraction for layer in self.layers)
        return zeros / total if total else 0.0
