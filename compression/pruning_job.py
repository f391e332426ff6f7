"""What `secateur prune` does: loads, chooses block and rates, prunes, trains."""

import dataclasses
import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.commands.pruning import AT_ONCE, Pruning
from secateur.commands.training_options import TrainingBar, load_teacher, run_shown
from secateur.frontends import load_model
from secateur.tasks import Task, get_task, load_tokenizer

from .prune import PruneError, PruneReport, Scheme, parse_scheme, prunable_layers, prune_model
from .train import TrainError, TrainingJob, TrainingResult, load_task_model
from .train.job import weights_hash
from .train.run import quiet_transformers
from .train.run_folder import write_json

if TYPE_CHECKING:
    from .prune.second_order import LayerCosts

_WINDOW = 128
_BATCH = 32
# No layer loses more of its weights to `--rates loss`, unless all lose about as many.
_HIGHEST = 0.95


def prune_at_once(asked: Pruning, bar: TrainingBar) -> tuple[PruneReport, Any]:
    """Prunes without training and writes the folder: the report, and the plan where a target chose. Raises
    `FileExistsError` where the folder holds something."""
    _check_free(asked.out)
    parse_scheme(asked.scheme, asked.block)
    bar.stage("loading")
    task = task_of(asked.data, bar)
    if asked.weights is not None and task is None:
        raise TrainError("--weights needs a task, whose head the model gets: --data squad or --data sentiment")
    if task is not None and asked.weights is not None:
        module, tokenizer = load_task_model(asked.model, task, asked.weights, asked.seed)
        files = load_model(asked.model).tokenizer_files
    else:
        loaded = load_model(asked.model)
        module, files = loaded.module, loaded.tokenizer_files
        tokenizer = load_tokenizer(asked.model) if asked.data is not None else None
    chosen = choose(asked, module, tokenizer, task, bar)
    pruned, report = _prune(asked, module, chosen, tokenizer, task, bar)
    bar.stage("writing")
    _save(pruned, files, asked.out)
    return report, chosen.plan


def prune_and_train(
    asked: Pruning, bar: TrainingBar, teacher: str | None, teacher_weights: Path | None, **length: Any
) -> tuple[TrainingResult, Any]:
    """Prunes at once or in training, trains, and writes the folder. Goes on with a training that was stopped."""
    from .prune import PruningCallback

    parse_scheme(asked.scheme, asked.block)
    bar.stage("loading")
    task = task_of(asked.data, bar)
    if task is None:
        raise TrainError(f"a training needs a task: --data squad or --data sentiment, found '{asked.data}'")
    module, tokenizer = load_task_model(asked.model, task, asked.weights, asked.seed)
    key = hashlib.sha256(json.dumps([asked.description(), weights_hash(module)]).encode()).hexdigest()[:16]
    start = _Start(asked.out, key)
    values, plan = start.read(), None
    if values is None:
        values = {"rates": {}, "include": asked.include, "scheme": asked.scheme, "block": asked.block}
        # Where the folder holds another training, that is refused before anything takes long.
        if asked.method != "fixed" and not start.is_of_another():
            chosen = choose(asked, module, tokenizer, task, bar)
            plan = chosen.plan
            if asked.method in AT_ONCE:
                module, _ = _prune(asked, module, chosen, tokenizer, task, bar)
            values = start.write(module, chosen.to_dict())
    elif asked.method in AT_ONCE:
        start.load(module)
    if asked.method in (*AT_ONCE, "fixed"):
        callback = PruningCallback("fixed", include=values["include"], skip=asked.skip)
    else:
        callback = PruningCallback(
            asked.method,
            values["scheme"],
            values["block"],
            asked.sparsity,
            rates=values["rates"] or None,
            include=values["include"],
            skip=asked.skip,
        )
    job = TrainingJob(
        module,
        task,
        tokenizer,
        asked.out,
        seed=asked.seed,
        teacher=load_teacher(teacher, teacher_weights, task, asked.model, asked.weights),
        start=key,
        callbacks=[callback],
        method=asked.description(),
        notes=values,
        **length,
    )
    return run_shown(job, bar), plan


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The scheme with its block, the rates by layer (none: uniform), the layers (as `include`), and the plan where a
    target chose them."""

    scheme: Scheme
    rates: dict[str, float]
    include: Sequence[str] | None
    plan: Any = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        name, _, block = str(self.scheme).partition(" ")
        plan = self.plan.to_dict() if self.plan is not None else None
        return {"scheme": name, "block": block or None, "rates": self.rates, "include": self.include, "plan": plan}


def choose(asked: Pruning, module: Any, tokenizer: Any, task: Task | None, bar: TrainingBar) -> Chosen:
    """Block and rates as the options say."""
    scheme = parse_scheme(asked.scheme, asked.block)
    if asked.target is not None:
        from secateur.frontends import example_inputs_for

        from .latency.plan import plan

        def costs(of: Scheme) -> Any:
            inputs = calibration_inputs(asked, tokenizer, task)
            found = loss_of_layers(asked, module, inputs, of, bar)
            return lambda name, sparsity: found[name].loss(sparsity)

        blocks = asked.blocks or ([asked.block] if asked.block is not None else None)
        found = plan(
            module.eval(),
            asked.target,
            asked.budget_ms,
            example_inputs=example_inputs_for(module, 1, _WINDOW),
            scheme=asked.scheme,
            blocks=blocks,
            sparsity=asked.sparsity,
            include=asked.include,
            skip=asked.skip,
            clock_ghz=asked.clock_ghz,
            importance=costs if asked.data is not None and scheme.name != "nm" else None,
            progress=bar.stage,
        )
        if asked.budget_ms is None:
            return Chosen(found.scheme, {}, asked.include, found)
        # Layers that run merged with others that are not pruned have no rate.
        return Chosen(found.scheme, dict(found.rates), list(found.rates), found)
    if asked.rates == "uniform":
        return Chosen(scheme, {}, asked.include)
    if asked.sparsity is None:
        raise PruneError(f"scheme '{scheme}' has one sparsity: --rates {asked.rates} cannot choose")
    if asked.rates == "global":
        from .prune.rates import global_rates

        layers, _ = prunable_layers(module, scheme, asked.include, asked.skip)
        arrays = {name: layer.weight.detach().numpy() for name, layer in layers.items()}  # type: ignore[operator,union-attr]
        return Chosen(scheme, global_rates(arrays, scheme, asked.sparsity), asked.include)
    from .prune.second_order import loss_rates

    costs = loss_of_layers(asked, module, calibration_inputs(asked, tokenizer, task), scheme, bar)
    return Chosen(scheme, loss_rates(costs, asked.sparsity, max(_HIGHEST, (1 + asked.sparsity) / 2)), asked.include)


def loss_of_layers(
    asked: Pruning, module: Any, inputs: Any, scheme: Scheme, bar: TrainingBar
) -> "dict[str, LayerCosts]":
    """What the outputs lose with the weights of each layer."""
    from .prune.second_order import layer_costs

    def tell(done: int, total: int, name: str) -> None:
        bar.stage(f"what layers lose, {done} of {total}")

    bar.stage("calibration inputs")
    return layer_costs(module, inputs, scheme, include=asked.include, skip=asked.skip, progress=tell)


def _prune(
    asked: Pruning,
    module: Any,
    chosen: Chosen,
    tokenizer: Any,
    task: Task | None,
    bar: TrainingBar,
) -> tuple[Any, PruneReport]:
    options: dict[str, Any] = {
        "rates": chosen.rates or None,
        "include": chosen.include,
        "skip": asked.skip,
        "copy": False,
        "progress": lambda done, total, name: bar.stage(f"layer {done} of {total} {name}"),
    }
    if asked.method == "one-shot":
        return prune_model(module, chosen.scheme, asked.sparsity, **options)
    from .prune.second_order import prune_second_order

    bar.stage("calibration inputs")
    return prune_second_order(
        module, calibration_inputs(asked, tokenizer, task), chosen.scheme, asked.sparsity, **options
    )


def task_of(data: str | None, bar: TrainingBar) -> Task | None:
    """The task that `--data` names, or None for a text file."""
    if data is None:
        return None
    name, equals, file = data.partition("=")
    if equals:
        return get_task(name, Path(file), bar.stage)
    path = Path(data)
    if path.suffix == ".json" and path.is_file():
        return get_task("squad", path, bar.stage)
    if path.is_file():
        return None
    return get_task(data, None, bar.stage)


def calibration_inputs(asked: Pruning, tokenizer: Any, task: Task | None) -> list[dict[str, Any]]:
    """Unlabelled inputs of the task, or the lines of the text file. Raises `TrainError`."""
    if task is not None:
        return task.calibration_inputs(tokenizer, samples=asked.samples, window=_WINDOW, seed=asked.seed)
    assert asked.data is not None
    try:
        lines = [line for line in Path(asked.data).read_text(encoding="utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise TrainError(f"'{asked.data}' is no text in UTF-8; expected an input a line") from None
    lines = lines[: asked.samples]
    if not lines:
        raise TrainError(f"'{asked.data}' is empty; expected an input a line")
    return [
        dict(tokenizer(lines[i : i + _BATCH], padding=True, truncation=True, max_length=_WINDOW, return_tensors="np"))
        for i in range(0, len(lines), _BATCH)
    ]


class _Start:
    """What a training begins with, kept in its folder, so that a stopped one need not prune and measure again."""

    def __init__(self, out: Path, key: str) -> None:
        self._out, self._folder, self._key = out, out / "checkpoints" / "start", key

    def read(self) -> dict[str, Any] | None:
        """What `write` wrote, also where the training has come to its end; None where there is none of this key."""
        values = _read(self._folder / "start.json")
        if values is not None and values["key"] == self._key:
            return {name: value for name, value in values.items() if name != "key"}
        finished = _read(self._out / "training.json")
        return finished["notes"] if finished is not None and finished["job"]["start"] == self._key else None

    def is_of_another(self) -> bool:
        """Whether another training has the folder."""
        held = _read(self._out / "training.json") or _read(self._folder.parent / "job.json")
        return held is not None and held["job"]["start"] != self._key

    def write(self, module: Any, values: dict[str, Any]) -> dict[str, Any]:
        """Keeps the module's weights and `values`."""
        from safetensors.torch import save_file

        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        save_file(
            {n: t.contiguous().clone() for n, t in module.state_dict().items()}, self._folder / "start.safetensors"
        )
        write_json(self._folder / "start.json", {**values, "key": self._key})
        return values

    def load(self, module: Any) -> None:
        """Gives the module the weights."""
        from safetensors.torch import load_file

        file = self._folder / "start.safetensors"
        # A finished training brings its own weights.
        if file.is_file():
            module.load_state_dict(load_file(file))


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _check_free(out: Path) -> None:
    """Raises `FileExistsError` where `out` holds something."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(f"'{out}' exists; name a new folder")


def _save(model: Any, tokenizer_files: list[Path], out: Path) -> None:
    """Writes a Hugging Face folder whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with quiet_transformers(), tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.new-") as scratch:
        folder = Path(scratch) / out.name
        model.save_pretrained(folder)
        for file in tokenizer_files:
            shutil.copyfile(file, folder / Path(file).name)
        if out.is_dir():
            out.rmdir()
        folder.rename(out)
