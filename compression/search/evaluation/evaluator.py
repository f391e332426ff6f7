"""The stages that a candidate goes through, from its output error to the whole training."""

import copy
import dataclasses
import hashlib
import math
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.dialects.errors import SecateurError
from secateur.tasks import get_task

from ..errors import SearchError
from ..measurement import Measurement, Objective, Stage
from ..space import Candidate, candidate_line
from .recipe import Recipe

if TYPE_CHECKING:
    from ..latency import LatencyPredictor
    from ..spaces import Plan
    from .workbench import Workbench

SHORT, FULL = Recipe(steps=100), Recipe(epochs=3)
_DAY = 86400.0


@dataclasses.dataclass(frozen=True)
class ModelEvaluator:
    """Candidates (`secateur.compression.search.spaces`) cut out of the dense model in the folder `model`, on a `task`.

    Stages and their figures; METRIC is the task's, in percent (`f1`):

        latency   latency_ms      predicted for one sequence of `window` tokens on `target` with `threads`; on an
                                  emulated CPU (`qemu:`) `instructions` of its kernels in place of all milliseconds
                  weight_bytes    of what is not zero, as it is stored, without indices
        error     error           divergence from the dense model on `held_out` windows (`error.output_error`)
        sample    METRIC_sample   on `examples` of the dev split, as inherited
        short     METRIC_short    on the same after training by the recipe `short`
        full      METRIC          on `scored` examples (None: all) after training by the recipe `full`
        compiled  measured_ms     of the whole model, compiled and verified: the trained one, where there is one
                  bundle_bytes    of the bundle (`bundle`)
                  memory_bytes    that a process takes more at its peak for the model

    Weights are inherited by statistics of `samples` windows of `window` tokens. `folder`: where statistics, and the
    models that are trained, are kept (`trained`), so that a training that was killed goes on. `data`: a file of the
    task's, as `--data squad=FILE`. Everything is drawn by `seed`. `records`: the folder where latencies of layers are
    kept, by default the user's.
    """

    model: str
    task: str
    folder: Path
    short: Recipe = SHORT
    full: Recipe = FULL
    data: Path | None = None
    window: int = 128
    samples: int = 256
    held_out: int = 64
    examples: int = 300
    scored: int | None = None
    seed: int = 0
    target: str = "host-cpu"
    threads: int = 1
    records: Path | None = None

    @property
    def metric(self) -> str:
        """The name of the task's figure."""
        return get_task(self.task, self.data).metric

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages, the cheapest first."""
        return (
            Stage("latency", target=self.target, seconds=3600),
            Stage("error", Objective("error"), seconds=1800),
            Stage("sample", Objective(f"{self.metric}_sample", largest=True), seconds=1800),
            Stage("short", Objective(f"{self.metric}_short", largest=True), seconds=_DAY),
            Stage("full", Objective(self.metric, largest=True), seconds=7 * _DAY),
            Stage("compiled", target=self.target, seconds=3600),
        )

    def about(self) -> dict[str, Any]:
        """What all figures depend on, as values that JSON has: weights and data as hashes, and the settings. Where
        files and records lie is no part of it. Loads the model."""
        from secateur.compiler.build.cache import hash_file
        from secateur.compression.train.job import weights_hash

        places = ("model", "folder", "records", "data")
        settings = {name: value for name, value in dataclasses.asdict(self).items() if name not in places}
        # The data is a file, or a folder of files.
        files = [] if self.data is None else sorted(self.data.iterdir()) if self.data.is_dir() else [self.data]
        return {"weights": weights_hash(self._dense()), "data": [hash_file(file) for file in files], **settings}

    def evaluate(self, candidate: Candidate, stage: str) -> Measurement:
        """The figures of a stage. What cannot be built or trained is a failure, in a sentence. Raises `SearchError` for
        another stage."""
        actions: dict[str, Callable[[Candidate], dict[str, float]]] = {
            "latency": self._latency,
            "error": self._error,
            "sample": self._sample,
            "short": lambda given: self._train(given, "short"),
            "full": lambda given: self._train(given, "full"),
            "compiled": self._compiled,
        }
        if stage not in actions:
            raise SearchError(f"the stages are {', '.join(actions)}, found '{stage}'")
        began = time.perf_counter()
        try:
            figures = actions[stage](candidate)
        except SecateurError as error:
            return Measurement({}, str(error), time.perf_counter() - began)
        wrong = [name for name, value in figures.items() if not math.isfinite(value)]
        failure = f"'{wrong[0]}' of the candidate is {figures[wrong[0]]}" if wrong else None
        return Measurement({} if wrong else figures, failure, time.perf_counter() - began)

    def trained(self, candidate: Candidate, stage: str = "full") -> Path:
        """Where the candidate that a stage trains is a Hugging Face folder once that is done."""
        return self.folder / "trained" / f"{_key(candidate)}-{stage}"

    def bundle(self, candidate: Candidate) -> Path:
        """Where the candidate is a bundle once the stage `compiled` is done."""
        return self.folder / "bundles" / _key(candidate)

    def tune_layers(self, candidates: Sequence[Candidate], seconds: float) -> None:
        """Tunes the kernels of the layers of many candidates for `seconds` in all (`LatencyPredictor.tune`)."""
        self._predictor().tune([self._plan(candidate) for candidate in candidates], seconds)

    def measure_layers(self, candidates: Sequence[Candidate]) -> None:
        """Measures what the stage `latency` needs for many candidates at once, which takes far fewer compilations than
        one candidate after the other. What is on record is not measured again. What cannot be measured, as numbers that
        the target has no arithmetic for, is passed over: candidates that have it will say why."""
        self._predictor().measure_cells([self._plan(candidate) for candidate in candidates], pass_over=True)

    def prepare(self) -> "Workbench":
        """Loads what all candidates need and collects the statistics, once in this process."""
        from .workbench import workbench

        places = (self.model, self.task, self.data)
        return workbench(*places, self.window, self.samples, self.held_out, self.seed, self.folder / "statistics")

    def _dense(self) -> Any:
        from .workbench import loaded

        return loaded(self.model, self.task, self.data)[0]

    def _plan(self, candidate: Candidate) -> "Plan":
        from ..spaces.building import plan_for

        return plan_for(candidate, self._dense())

    def _predictor(self) -> "LatencyPredictor":
        from .workbench import predictor

        return predictor(self.model, self.task, self.data, self.target, self.threads, self.window, self.records)

    def _latency(self, candidate: Candidate) -> dict[str, float]:
        from .size import weight_bytes

        predicted = self._predictor().predict(candidate)
        return {
            self._predictor().figure: predicted.cost,
            "weight_bytes": weight_bytes(self._plan(candidate), self._dense()),
        }

    def _compiled(self, candidate: Candidate) -> dict[str, float]:
        from secateur.frontends import load_model

        folder, bundle = self.trained(candidate), self.bundle(candidate)
        done = (folder / "training.json").is_file()
        module = load_model(folder).module if done else self.prepare().build(candidate).cpu()
        compiled = self._predictor().compiled(candidate, module)
        if bundle.exists():
            shutil.rmtree(bundle)
        bundle.parent.mkdir(parents=True, exist_ok=True)
        compiled.save(bundle)
        figures = {
            f"measured_{self._predictor().unit}": self._predictor().time_whole(compiled).cost,
            "bundle_bytes": float(sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())),
        }
        for peak in compiled.peak_memory().values():
            figures["memory_bytes"] = float(peak.model_bytes)
        return figures

    def _error(self, candidate: Candidate) -> dict[str, float]:
        from .error import output_error

        bench = self.prepare()
        return output_error(bench.build_stored(candidate), bench.dense, bench.held_out)

    def _sample(self, candidate: Candidate) -> dict[str, float]:
        return {f"{self.metric}_sample": self._score(self.prepare().build_stored(candidate), self.examples)}

    def _train(self, candidate: Candidate, stage: str) -> dict[str, float]:
        from secateur.compression.train.run import run_training

        recipe = self.short if stage == "short" else self.full
        module = run_training(self._job(candidate, recipe, self.trained(candidate, stage))).module
        # The folder is written: what is scored has the weights that compiling stores.
        self.prepare().store(candidate, module)
        limit, name = (self.examples, f"{self.metric}_short") if stage == "short" else (self.scored, self.metric)
        return {name: self._score(module, limit)}

    def _job(self, candidate: Candidate, recipe: Recipe, out: Path) -> Any:
        from secateur.compression.prune import PruningCallback
        from secateur.compression.train.job import TrainingJob

        bench = self.prepare()
        module = bench.build(candidate).cpu()
        pruned = any(layer.pruning for layer in self._plan(candidate).layers)
        out.parent.mkdir(parents=True, exist_ok=True)
        return TrainingJob(
            module,
            bench.task,
            bench.tokenizer,
            out,
            **recipe.settings(),
            window=self.window,
            seed=self.seed,
            teacher=copy.deepcopy(bench.dense).cpu(),
            start=out.name,
            callbacks=[PruningCallback("fixed")] if pruned else [],
            method={"candidate": candidate_line(candidate), "samples": self.samples},
            evaluate_every=0,
            score_limit=0,
        )

    def _score(self, module: Any, limit: int | None) -> float:
        from secateur.tasks.predict import torch_predict

        bench = self.prepare()
        scores = bench.task.evaluate(
            torch_predict(module.to(next(bench.dense.parameters()).device)),
            bench.tokenizer,
            window=self.window,
            limit=limit,
        )
        return float(scores.metrics[bench.task.metric])


def _key(candidate: Candidate) -> str:
    return hashlib.sha256(candidate_line(candidate).encode()).hexdigest()[:16]
