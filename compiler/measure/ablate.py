"""What each optimisation of sparse layers is worth: one model compiled in stages, each with one pass more.

The stages are those of GRIM's evaluation: the sparse baseline, then block-column-row reordering, load elimination,
tiling and tuning, each on top of the one before. A stage is the named pipeline with passes left out. Every stage is
compared with PyTorch before it is timed, and all of them are timed in turns.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from secateur.compiler.build.compilation import compile_imported
from secateur.compiler.build.compile_options import Options, TargetOptions
from secateur.compiler.build.compiled_model import CompiledModel

from .baselines import torch_eager
from .timing import Latency, interleave

if TYPE_CHECKING:
    import torch

    from secateur.frontends import Loaded
    from secateur.runtime_targets.targets import Target

_REORDER, _ELIMINATE, _TILE = "sparsity-reorder", "sparsity-eliminate-loads", "sparsity-tile"
# Without `sparsity-tile` nothing fits blocks of tokens to the registers and cuts workgroups: one vector, one workgroup.
_UNTILED = {"token_vectors": 1, "workgroups": 1}
PYTORCH = "PyTorch, dense"


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stage: its name, what it adds to the one before, and the passes that it still leaves out."""

    name: str
    adds: str
    leave_out: tuple[str, ...] = ()
    tuned: bool = False

    @property
    def schedule(self) -> dict[str, int] | None:
        """Options of `sparsity-schedule`."""
        return _UNTILED if _TILE in self.leave_out else None


STAGES = (
    Stage("none", "rows in order, one loop and one column list per row", (_REORDER, _ELIMINATE, _TILE)),
    Stage("+ reorder", "rows with the same columns are neighbours", (_ELIMINATE, _TILE)),
    Stage("+ load elimination", "rows of a tile share loads of x", (_TILE,)),
    Stage("+ tiling", "blocks of tokens in registers, workgroups of equal work"),
    Stage("+ tuning", "schedules measured by `secateur tune`", tuned=True),
)


@dataclasses.dataclass(frozen=True)
class Ablated:
    """Figures of one stage, over all linear layers of the model unless said otherwise.

    `kept_weights`: weights that are not zero. `padding_values`: zeros and repeats that are packed with them. `loads`:
    vectors of x that are loaded per vector of tokens, in layers whose lanes are tokens, and `weights_per_load` the
    packed weights that one of them serves on average. `index_bytes`: column lists, their bounds and row numbers.
    `flops`, `padding_flops`: of the whole model, those that the result needs and those on padding. `latency` of the
    whole model is None where the stage did not run; `note` then says why.
    """

    stage: str
    adds: str
    kept_weights: int = 0
    padding_values: int = 0
    loads: int = 0
    weights_per_load: float = 0.0
    index_bytes: int = 0
    flops: int = 0
    padding_flops: int = 0
    latency: Latency | None = None
    note: str = ""

    @property
    def padding_fraction(self) -> float:
        """Padding over kept weights, from 0 up."""
        return self.padding_values / max(self.kept_weights, 1)


@dataclasses.dataclass(frozen=True)
class Ablation:
    """The stages in order, and dense PyTorch timed with them. `threads` of every candidate; `runs` of each."""

    stages: tuple[Ablated, ...]
    pytorch: Latency
    threads: int

    @property
    def runs(self) -> int:
        """Interleaved runs of every candidate."""
        return self.pytorch.runs

    def speedups(self) -> list[tuple[float, float, float] | None]:
        """Per stage: times faster than the stage before, than the first, than dense PyTorch; by medians. None where
        the stage did not run.
        """
        found: list[tuple[float, float, float] | None] = []
        times = [stage.latency.median_ms if stage.latency else None for stage in self.stages]
        ran = [ms for ms in times if ms is not None]
        before = first = ran[0] if ran else 0.0
        for ms in times:
            found.append(None if ms is None else (before / ms, first / ms, self.pytorch.median_ms / ms))
            before = before if ms is None else ms
        return found

    def to_dict(self) -> dict[str, Any]:
        """The table as values that JSON has."""
        stages = []
        for stage, speedup in zip(self.stages, self.speedups(), strict=True):
            entry = dataclasses.asdict(stage)
            entry["padding_fraction"] = stage.padding_fraction
            names = ("times_faster_than_previous", "times_faster_than_first", "times_faster_than_pytorch")
            entry |= dict(zip(names, speedup or (None, None, None), strict=True))
            stages.append(entry)
        return {"threads": self.threads, "stages": stages, "pytorch_latency_ms": dataclasses.asdict(self.pytorch)}


def ablate(
    model: "torch.nn.Module | str | os.PathLike[str]",
    example_inputs: "Mapping[str, torch.Tensor] | None" = None,
    *,
    target: str = "host-cpu",
    seq_len: int = 128,
    batch: int = 1,
    threads: int = 1,
    rounds: int = 30,
    progress: Callable[[str], None] = lambda stage: None,
) -> Ablation:
    """Compiles `model` (as for `compile_model`) once per stage, compares each with PyTorch, and times all in turns.

    The stage "+ tuning" runs where records of tuning for this target fit a layer. Raises what `compile_model` raises;
    `VerificationError` where a stage computes something else than PyTorch.
    """
    from secateur.compiler.records.tuned import RECORDS_IN_BUNDLE
    from secateur.frontends import load
    from secateur.runtime_targets.targets import get_target

    machine = get_target(target, workers=threads)
    loaded = load(model, example_inputs, seq_len, batch)
    compiled: dict[str, CompiledModel] = {}
    rows = []
    for stage in STAGES:
        one = _compile(stage, loaded, machine, threads, lambda text, n=stage.name: progress(f"{n}, {text}"))
        if one is None or (stage.tuned and RECORDS_IN_BUNDLE not in one.manifest.files):
            note = "nothing is on record that fits this model and target; `secateur tune` makes records"
            rows.append(Ablated(stage.name, stage.adds, note=note))
            continue
        compiled[stage.name] = one
        rows.append(_count(stage, one))
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in loaded.example_inputs.items()}
    candidates: dict[str, Callable[[], object]] = {
        name: lambda one=one: one.run(arrays) for name, one in compiled.items()
    }
    eager = torch_eager(loaded.module, threads)
    candidates[PYTORCH] = lambda: eager(arrays)
    progress("timing")
    latencies = interleave(
        candidates, rounds=rounds, progress=lambda done, of: progress(f"timing, round {done} of {of}")
    )
    finished = tuple(dataclasses.replace(row, latency=latencies.get(row.stage)) for row in rows)
    return Ablation(finished, latencies[PYTORCH], threads)


def _compile(
    stage: Stage, loaded: "Loaded", machine: "Target", threads: int, progress: Callable[[str], None]
) -> CompiledModel | None:
    """None where the stage needs records of tuning and there are none."""
    from secateur.compiler.records.tuned import Tuned
    from secateur.frontends import import_model

    progress("importing")
    imported = import_model(loaded.module, loaded.example_inputs)
    tuned = Tuned.of(machine, str(imported.module)) if stage.tuned else None
    if tuned is not None and not tuned.digest:
        return None
    options = Options(
        threads=threads,
        verify=True,
        compile_to="iree",
        schedule=stage.schedule,
        progress=progress,
        leave_out=stage.leave_out,
    )
    chosen = TargetOptions(machine, "kernels", tuned)
    return compile_imported(loaded, imported, [chosen], options, cache=False)


def _statistic(compiled: CompiledModel, name: str) -> int:
    """The statistic of that name, over all passes."""
    return int(sum(counted.get(name, 0) for counted in compiled.report.statistics.values()))


def _count(stage: Stage, compiled: CompiledModel) -> Ablated:
    # Where no rows share loads, every packed weight has one of its own.
    packed = int(compiled.report.statistics.get("sparsity-pack", {}).get("packed-values", 0))
    loads = packed - _statistic(compiled, "vector-loads-before") + _statistic(compiled, "vector-loads-after")
    dispatches = compiled.manifest.targets[0].dispatches
    return Ablated(
        stage.name,
        stage.adds,
        kept_weights=_statistic(compiled, "kept-weights"),
        padding_values=_statistic(compiled, "padding-values"),
        loads=loads,
        weights_per_load=packed / max(loads, 1),
        index_bytes=sum(d.index_bytes for d in dispatches),
        flops=sum(d.flops or 0 for d in dispatches),
        padding_flops=sum(d.padding_flops for d in dispatches),
    )
