"""What all candidates of a search are made from, loaded once in a process: the dense model, inputs, statistics."""

import copy
import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import nn

from secateur.compression.prune.layers import prunable_layers
from secateur.compression.prune.second_order.rounding import nearest
from secateur.compression.train.task_model import load_task_model
from secateur.tasks import get_task
from secateur.tasks.task import Arrays, Task

from ..cut import Statistics, collect
from ..latency import LatencyPredictor, predictor_of
from ..space import Candidate
from ..spaces.building import build, number_plan, plan_for

_Rest = ParamSpec("_Rest")
_Result = TypeVar("_Result")

_HELD_OUT = 1
"""Added to the seed that inputs for pruning are drawn by: the output error is found on others."""


@dataclasses.dataclass(frozen=True)
class Workbench:
    """The `dense` module (on the GPU where there is one), the task and tokenizer that go with it, inputs `batches` that
    candidates are fitted to and others `held_out`, and statistics of the former."""

    dense: nn.Module
    task: Task
    tokenizer: Any
    batches: list[Arrays]
    held_out: list[Arrays]
    statistics: Statistics

    def build(self, candidate: Candidate) -> Any:
        """The candidate's module with the weights it inherits."""
        return build(candidate, self.dense, self.statistics, self.batches)

    def build_stored(self, candidate: Candidate) -> Any:
        """The same with the weights of its layers rounded to what they are stored as."""
        return self.store(candidate, self.build(candidate))

    def store(self, candidate: Candidate, module: Any) -> Any:
        """Rounds the linear layers of the encoder in place to what the candidate stores them as; returns the module.

        That is what compiling does to them; it also rounds embeddings, and activations in arithmetic on bytes.
        """
        numbers = number_plan(plan_for(candidate, self.dense), module)
        with torch.no_grad():
            for name, layer in {} if numbers.is_f32 else prunable_layers(module)[0].items():
                weight: Any = layer.weight
                weight.copy_(nearest(weight.detach().float().cpu(), numbers.of(name).storage).to(weight))
        return module


def _once(
    function: Callable[Concatenate[str, str, Path | None, _Rest], _Result],
) -> Callable[Concatenate[str, str, Path | None, _Rest], _Result]:
    """Keeps what `function` returned, as long as neither the model's files nor the data changed."""

    @functools.lru_cache(maxsize=2)
    def kept(files: Any, model: str, task: str, data: Path | None, *rest: Any, **named: Any) -> _Result:
        return function(model, task, data, *rest, **named)

    @functools.wraps(function)
    def call(model: str, task: str, data: Path | None, *rest: _Rest.args, **named: _Rest.kwargs) -> _Result:
        return kept((*_state(Path(model)), *_state(data)), model, task, data, *rest, **named)

    return call


def _state(place: Path | None) -> list[tuple[str, int, int]]:
    """Name, size and time of change of a file, or of those in a folder; nothing of what is not there."""
    files = [] if place is None else sorted(place.rglob("*")) if place.is_dir() else [place]
    return [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]


@_once
def loaded(model: str, task_name: str, data: Path | None) -> tuple[Any, Any, Task]:
    """The dense module on the CPU, its tokenizer, and the task."""
    task = get_task(task_name, data)
    # Candidates inherit what the dense model can do: one that is not trained on the task can nothing.
    return *load_task_model(model, task, new_head=False), task


@_once
def predictor(
    model: str,
    task_name: str,
    data: Path | None,
    target: str,
    threads: int,
    window: int,
    records: Path | None,
) -> LatencyPredictor:
    """What predicts and measures costs of the candidates of a model's folder, for a window of so many tokens."""
    dense, _, _ = loaded(model, task_name, data)
    return predictor_of(dense, target=target, threads=threads, tokens=window, cache=records)


@_once
def workbench(
    model: str, task_name: str, data: Path | None, window: int, samples: int, held_out: int, seed: int, cache: Path
) -> Workbench:
    """The workbench of a model's folder; statistics are kept in `cache`."""
    dense, tokenizer, task = loaded(model, task_name, data)
    if torch.cuda.is_available():
        dense = copy.deepcopy(dense).cuda()
    batches = task.calibration_inputs(tokenizer, samples=samples, window=window, seed=seed)
    others = task.calibration_inputs(tokenizer, samples=held_out, window=window, seed=seed + _HELD_OUT)
    return Workbench(dense, task, tokenizer, batches, others, collect(dense, batches, cache=cache))
