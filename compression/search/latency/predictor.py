"""Predicts the latency of candidates, measures what it lacks for that, and times whole models beside the prediction."""

import contextlib
import copy
import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from secateur.compiler.records.records import timing_lock
from secateur.compression.latency.place import Place, place_of
from secateur.dialects.number_formats import F32, NumberFormat
from secateur.dialects.scratch import ScratchFolder

from ..cut import Architecture
from ..cut.encoder import Encoder
from ..errors import SearchError
from ..space import Candidate
from ..spaces.building import plan_for
from ..spaces.plan import LayerPlan, Plan
from .cells import FIXED, Cell, cells_of, times_of_cells
from .covering import covering, model_of
from .table import CellTable, Whole, fitted

if TYPE_CHECKING:
    from secateur.compiler.build.compiled_model import CompiledModel

# A figure is the median over repetitions of the fastest of its runs, as in `secateur.compression.latency`: where other
# programs run, the middle one tells of them.
_REPETITIONS, _RUNS = 5, 12


@dataclasses.dataclass(frozen=True)
class Prediction:
    """`latency_ms` of a candidate, in a quiet moment of this machine, which is `ratio` times that of the dense model in
    f32; and its `cells` as milliseconds."""

    latency_ms: float
    ratio: float
    cells: dict[Cell, float]


@dataclasses.dataclass(frozen=True)
class Timed:
    """`latency_ms` of a compiled model: `ratio` of that of the dense model in f32, with which it ran in turns, times
    that in the quietest moment so far."""

    latency_ms: float
    ratio: float


class LatencyPredictor:
    """Latencies of candidates cut out of `dense`, for `batch` sequences of `tokens` tokens, on `target` with `threads`.

    `cache`: the folder of records (by default beside those of `secateur prune --latency`); what is on record is not
    measured again, and a process that is killed loses the model it was measuring. Raises `SearchError` for a target
    that is not timed on this machine.
    """

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
        if target.startswith("qemu:"):
            raise SearchError(f"latencies of a search are timed on this machine, found '{target}'", usage=True)
        self._dense, self._cache, self._progress = dense, cache, progress
        self._target, self._threads, self._tokens, self._batch = target, threads, tokens, batch
        self._architecture = Architecture.of(dense)
        self._anchor: Any = None

    def predict(self, candidate: Candidate) -> Prediction:
        """The latency of a candidate. Cells that are not on record are measured. Raises `SearchError` for what is no
        candidate, `CompileError` and what else compiling raises."""
        plan = plan_for(candidate, self._dense)
        self.measure_cells([plan])
        table = self._table(plan.numbers)
        known, wholes = table.cells(), table.wholes()
        counts = cells_of(plan.layers)
        slope, intercept = fitted(wholes)
        quiet = self._quiet_ms()
        ratio = slope * sum(known[cell] * count for cell, count in counts.items()) + intercept
        return Prediction(ratio * quiet, ratio, {cell: known[cell] * count * quiet for cell, count in counts.items()})

    def measure_cells(self, plans: Sequence[Plan]) -> None:
        """Measures the cells of many plans that are not on record, in as few models as will do."""
        for numbers in {plan.numbers for plan in plans}:
            table = self._table(numbers)
            wanted = set().union(*(cells_of(plan.layers) for plan in plans if plan.numbers == numbers))
            known = table.cells()
            if FIXED not in known:
                self._calibrate(table, numbers)
            missing = wanted - set(table.cells())
            models = covering(missing, self._architecture)
            for number, layers in enumerate(models):
                self._progress(f"measuring layers, model {number + 1} of {len(models)}")
                self._measure(layers, table, numbers, missing)

    def compiled(self, candidate: Candidate, module: nn.Module | None = None) -> "CompiledModel":
        """A whole compiled model, verified against PyTorch. `module`: the candidate's; by default one of its shape,
        pruned by magnitude."""
        plan = plan_for(candidate, self._dense)
        return self._compile(module if module is not None else self._shaped(plan), plan.numbers, verify=True)

    def time_whole(self, compiled: "CompiledModel") -> Timed:
        """Times a compiled model in turns with the dense one."""
        ratio = self._interleaved(compiled)
        return Timed(ratio * self._quiet_ms(), ratio)

    def _own_layers(self) -> tuple[LayerPlan, ...]:
        own = self._architecture
        return tuple(LayerPlan(n, own.heads[n], own.ffn[n], {}) for n in own.layers)

    def _smallest(self) -> tuple[LayerPlan, ...]:
        own = self._architecture
        return (LayerPlan(0, max(1, own.heads[0] // 4), max(16, own.ffn[0] // 8), {}),)

    def _shaped(self, plan: Plan) -> Any:
        """A module of the plan's layers with the dense model's embeddings."""
        module = model_of(plan.layers, self._dense)
        module.set_input_embeddings(copy.deepcopy(self._dense.get_input_embeddings()).cpu())  # type: ignore[operator]
        module.config.vocab_size = self._dense.config.vocab_size  # type: ignore[union-attr]
        return module

    def _measure(
        self, layers: tuple[LayerPlan, ...], table: CellTable, numbers: NumberFormat, wanted: set[Cell]
    ) -> None:
        """Records what is `wanted` of the cells of a model."""
        module = model_of(layers, self._dense)
        _, cells = self._profiled(self._compile(module, numbers, verify=False), module, layers)
        table.add_cells({cell: cost for cell, cost in cells.items() if cell in wanted})

    def _calibrate(self, table: CellTable, numbers: NumberFormat) -> None:
        """Records two whole models: a single small layer, and the dense one, with its cells: it has what is outside of
        layers as candidates have it."""
        own = self._architecture
        small = (LayerPlan(0, max(1, own.heads[0] // 4), max(16, own.ffn[0] // 8), {}),)
        wholes = []
        for layers in (small, self._own_layers()):
            module = self._shaped(Plan(layers))
            compiled = self._anchor if numbers.is_f32 and layers != small else None
            compiled = compiled or self._compile(module, numbers, verify=False)
            latency = self._interleaved(compiled)
            summed, cells = self._profiled(compiled, module, layers)
            wholes.append(Whole(latency, summed))
        for whole in wholes:
            table.add_whole(whole)
        # The last, for which is looked: a process that is killed before it calibrates anew.
        table.add_cells(cells)

    def _interleaved(self, compiled: "CompiledModel") -> float:
        """The latency of a model as a part of the anchor's, in turns with it. That one's is recorded."""
        from secateur.compiler.measure.timing import interleave

        anchor = self._anchor_model()
        ids = np.ones((self._batch, self._tokens), np.int64)
        arrays = {"input_ids": ids, "attention_mask": ids}
        models = {"anchor": lambda: anchor.run(arrays), "model": lambda: compiled.run(arrays)}
        ratios, references = [], []
        with timing_lock():
            for _ in range(_REPETITIONS):
                runs = interleave(models, rounds=_RUNS)
                ratios.append(runs["model"].min_ms / runs["anchor"].min_ms)
                references.append(runs["anchor"].min_ms)
        self._table(F32).add_anchor(statistics.median(references))
        return statistics.median(ratios)

    def _profiled(
        self, compiled: "CompiledModel", module: nn.Module, layers: Sequence[LayerPlan]
    ) -> tuple[float, dict[Cell, float]]:
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
                cells = times_of_cells(runs[1].calls, runs[1].outside_ms, work, module, layers)
                for cell, cost in cells.items():
                    parts.setdefault(cell, []).append(cost / reference)
        return statistics.median(sums), {cell: statistics.median(costs) for cell, costs in parts.items()}

    def _anchor_model(self) -> "CompiledModel":
        if self._anchor is None:
            self._progress("compiling the dense model")
            self._anchor = self._compile(self._shaped(Plan(self._own_layers())), F32, verify=False)
        return self._anchor

    def _compile(self, module: Any, numbers: NumberFormat, *, verify: bool) -> "CompiledModel":
        from secateur.compiler.driver import compile_model
        from secateur.frontends import example_inputs_for

        return compile_model(
            module,
            example_inputs_for(module, self._batch, self._tokens),
            target=self._target,
            weights=numbers.storage.name,
            arithmetic=numbers.arithmetic.name,
            threads=self._threads,
            verify=verify,
            cache=False,
        )

    def _quiet_ms(self) -> float:
        """The anchor's latency in the quietest moment on record."""
        return self._table(F32).anchor_ms()

    def _place(self, numbers: NumberFormat) -> Place:
        return place_of(self._target, self._threads, numbers=numbers)

    def _table(self, numbers: NumberFormat) -> CellTable:
        encoder, own = Encoder(self._dense), self._architecture
        about = {
            "model": encoder.config.model_type,
            "hidden": encoder.layers[0].get_submodule(encoder.family.expands).in_features,  # type: ignore[union-attr]
            "head": encoder.head_size(0),
            "activation": str(getattr(encoder.config, "hidden_act", getattr(encoder.config, "activation", ""))),
            "layers": [list(own.heads), list(own.ffn)],
            "class": type(self._dense).__name__,
            "words": len(self._dense.get_input_embeddings().weight),  # type: ignore[operator]
            "batch": self._batch,
            "tokens": self._tokens,
        }
        return CellTable(self._place(numbers), about, self._cache)
