"""The levels of IR and how a module gets from one to the next."""

import dataclasses
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext

from .errors import CompileError

if TYPE_CHECKING:
    from torch_mlir import ir

LEVELS = ("torch", "structural", "scheduled", "kernels", "iree")
LOWERINGS = ("kernels", "portable")


def pipeline_to(level: str, lowering: str = "kernels", schedule: Mapping[str, int] | None = None) -> str:
    """The pipeline that takes a module of the level before to `level`.

    `schedule`: options of `sparsity-schedule`, for example `{"row_tile": 6}`.
    """
    from .pipelines import NAMED

    if level == "structural":
        return "torch-to-structural,sparsity-detect"
    if level == "scheduled":
        scheduled = NAMED[{"kernels": "scheduled", "portable": "scheduled-token-major"}[lowering]]
        if schedule:
            options = " ".join(f"{name.replace('_', '-')}={value}" for name, value in sorted(schedule.items()))
            scheduled = scheduled.replace("sparsity-schedule", f"sparsity-schedule{{{options}}}")
        return f"sparsity-fuse,{scheduled}"
    if level == "kernels":
        return {"kernels": "scheduled-to-kernels", "portable": "scheduled-to-linalg"}[lowering]
    raise ValueError(f"no pipeline leads to '{level}'")


@dataclasses.dataclass
class Lowering:
    """A module on its way down. `level` is where it is; `seconds` what each step took, by level reached."""

    module: "ir.Module"
    weights: WeightStore
    level: str = "torch"
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    statistics: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)

    def lower(self, level: str, pipeline: str) -> None:
        """Runs `pipeline`; the module is then at `level`. Raises `CompileError` with what the pass reported."""
        from .passmanager import PipelineError, run_pipeline

        began = time.perf_counter()
        try:
            result = run_pipeline(self.module, pipeline, PassContext(self.weights))
        except PipelineError as error:
            raise CompileError(f"the model cannot be lowered to level '{level}': {error}") from error
        for record in result.passes:
            if record.statistics:
                known = self.statistics.setdefault(record.name, {})
                for name, amount in record.statistics.items():
                    known[name] = known.get(name, 0) + amount
        self.level = level
        self.seconds[level] = time.perf_counter() - began


class Dump:
    """Writes the IR of every level into a folder: `01-torch.mlir` and so on, and the weights into `weights/`.

    Each file is complete or absent. IR is written as a level is reached, so a pass that fails leaves its input.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for level in LEVELS:
            self._file(level).unlink(missing_ok=True)

    def _file(self, level: str) -> Path:
        return self._folder / f"{LEVELS.index(level) + 1:02}-{level}.mlir"

    def write(self, level: str, text: str) -> None:
        """Writes the text of one level."""
        write_whole(self._file(level), text.encode())

    def write_weights(self, weights: WeightStore) -> None:
        """Writes the weights that the texts name; `sparsity-opt --weights DIR/weights` reads them."""
        weights.save(self._folder / "weights")


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name and renames it, so that it is complete or absent."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


Progress = Callable[[str], None]
