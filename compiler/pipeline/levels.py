"""The levels of IR and how a module gets from one to the next."""

import dataclasses
import io
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.compiler.errors import CompileError
from secateur.dialects.output_places import write_whole
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext

if TYPE_CHECKING:
    from torch_mlir import ir

LEVELS = ("torch", "structural", "scheduled", "kernels", "iree")
_SCHEDULED = {"kernels": "scheduled", "gpu": "scheduled-gpu", "portable": "scheduled-token-major"}
_LOWERED = {
    "kernels": "scheduled-to-kernels",
    "gpu": "scheduled-to-gpu-kernels",
    "portable": "scheduled-to-linalg",
}
LOWERINGS = ("kernels", "gpu", "portable")


def pipeline_to(
    level: str,
    lowering: str = "kernels",
    schedule: Mapping[str, int] | None = None,
    options: Mapping[str, Mapping[str, object]] | None = None,
    leave_out: Collection[str] = (),
) -> str:
    """The pipeline that takes a module of the level before to `level`.

    `schedule`: options of `sparsity-schedule`, for example `{"row_tile": 6}`; `options`: pass -> option -> value, for
    passes on the way to `scheduled`. `leave_out`: passes on that way that are not run, all of them optimisations.
    """
    from .pipelines import NAMED

    if level == "structural":
        return "torch-to-structural,sparsity-detect"
    if level == "scheduled":
        scheduled = NAMED[_SCHEDULED[lowering]]
        given = {name: dict(values) for name, values in (options or {}).items()}
        given["sparsity-schedule"] = {**given.get("sparsity-schedule", {}), **(schedule or {})}
        names = [name for name in ("sparsity-fuse", *scheduled.split(",")) if name not in leave_out]
        return ",".join(with_options(name, given.get(name)) for name in names)
    if level == "kernels":
        return _LOWERED[lowering]
    raise ValueError(f"no pipeline leads to '{level}'")


def with_options(name: str, options: Mapping[str, object] | None) -> str:
    """The text of a pass with options, for a pipeline."""

    def text(value: object) -> str:
        return f'"{value}"' if isinstance(value, str) else str(value)

    given = " ".join(f"{key.replace('_', '-')}={text(value)}" for key, value in sorted((options or {}).items()))
    return f"{name}{{{given}}}" if given else name


@dataclasses.dataclass
class Lowering:
    """A module on its way down. `level` is where it is; `seconds` what each step took, by level reached."""

    module: "ir.Module"
    weights: WeightStore
    level: str = "torch"
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    statistics: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_copy(cls, module: "ir.Module", weights: WeightStore, level: str = "torch") -> "Lowering":
        """Of a copy of `module`, locations included, with a weight store of its own; both originals stay as they are.

        The arrays are shared: passes make new ones and change none.
        """
        from torch_mlir import ir

        # Bytecode keeps the locations, from which a profile tells the PyTorch module of an op.
        encoded = io.BytesIO()
        module.operation.write_bytecode(encoded)
        store = WeightStore()
        store.update(weights)
        return cls(ir.Module.parse(encoded.getvalue(), module.context), store, level)

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
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for level in LEVELS:
            self._file(level).unlink(missing_ok=True)

    def _file(self, level: str) -> Path:
        return self.folder / f"{LEVELS.index(level) + 1:02}-{level}.mlir"

    def write(self, level: str, text: str) -> None:
        """Writes the text of one level."""
        write_whole(self._file(level), text.encode())

    def write_weights(self, weights: WeightStore) -> None:
        """Writes the weights that the texts name; `sparsity-opt --weights DIR/weights` reads them."""
        weights.save(self.folder / "weights")


Progress = Callable[[str], None]
