"""The latency of whole models, and what of it is not the layers of the table: attention, norms, embeddings, calls.

    latency(rates) = fixed + scale * sum of the table's costs at these rates

Both constants follow from a compiled model that was pruned. Where its dispatches are timed, `fixed` is what those take
that hold none of the layers, and `scale` is what the others take over what the table says of them. Where a whole model
is counted, the dense model and the pruned one make two equations. `scale` is near 1; it takes in that layers of a
model meet other caches than those of a case, and that zeros of real weights lie less evenly than synthetic ones.
"""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.compiler.build.cache import hash_weights
from secateur.compiler.records.digest import digest_of
from secateur.compiler.records.objective import objective_of
from secateur.compiler.records.records import RecordsFile, new_record, timing_lock
from secateur.compiler.records.tuned import Tuned
from secateur.compression.prune.model import prune_model
from secateur.compression.prune.scheme import Scheme
from secateur.dialects.scratch import ScratchFolder

from .errors import LatencyError
from .measure import Progress, latency_folder
from .place import Place

if TYPE_CHECKING:
    from secateur.compiler.build.compiled_model import CompiledModel
    from secateur.frontends import ImportedModel, Loaded
    from secateur.runtime_targets.manifest import DispatchWork
    from secateur.runtime_targets.profile import CallTime

# Outside of this the two models tell more of a busy machine than of themselves.
_SENSIBLE = (0.5, 2.0)
# As for layers, a figure is the median over repetitions, and each of them takes the fastest time of every dispatch.
_REPETITIONS, _RUNS = 5, 12
_ROUNDS, _SECONDS = 30, 20.0


@dataclasses.dataclass(frozen=True)
class ModelLatency:
    """Costs of one pruned model and of the dense one that ran in turns with it, in the place's unit: the sum over their
    dispatches (the fastest of each) and what lies between these. `median_*`: of whole runs in turns, as
    `secateur bench` has them; these are more where other programs ran too. `fixed`: the part of `cost` in dispatches
    that hold no layer of the table, and between dispatches; None where only the whole is known."""

    cost: float
    dense_cost: float
    median_cost: float
    median_dense_cost: float
    fixed: float | None = None

    @property
    def ratio(self) -> float:
        """The pruned model's cost as a part of the dense one's."""
        return self.cost / self.dense_cost

    def at(self, dense_cost: float) -> "ModelLatency":
        """The same for a moment in which the dense model costs `dense_cost`: what was measured at different moments is
        compared by its part of the dense model's cost."""
        factor = dense_cost / self.dense_cost
        return dataclasses.replace(
            self,
            cost=self.cost * factor,
            dense_cost=dense_cost,
            fixed=None if self.fixed is None else self.fixed * factor,
        )


@dataclasses.dataclass(frozen=True)
class Calibration:
    """`fixed` and `scale` of the formula above."""

    fixed: float
    scale: float

    def whole(self, layers: float) -> float:
        """The latency of a model whose layers cost `layers` by the table."""
        return self.fixed + self.scale * layers

    def layers(self, whole: float) -> float:
        """What the layers may cost by the table in a model of that latency."""
        return (whole - self.fixed) / self.scale


def calibrate(dense_layers: float, pruned_layers: float, measured: ModelLatency) -> Calibration:
    """From what the table says of the layers of both models. Where two wholes contradict the table (`scale` outside of
    1/2..2, or nothing left for `fixed`), the pruned one alone counts, for rates are chosen near it: `scale` is 1 and
    `fixed` what it takes beyond its layers; where that is nothing either, `scale` is less."""
    if measured.fixed is not None:
        return Calibration(measured.fixed, (measured.cost - measured.fixed) / pruned_layers)
    scale = (measured.dense_cost - measured.cost) / max(dense_layers - pruned_layers, 1e-12)
    fixed = measured.dense_cost - scale * dense_layers
    if _SENSIBLE[0] <= scale <= _SENSIBLE[1] and fixed >= 0:
        return Calibration(fixed, scale)
    fixed = max(0.0, measured.cost - pruned_layers)
    return Calibration(fixed, 1.0 if fixed else measured.cost / pruned_layers)


def outside_of_layers(calls: "Sequence[CallTime]", work: "Sequence[DispatchWork]", modules: Collection[str]) -> float:
    """What dispatches take in which none of `modules` has its weights, in milliseconds.

    The n-th call of a kernel did the n-th work of that kernel.
    """
    known: dict[str, list[DispatchWork]] = {}
    for entry in work:
        known.setdefault(entry.kernel, []).append(entry)
    found = 0.0
    for call in calls:
        entries = known.get(call.kernel)
        entry = entries.pop(0) if entries else None
        if entry is None or not (entry.weight_bytes and set(entry.paths) & set(modules)):
            found += call.min_ms
    return found


class WholeModel:
    """Compiles and measures one model at different rates. What is on record is not measured again."""

    def __init__(
        self,
        loaded: "Loaded",
        imported: "ImportedModel",
        place: Place,
        cache: Path | None = None,
        progress: Progress = lambda stage: None,
    ) -> None:
        self._loaded, self._place, self._progress = loaded, place, progress
        self._records = RecordsFile.of(place.target, latency_folder(cache))
        text = str(imported.module)
        tuned = Tuned.of(place.target, text, numbers=place.numbers)
        self._digest = digest_of(text, hash_weights(imported.weights), tuned.digest)
        self._dense: Any = None

    def measure(self, scheme: Scheme, rates: Mapping[str, float], again: bool = False) -> ModelLatency:
        """The latency with modules pruned by magnitude to `rates`, beside the dense model's. `again`: also where it is
        on record. Raises what `compile_model` raises."""
        op = {
            "name": "model-latency",
            "model": self._digest,
            "scheme": str(scheme),
            "numbers": str(self._place.numbers),
            "rates": digest_of(sorted(rates.items())),
            "threads": self._place.threads,
        }
        place, fields = self._place, [field.name for field in dataclasses.fields(ModelLatency)]
        record = new_record("model-latency", self._records.machine, op, place.target.description_text())
        known = [
            r
            for r in self._records.usable()
            if r["key"] == record["key"]
            and objective_of(r) == place.objective.name
            and (place.objective.device or r["processor"] == record["processor"])
        ]
        if known and not again:
            return ModelLatency(*(known[-1].get(name) for name in fields))
        with contextlib.ExitStack() as stack:
            found = (self._counted if place.objective.device else self._timed)(scheme, rates, stack)
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self._records.add([{**record, **dataclasses.asdict(found), "time": now, **place.objective.in_record()}])
        return found

    def _compiled(self, scheme: Scheme | None, rates: Mapping[str, float]) -> "CompiledModel":
        from secateur.compiler.driver import compile_model

        module, name = self._loaded.module, "the dense model"
        if scheme is not None:
            module, _ = prune_model(module, scheme, include=list(rates), rates=rates)
            name = f"the model in {scheme}"
        return compile_model(
            module,
            self._loaded.example_inputs,
            target=self._place.target.name,
            weights=self._place.numbers.storage.name,
            arithmetic=self._place.numbers.arithmetic.name,
            threads=self._place.threads,
            progress=lambda stage: self._progress(f"compiling {name}, {stage}"),
        )

    def _timed(self, scheme: Scheme, rates: Mapping[str, float], stack: contextlib.ExitStack) -> ModelLatency:
        from secateur.compiler.measure.timing import interleave
        from secateur.compiler.verify.comparison import cases
        from secateur.runtime_targets.bundle import open_bundle
        from secateur.runtime_targets.profile import profile_bundle

        if self._dense is None:
            self._dense = self._compiled(None, {})
        models = {"dense": self._dense, "pruned": self._compiled(scheme, rates)}
        bundles = {}
        for name, compiled in models.items():
            folder = Path(stack.enter_context(ScratchFolder("latency"))) / "bundle"
            compiled.save(folder)
            bundles[name] = stack.enter_context(open_bundle(folder))
        examples = {n: t.detach().cpu().numpy() for n, t in self._loaded.example_inputs.items()}
        arrays = cases(self._dense.inputs, examples, self._loaded.config)["random"]
        calls: dict[str, Callable[[], object]] = {n: lambda m=m: m.run(arrays) for n, m in models.items()}
        threads = self._place.threads
        costs: dict[str, list[float]] = {name: [] for name in models}
        fixed = []
        with timing_lock():
            for done in range(_REPETITIONS):
                self._progress(f"timing whole models, {done + 1} of {_REPETITIONS}")
                for name, bundle in bundles.items():
                    run = profile_bundle(bundle, None, threads, _RUNS)
                    costs[name].append(sum(call.min_ms for call in run.calls) + run.outside_ms)
                outside = outside_of_layers(run.calls, bundle.target().dispatches, rates)
                fixed.append(outside + run.outside_ms)
            runs = interleave(calls, rounds=_ROUNDS, budget_seconds=_SECONDS)
        return ModelLatency(
            cost=statistics.median(costs["pruned"]),
            dense_cost=statistics.median(costs["dense"]),
            median_cost=runs["pruned"].median_ms,
            median_dense_cost=runs["dense"].median_ms,
            fixed=statistics.median(fixed),
        )

    def _counted(self, scheme: Scheme, rates: Mapping[str, float], stack: contextlib.ExitStack) -> ModelLatency:
        from secateur.compiler.measure.instruction_cost import count_bundle

        objective = self._place.objective

        def count(compiled: "CompiledModel") -> float:
            folder = stack.enter_context(ScratchFolder("latency"))
            compiled.save(Path(folder) / "bundle")
            path, progress = Path(folder) / "bundle", self._progress
            cost = count_bundle(path, objective.device, mca=objective.kind == "cycles", progress=progress)
            if objective.kind == "cycles":
                if cost.cycles is None:
                    raise LatencyError(f"llvm-mca estimates no cycles for '{objective.device}'; count instructions")
                return cost.cycles
            return float(cost.kernels.instructions + cost.kernels.loads)

        if self._dense is None:
            self._dense = count(self._compiled(None, {}))
        cost = count(self._compiled(scheme, rates))
        return ModelLatency(cost, self._dense, cost, self._dense)
