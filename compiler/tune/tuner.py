"""Tuning a model: its layers become tasks, each is searched for the fastest schedule, and what is found is recorded."""

import dataclasses
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.compiler.pipeline.levels import Lowering, Progress, pipeline_to, with_options
from secateur.compiler.records.errors import TuneError
from secateur.compiler.records.objective import TIME, Objective
from secateur.compiler.records.records import RecordsFile
from secateur.compiler.records.tuned import Tuned, model_op
from secateur.dialects.number_formats import F32, NumberFormat, NumberPlan
from secateur.dialects.scratch import ScratchFolder
from secateur.dialects.weight_store import WeightStore

from .group import groups_of
from .options import TuneOptions
from .report import LayerTuned, TuneReport, VariantTuned
from .search import Crew, Found, Machine, Search
from .task import Task, tasks_of
from .variants import VariantSearch

if TYPE_CHECKING:
    from torch_mlir import ir

    from secateur.frontends import ImportedModel
    from secateur.runtime_targets.targets import Target

# Rounds in which the whole model with and without tuned schedules take turns.
_MODEL_ROUNDS = 30
_MODEL_SECONDS = 0.01


def tune_model(
    model: Any,
    example_inputs: Any = None,
    *,
    target: str = "host-cpu",
    seq_len: int = 128,
    batch: int = 1,
    threads: int = 1,
    options: TuneOptions | None = None,
    panels: bool = True,
    compare: bool = True,
    progress: Progress = lambda stage: None,
) -> TuneReport:
    """Tunes a model, which is given as to `compile_model`: every kind of linear layer, then every kind of fusion site.

    `panels`: then also compare panels of other sizes on the whole model. `compare`: at last compile the model with and
    without what was found, and time both in turns. Neither is done where the objective is no time. Raises `TuneError`,
    and what `compile_model` raises.
    """
    from secateur.frontends import import_model, load
    from secateur.runtime_targets.targets import get_target

    began = time.monotonic()
    options = options or TuneOptions()
    machine = get_target(target, workers=threads)
    progress("loading")
    loaded = load(model, example_inputs, seq_len, batch)
    progress("importing")
    imported = import_model(loaded.module, loaded.example_inputs)
    end = time.monotonic() + options.budget_seconds if options.budget_seconds else float("inf")
    layers, variants = tune_parts(imported, machine, threads, options, progress)
    runs = _Runs(loaded, imported, machine, threads, progress, options.numbers)
    timed = options.objective == TIME
    if timed and panels:
        variants += runs.tune_panel(options, end)
    return TuneReport(
        model=loaded.name,
        records=str(RecordsFile.of(machine).path),
        seconds=time.monotonic() - began,
        layers=tuple(LayerTuned.of(f) for f in layers),
        variants=tuple(variants),
        model_ms=runs.compared() if timed and compare else {},
        objective=options.objective.name,
    )


def tune_parts(
    imported: "ImportedModel", target: "Target", threads: int, options: TuneOptions, progress: Progress, panel: int = 0
) -> tuple[list[Found], list[VariantTuned]]:
    """Tunes the layers of an imported model in a panel; in the default one (0) then also its fusion sites."""
    check_runs_here(target, options.objective)
    records, machine = RecordsFile.of(target), Machine(target.name, threads, options.objective)
    end = time.monotonic() + options.budget_seconds if options.budget_seconds else float("inf")
    variants: list[VariantTuned] = []
    with scratch_folder(records.path.parent) as name, Crew(options) as crew:
        scratch = Path(name)

        def searched(fusion: dict[str, Any]) -> list[Found]:
            tasks = tasks_of_model(imported.module, imported.weights, target, panel, fusion, options.numbers)
            return _searched(tasks, scratch, machine, records, crew, options, end, progress)

        found = searched({})
        if not panel:
            module, weights = _structural(imported.module, imported.weights, target)
            tuned = Tuned(schedules=Tuned.of(target).schedules)
            for number, group in enumerate(groups := groups_of(module, weights, options.numbers)):
                if time.monotonic() > end:
                    break
                progress(f"tuning fusion {number + 1} of {len(groups)}, {group.name}")
                folder = group.write(scratch / f"group{number}")
                applied = tuned.pass_options(scratch)
                variants.append(VariantSearch(group, folder, machine, records, crew, options, applied).run())
                shutil.rmtree(folder, ignore_errors=True)
        if any(variant.chosen != variant.default for variant in variants):
            # Other variants make other layers, which deserve schedules of their own.
            known = {f.task.key for f in found}
            applied = Tuned.of(target, numbers=options.numbers).pass_options(scratch)
            found += [f for f in searched(applied.get("sparsity-fuse", {})) if f.task.key not in known]
    return found, variants


def check_runs_here(target: "Target", objective: Objective = TIME) -> None:
    """Raises `TuneError` for a target whose code this machine cannot run, and so not time, or the objective's device
    not count."""
    from secateur.runtime_targets.cpu import cpu_features

    if objective.device:
        return _check_fits(target, objective)

    lacking = sorted(set(target.cpu_features) - cpu_features())
    if target.architecture != platform.machine() or lacking:
        why = f"lacks {', '.join(lacking)}" if lacking else f"is {platform.machine()}"
        raise TuneError(
            f"schedules for the target '{target.name}' cannot be timed here: this machine {why}", usage=True
        )


def _check_fits(target: "Target", objective: Objective) -> None:
    from secateur.compiler.measure.instruction_cost import emulated_model
    from secateur.runtime_targets.devices import DeviceError
    from secateur.runtime_targets.devices.emulated import EmulatedCpu

    try:
        with EmulatedCpu(emulated_model(objective.device)) as device:
            has = device.properties()
    except DeviceError as error:
        raise TuneError(str(error), usage=error.usage) from None
    lacking = sorted(set(target.cpu_features) - has.cpu_features)
    if target.architecture != has.architecture or lacking:
        why = f"lacks {', '.join(lacking)}" if lacking else f"is {has.architecture}"
        raise TuneError(
            f"the target '{target.name}' cannot be counted on '{objective.device}', which {why}", usage=True
        )


def tasks_of_model(
    module: "ir.Module",
    weights: WeightStore,
    target: "Target",
    panel: int = 0,
    fusion: Mapping[str, Any] | None = None,
    numbers: NumberFormat = F32,
) -> list[Task]:
    """The tasks of an imported module, which is not changed. `fusion`: options of `sparsity-fuse`; `numbers`: the
    format of all layers.
    """
    copy, store = _structural(module, weights, target)
    options = {"sparsity-fuse": fusion or {}, **numbers.pass_options()}
    Lowering(copy, store).lower("structural", ",".join(with_options(name, given) for name, given in options.items()))
    return tasks_of(copy, store, panel)


def _structural(module: "ir.Module", weights: WeightStore, target: "Target") -> "tuple[ir.Module, WeightStore]":
    """A copy of an imported module at the structural level."""
    from secateur.compiler.build.target_build import describe_target

    lowering = Lowering.of_copy(module, weights)
    describe_target(lowering.module, target)
    lowering.lower("structural", pipeline_to("structural"))
    return lowering.module, lowering.weights


def _searched(
    tasks: list[Task],
    scratch: Path,
    machine: Machine,
    records: RecordsFile,
    crew: Crew,
    options: TuneOptions,
    end: float,
    progress: Progress,
) -> list[Found]:
    """Searches the schedule of each task; the time that is left until `end` is shared by the tasks that are left."""
    found = []
    for number, task in enumerate(tasks):
        folder = task.write(scratch / f"task{number}")
        search = Search(task, folder, machine, records, crew, options)
        # Square roots: a layer with four times the work deserves more trials, but the others some.
        left = sum(other.work**0.5 for other in tasks[number:])
        deadline = time.monotonic() + (end - time.monotonic()) * (task.work**0.5 / left if left else 1.0)
        found.append(search.run(deadline, _numbered(progress, number, len(tasks))))
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _numbered(progress: Progress, number: int, count: int) -> Callable[[str], None]:
    return lambda stage: progress(f"tuning layer {number + 1} of {count}, {stage}")


def scratch_folder(beside: Path) -> ScratchFolder:
    """A folder for tasks and candidates, on the disk of the records."""
    return ScratchFolder("tune", beside / "scratch", "make room there, or set SECATEUR_RECORDS to another folder")


class _Runs:
    """The whole model, compiled with what was tuned and without, and timed."""

    def __init__(
        self,
        loaded: Any,
        imported: "ImportedModel",
        target: "Target",
        threads: int,
        progress: Progress,
        numbers: NumberFormat,
    ) -> None:
        self._loaded, self._imported, self._target = loaded, imported, target
        self._threads, self._progress = threads, progress
        self._text, self._numbers = str(imported.module), numbers

    def compared(self) -> dict[str, float]:
        """Median milliseconds of the whole model with default and with tuned schedules, run in turns."""
        from secateur.compiler.measure.timing import interleave

        from .candidate import long_enough

        calls = {"default": self._call(Tuned(), "default"), "tuned": self._call(self._tuned(), "tuned")}
        self._progress("timing the model")
        loops, times = long_enough(calls, _MODEL_SECONDS)
        return {name: latency.median_ms / times for name, latency in interleave(loops, rounds=_MODEL_ROUNDS).items()}

    def tune_panel(self, options: TuneOptions, end: float) -> list[VariantTuned]:
        """Compares panels on the whole model, each with schedules of its own that are searched for until `end`;
        nothing where there is but one, or no time is left."""
        from .variants import other_panels, tune_panel

        tasks = tasks_of_model(self._imported.module, self._imported.weights, self._target, numbers=self._numbers)
        # The layer with the most work comes first.
        panels = other_panels(tasks[0].layer.tokens, self._target) if tasks else []
        if not panels or time.monotonic() > end:
            return []
        # A panel that is no good is no better for many trials.
        few = dataclasses.replace(options, trials=max(1, options.trials // 4), again=False)

        def compiled(panel: int) -> Callable[[], object]:
            if panel:
                self._progress(f"tuning for panels of {panel} tokens")
                # The searches of all panels share one budget.
                left = None if end == float("inf") else max(end - time.monotonic(), 0.001)
                asked = dataclasses.replace(few, budget_seconds=left)
                tune_parts(self._imported, self._target, self._threads, asked, self._progress, panel)
            return self._call(dataclasses.replace(self._tuned(), model={"panel": panel}), f"panel {panel or 'default'}")

        op, target = model_op(self._text, self._numbers), self._target.description_text()
        return [tune_panel(panels, compiled, RecordsFile.of(self._target), op, target, options.again)]

    def _tuned(self) -> Tuned:
        return Tuned.of(self._target, self._text, numbers=self._numbers)

    def _call(self, tuned: Tuned, name: str) -> Callable[[], object]:
        """A call of the model compiled with what was tuned, on random inputs."""
        from secateur.compiler.build.compilation import compile_imported
        from secateur.compiler.build.compile_options import Options, TargetOptions
        from secateur.compiler.verify.comparison import cases

        self._progress(f"compiling the model, {name}")
        loaded = self._loaded
        compiled = compile_imported(
            loaded,
            self._imported,
            [TargetOptions(self._target, "kernels", tuned)],
            Options(self._threads, numbers=NumberPlan(self._numbers)),
            cache=tuned.model is None or "key" in tuned.model,
        )
        examples = {n: t.detach().cpu().numpy() for n, t in loaded.example_inputs.items()}
        arrays = cases(compiled.inputs, examples, loaded.config)["random"]
        return lambda: compiled.run(arrays)
