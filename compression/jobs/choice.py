"""Block and rates of a pruning: given, global, by loss, or by what layers cost on a target."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.compression.accelerator import accelerated
from secateur.compression.prune import PruneError, Scheme, parse_scheme, prunable_layers
from secateur.compression.train import TrainError
from secateur.dialects.number_formats import format_of
from secateur.tasks import Task, get_task

from .options import Pruning
from .watcher import Watcher

if TYPE_CHECKING:
    from secateur.compression.prune.second_order import LayerCosts

_WINDOW = 128
_BATCH = 32
# No layer loses more of its weights to `--rates loss`, unless all lose about as many.
_HIGHEST = 0.95


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


def choose(asked: Pruning, module: Any, tokenizer: Any, task: Task | None, watcher: Watcher) -> Chosen:
    """Block and rates as the options say."""
    scheme = parse_scheme(asked.scheme, asked.block)
    if asked.target is not None:
        from secateur.compression.latency.plan import plan
        from secateur.frontends import example_inputs_for

        def costs(of: Scheme) -> Any:
            inputs = calibration_inputs(asked, tokenizer, task)
            found = loss_of_layers(asked, module, inputs, of, watcher)
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
            numbers=format_of(asked.arithmetic),
            clock_ghz=asked.clock_ghz,
            importance=costs if asked.data is not None and scheme.fixed_sparsity is None else None,
            progress=watcher.stage,
        )
        if asked.budget_ms is None:
            return Chosen(found.scheme, {}, asked.include, found)
        # Layers that run merged with others that are not pruned have no rate.
        return Chosen(found.scheme, dict(found.rates), list(found.rates), found)
    if asked.rates == "uniform":
        return Chosen(scheme, {}, asked.include)
    if asked.sparsity is None:
        raise PruneError(f"scheme '{scheme}' has one sparsity: --rates {asked.rates} cannot choose", usage=True)
    if asked.rates == "global":
        from secateur.compression.prune.rates import global_rates

        layers, _ = prunable_layers(module, scheme, asked.include, asked.skip)
        arrays = {name: layer.weight.detach().numpy() for name, layer in layers.items()}  # type: ignore[operator,union-attr]
        return Chosen(scheme, global_rates(arrays, scheme, asked.sparsity), asked.include)
    from secateur.compression.prune.second_order import loss_rates

    costs = loss_of_layers(asked, module, calibration_inputs(asked, tokenizer, task), scheme, watcher)
    return Chosen(scheme, loss_rates(costs, asked.sparsity, max(_HIGHEST, (1 + asked.sparsity) / 2)), asked.include)


def loss_of_layers(
    asked: Pruning, module: Any, inputs: Any, scheme: Scheme, watcher: Watcher
) -> "dict[str, LayerCosts]":
    """What the outputs lose with the weights of each layer."""
    from secateur.compression.prune.second_order import layer_costs

    def tell(done: int, total: int, name: str) -> None:
        watcher.stage(f"what layers lose, {done} of {total}")

    watcher.stage("calibration inputs")
    with accelerated(module):
        return layer_costs(module, inputs, scheme, include=asked.include, skip=asked.skip, progress=tell)


def task_of(data: str | None, watcher: Watcher) -> Task | None:
    """The task that `--data` names, or None for a text file."""
    if data is None:
        return None
    name, equals, file = data.partition("=")
    if equals:
        return get_task(name, Path(file), watcher.stage)
    path = Path(data)
    if path.suffix == ".json" and path.is_file():
        return get_task("squad", path, watcher.stage)
    if path.is_file():
        return None
    return get_task(data, None, watcher.stage)


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
