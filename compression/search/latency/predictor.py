"""Predicts the latency of candidates, measures what it lacks for that, and times whole models beside the prediction."""

import contextlib
import dataclasses
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from secateur.compiler.records.records import timing_lock
from secateur.compiler.records.tuned import Tuned
from secateur.compression.latency.place import Place, place_of
from secateur.dialects.errors import SecateurError
from secateur.dialects.number_formats import F32, NumberFormat
from secateur.dialects.scratch import ScratchFolder

from ..cut import Architecture
from ..cut.encoder import Encoder
from ..space import Candidate
from ..spaces.building import number_plan, plan_for
from ..spaces.plan import LayerPlan, Plan
from .cells import FIXED, Cell, cells_by_numbers, times_of_cells
from .covering import covering, model_of
from .table import CellTable, Whole, fitted

if TYPE_CHECKING:
    from secateur.compiler.build.compiled_model import CompiledModel
    from secateur.compiler.tune.options import TuneOptions

# Of a dispatch the median over repetitions of the fastest of its calls, as in `secateur.compression.latency`; of whole
# models the median of so many rounds.
_REPETITIONS, _RUNS = 5, 12
_ROUNDS = 40


@dataclasses.dataclass(frozen=True)
class Prediction:
    """`cost` of a candidate, which is `ratio` times that of the dense model in f32: milliseconds in a quiet moment of
    this machine, or what else the predictor's unit is; and its `cells` in the same unit."""

    cost: float
    ratio: float
    cells: dict[Cell, float]


@dataclasses.dataclass(frozen=True)
class Timed:
    """`cost` of a compiled model: `ratio` of that of the dense model in f32, with which it ran in turns, times that in
    the quietest moment so far."""

    cost: float
    ratio: float


class LatencyPredictor:
    """Latencies of candidates cut out of `dense`, for `batch` sequences of `tokens` tokens, on `target` with `threads`.

    `cache`: the folder of records (by default beside those of `secateur prune --latency`); what is on record is not
    measured again, and a process that is killed loses the model it was measuring. Raises `LatencyError` for a target
    that cannot be measured here.
    """

    figure, unit = "latency_ms", "ms"
    """The name that its costs have among the figures of candidates, and what they are."""

    def __init__(
        self,
        dense: nn.Module,
        *,
        target: str = "host-cpu",
        threads: int = 1,
        tokens: int = 128,
        batch: int = 1,
        cache: Path | None = None,
        progress: Callable[[str], None] = lambda stage: None,
    ) -> None:
        self._dense, self._cache, self._progress = dense, cache, progress
        self._target, self._threads, self._tokens, self._batch = target, threads, tokens, batch
        self._architecture = Architecture.of(dense)
        self._anchor: Any = None
        self._schedules = self._tuned()

    def predict(self, candidate: Candidate) -> Prediction:
        """The latency of a candidate. Cells that are not on record are measured. Raises `SearchError` for what is no
        candidate, `CompileError` and what else compiling raises."""
        plan = plan_for(candidate, self._dense)
        self.measure_cells([plan])
        quiet = self._quiet_ms()
        ratio, cells = 0.0, Counter[Cell]()
        for numbers, counts in cells_by_numbers(plan).items():
            table = self._table(numbers, plan.hidden)
            known, (slope, intercept) = table.cells(), fitted(table.wholes())
            ratio += slope * sum(known[cell] * count for cell, count in counts.items())
            # What does not grow with layers is that of the model's own numbers.
            ratio += intercept if numbers == plan.numbers else 0.0
            cells.update({cell: known[cell] * count * quiet for cell, count in counts.items()})  # type: ignore[arg-type]
        return Prediction(ratio * quiet, ratio, dict(cells))

    def tune(self, plans: Sequence[Plan], seconds: float) -> None:
        """Tunes the kernels of the dense model and of the layers of many plans, for `seconds` in all. What is on record
        is not tuned again; all that is compiled, measured and predicted from then on is with these schedules."""
        from secateur.compiler.tune.options import compile_options

        models, end = [Plan(self._own_layers())], time.monotonic() + seconds
        for kind, cells in _wanted(plans):
            models += covering(cells, self._architecture, kind)
        for number, model in enumerate(models):
            left = end - time.monotonic()
            if left <= 0:
                break
            self._progress(f"tuning layers, model {number + 1} of {len(models)}")
            options = compile_options(budget_seconds=left / (len(models) - number))
            options = dataclasses.replace(options, objective=self._place(F32).objective)
            self._compile(model_of(model, self._dense), model, verify=False, tune=options)
        self._schedules = self._tuned()
        self._anchor = None

    def measure_cells(self, plans: Sequence[Plan], *, pass_over: bool = False) -> None:
        """Measures the cells of many plans that are not on record, in as few models as will do. With `pass_over` what
        cannot be measured, as numbers that the target has no arithmetic for, is no error."""
        for kind, cells in _wanted(plans):
            with contextlib.suppress(*([SecateurError] if pass_over else [])):
                self._measure_kind(kind, cells)

    def _measure_kind(self, kind: Plan, wanted: set[Cell]) -> None:
        """Measures what is not on record of the `wanted` cells of models that are of one kind."""
        table = self._table(kind.numbers, kind.hidden)
        if FIXED not in table.cells():
            self._calibrate(table, kind)
        missing = wanted - set(table.cells())
        models = covering(missing, self._architecture, kind)
        for number, model in enumerate(models):
            self._progress(f"measuring layers, model {number + 1} of {len(models)}")
            self._measure(model, table, missing)

    def compiled(self, candidate: Candidate, module: nn.Module | None = None) -> "CompiledModel":
        """A whole compiled model, verified against PyTorch. `module`: the candidate's; by default one of its shape,
        pruned by magnitude."""
        plan = plan_for(candidate, self._dense)
        return self._compile(module if module is not None else self._shaped(plan), plan, verify=True)

    def time_whole(self, compiled: "CompiledModel") -> Timed:
        """Times a compiled model in turns with the dense one."""
        ratio = self._interleaved(compiled)
        return Timed(ratio * self._quiet_ms(), ratio)

    def _own_layers(self) -> tuple[LayerPlan, ...]:
        own = self._architecture
        return tuple(LayerPlan(n, own.heads[n], own.ffn[n], {}) for n in own.layers)

    def _shaped(self, plan: Plan) -> Any:
        """A module of the plan's sizes with as many words as the dense model has."""
        module = model_of(plan, self._dense)
        words, few = self._dense.get_input_embeddings(), module.get_input_embeddings()  # type: ignore[operator]
        few.weight = nn.Parameter(words.weight.detach()[:, : few.embedding_dim].cpu().clone())
        few.num_embeddings = module.config.vocab_size = len(few.weight)
        return module

    def _measure(self, plan: Plan, table: CellTable, wanted: set[Cell]) -> None:
        """Records what is `wanted` of the cells of a model."""
        # What is outside of layers is measured with as many words as candidates have.
        module = self._shaped(plan) if plan.embedding else model_of(plan, self._dense)
        _, cells = self._profiled(self._compile(module, plan, verify=False), module, plan)
        table.add_cells({cell: cost for cell, cost in cells.items() if cell in wanted})

    def _calibrate(self, table: CellTable, kind: Plan) -> None:
        """Records two whole models of the numbers and the hidden width of a plan: a single small layer, and the dense
        model's layers, with their cells: that has what is outside of layers as candidates have it."""
        own = self._architecture
        small = (LayerPlan(0, max(1, own.heads[0] // 4), max(16, own.ffn[0] // 8), {}),)
        for layers in (small, self._own_layers()):
            plan = dataclasses.replace(kind, layers=layers)
            module = self._shaped(plan)
            compiled = self._anchor if plan == Plan(self._own_layers()) else None
            compiled = compiled or self._compile(module, plan, verify=False)
            latency = self._interleaved(compiled)
            summed, cells = self._profiled(compiled, module, plan)
            table.add_whole(Whole(latency, summed))
        # The last, for which is looked: a process that is killed before it calibrates anew.
        table.add_cells(cells)

    def _interleaved(self, compiled: "CompiledModel") -> float:
        """The latency of a model as a part of the anchor's, in turns with it. That one's is recorded."""
        from secateur.compiler.measure.timing import interleave

        anchor = self._anchor_model()
        ids = np.ones((self._batch, self._tokens), np.int64)
        arrays = {"input_ids": ids, "attention_mask": ids}
        # Of one thread the time that it had a core: what other programs take does not count.
        clock = time.thread_time if self._threads == 1 else time.perf_counter

        def seconds(model: "CompiledModel") -> float:
            began = clock()
            model.run(arrays)
            return clock() - began

        models = {"anchor": lambda: seconds(anchor), "model": lambda: seconds(compiled)}
        with timing_lock():
            runs = interleave(models, rounds=_ROUNDS, reported=True)
        self._table(F32).add_anchor(runs["anchor"].median_ms)
        return runs["model"].median_ms / runs["anchor"].median_ms

    def _profiled(self, compiled: "CompiledModel", module: nn.Module, plan: Plan) -> tuple[float, dict[Cell, float]]:
        """The sum of a model's cells, and each of them, as parts of the anchor's sum, in turns with it."""
        from secateur.runtime_targets.bundle import open_bundle
        from secateur.runtime_targets.profile import profile_bundle

        anchor, sums = self._anchor_model(), []
        parts: dict[Cell, list[float]] = {}
        with contextlib.ExitStack() as stack:
            bundles = []
            for model in (anchor, compiled):
                folder = Path(stack.enter_context(ScratchFolder("search-latency"))) / "bundle"
                model.save(folder)
                bundles.append(stack.enter_context(open_bundle(folder)))
            work = bundles[1].target().dispatches
            stack.enter_context(timing_lock())
            for _ in range(_REPETITIONS):
                runs = [profile_bundle(bundle, None, self._threads, _RUNS) for bundle in bundles]
                reference, total = (sum(call.min_ms for call in run.calls) + run.outside_ms for run in runs)
                sums.append(total / reference)
                cells = times_of_cells(runs[1].calls, runs[1].outside_ms, work, module, plan)
                for cell, cost in cells.items():
                    parts.setdefault(cell, []).append(cost / reference)
        return statistics.median(sums), {cell: statistics.median(costs) for cell, costs in parts.items()}

    def _anchor_model(self) -> "CompiledModel":
        if self._anchor is None:
            self._progress("compiling the dense model")
            dense = Plan(self._own_layers())
            self._anchor = self._compile(self._shaped(dense), dense, verify=False, cache=True)
        return self._anchor

    def _compile(
        self, module: Any, plan: Plan, *, verify: bool, cache: bool = False, tune: "TuneOptions | bool" = False
    ) -> "CompiledModel":
        from secateur.compiler.driver import compile_model
        from secateur.frontends import example_inputs_for

        return compile_model(
            module,
            example_inputs_for(module, self._batch, self._tokens),
            target=self._place(F32).target.name,
            weights=plan.numbers.storage.name,
            arithmetic=plan.numbers.arithmetic.name,
            formats={pattern: str(numbers) for pattern, numbers in number_plan(plan, module).layers},
            threads=self._threads,
            verify=verify,
            cache=cache,
            tune=tune,
        )

    def _quiet_ms(self) -> float:
        """The anchor's latency in the quietest moment on record."""
        return self._table(F32).anchor_ms()

    def _place(self, numbers: NumberFormat) -> Place:
        return place_of(self._target, self._threads, "counts", numbers=numbers)

    def _tuned(self) -> str:
        """A digest of the schedules that were tuned for the target: code is compiled with them."""
        return Tuned.of(self._place(F32).target).digest

    def _table(self, numbers: NumberFormat, hidden: int | None = None) -> CellTable:
        encoder, own = Encoder(self._dense), self._architecture
        about = {
            "model": encoder.config.model_type,
            "width": encoder.hidden,
            "hidden": hidden or encoder.hidden,
            "head": encoder.head_size(0),
            "activation": str(getattr(encoder.config, "hidden_act", getattr(encoder.config, "activation", ""))),
            "layers": [list(own.heads), list(own.ffn)],
            "class": type(self._dense).__name__,
            "words": len(self._dense.get_input_embeddings().weight),  # type: ignore[operator]
            "batch": self._batch,
            "tokens": self._tokens,
            **({"schedules": self._schedules} if self._schedules else {}),
        }
        return CellTable(self._place(numbers), about, self._cache)


def _wanted(plans: Sequence[Plan]) -> list[tuple[Plan, set[Cell]]]:
    """The cells of many plans by their numbers and hidden width; these as plans without layers."""
    found: dict[tuple[NumberFormat, int | None], set[Cell]] = {}
    for plan in plans:
        for numbers, counts in cells_by_numbers(plan).items():
            found.setdefault((numbers, plan.hidden), set()).update(counts)
    return [(Plan((), numbers, hidden), cells) for (numbers, hidden), cells in found.items()]
