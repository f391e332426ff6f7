"""A tuning task: one linear layer with its real zeros, as a module of its own at the structural level.

A task in a folder is what a worker process reads; nothing else is shared with it:
    task.mlir      `@main(%x, ...) -> %y`: one `sparsity.linear`, its weights, the target on the module
    weights/       the weight store that it names
    inputs.npz     the inputs, in order
    expected.npz   what the NumPy reference computes from them
    accepted.json  how near a candidate has to come; null: as near as f32 is
"""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.dialects.entry_points import MAIN
from secateur.dialects.number_formats import F32, NumberFormat, Tolerance
from secateur.dialects.sparsity.attributes import TARGET, numbers_of
from secateur.dialects.sparsity.ops.weight import symbol_of, weight_behind
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext, operands_by_name, walk
from secateur.passes.scheduled import schedule_records
from secateur.passes.scheduled.schedule_space import Layer, Schedule, layer_of
from secateur.passes.scheduled.sparsity_schedule import default_schedule
from secateur.passes.target import target_of

if TYPE_CHECKING:
    from torch_mlir import ir


@dataclasses.dataclass(frozen=True)
class Task:
    """A layer to tune.

    `name` of the first layer of its kind in the model and `count` of them all; `signature` and `key` as records have
    them; `target`, the text of its attribute; `text` of the module, `weights` that it names, and the shape of each of
    its `inputs`; `default`, the schedule without tuning; `numbers`, the format that is noted on the layer.
    """

    name: str
    count: int
    signature: dict[str, Any]
    key: str
    layer: Layer
    target: str
    text: str
    weights: dict[str, np.ndarray]
    inputs: dict[str, tuple[int, ...]]
    default: Schedule
    numbers: NumberFormat = F32

    @property
    def work(self) -> float:
        """Multiply-adds of all layers of this kind."""
        s = self.signature
        return float(self.count * s["kept"] * s["tokens"] * s["batch"])

    def write(self, folder: Path) -> Path:
        """Writes the task into `folder`; see `write_case`."""
        from secateur.compiler.pipeline.context import make_context

        def results(store: WeightStore, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {"y": expected(self.text, store, inputs, make_context())}

        return write_case(folder, self.text, self.weights, self.inputs, results, self.numbers.arithmetic.accepted)


def write_case(
    folder: Path,
    text: str,
    weights: Mapping[str, np.ndarray],
    inputs: Mapping[str, tuple[int, ...]],
    results: Callable[[WeightStore, dict[str, np.ndarray]], dict[str, np.ndarray]],
    accepted: Tolerance | None = None,
) -> Path:
    """Writes a module, its weights, inputs and expected results into `folder`, which is made, and returns it.

    Inputs are random f32 of the given shapes, always the same; `results` computes from them what is expected,
    `accepted` says how near (None: as near as f32 is).
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.mlir").write_text(text)
    store = WeightStore()
    store.update(weights)
    store.save(folder / "weights")
    random = np.random.default_rng(0)
    arrays = {name: random.standard_normal(shape).astype(np.float32) for name, shape in inputs.items()}
    np.savez(folder / "inputs.npz", **arrays)  # type: ignore[arg-type]
    np.savez(folder / "expected.npz", **results(store, arrays))  # type: ignore[arg-type]
    (folder / "accepted.json").write_text(json.dumps(dataclasses.asdict(accepted) if accepted is not None else None))
    return folder


@dataclasses.dataclass(frozen=True)
class Case:
    """What `write_case` wrote of numbers: inputs, expected results, and how near is near enough."""

    inputs: list[np.ndarray]
    expected: list[np.ndarray]
    accepted: Tolerance | None

    @classmethod
    def read(cls, folder: Path) -> "Case":
        """From the folder of a case."""
        accepted = json.loads((folder / "accepted.json").read_text())
        with np.load(folder / "inputs.npz") as inputs, np.load(folder / "expected.npz") as expected:
            return cls(list(inputs.values()), list(expected.values()), Tolerance(**accepted) if accepted else None)


def expected(text: str, store: WeightStore, inputs: dict[str, np.ndarray], context: "ir.Context") -> np.ndarray:
    """What the NumPy reference computes for the linear of a task."""
    from torch_mlir import ir

    from secateur.dialects.sparsity.reference import evaluate

    with context:
        module = ir.Module.parse(text)
        (op,) = walk(module, "sparsity.linear")
        operands = [
            inputs[name] if weight_behind(value) is None else PassContext(store).array(weight_behind(value))
            for name, value in operands_by_name(op).items()
        ]
        storage = numbers_of(op).storage
        position = list(operands_by_name(op)).index("weight")
        operands[position] = storage.read_rows(*storage.store_rows(operands[position]))
        return evaluate(op, operands, store)[0]


def tasks_of(module: "ir.Module", weights: WeightStore, panel: int = 0) -> list[Task]:
    """The tasks of a structural, fused module: its linear layers with a known f32 weight, one per signature.

    Those that take the most work come first. `panel`: tokens in a panel, 0 for those that `sparsity-layout` chooses.
    """
    found: dict[str, Task] = {}
    context, target = PassContext(weights), target_of(module)
    text, tools = schedule_records.target_text(module), schedule_records.code_generator()
    for number, op in enumerate(walk(module, "sparsity.linear")):
        signature = schedule_records.signature_of(op, context, panel)
        layer = layer_of(op, target, panel)
        if signature is None or layer is None or signature["type"] != "f32":
            continue
        key = schedule_records.record_key(signature, text, tools)
        if key in found:
            found[key] = dataclasses.replace(found[key], count=found[key].count + 1)
            continue
        weight = weight_behind(op.weight)
        assert weight is not None
        operands = operands_by_name(op)
        arrays = {name: weight_behind(value) for name, value in operands.items()}
        found[key] = Task(
            name=layer_name(symbol_of(weight) or f"linear_{number}"),
            count=1,
            signature=signature,
            key=key,
            layer=layer,
            target=text,
            text=task_text(module, op),
            weights={name: context.array(w) for name, w in arrays.items() if w is not None},
            inputs={name: tuple(value.type.shape) for name, value in operands.items() if arrays[name] is None},
            default=default_schedule(op, target, context),
            numbers=numbers_of(op),
        )
    return sorted(found.values(), key=lambda task: -task.work)


def layer_name(symbol: str) -> str:
    """The layer of a weight's symbol; of one that was merged, `self.query+key+value` for what the layers share."""
    first, *others = (part.removesuffix(".weight") for part in symbol.split("+"))
    shared = first.rpartition(".")[0] + "."
    return "+".join([first, *(name.removeprefix(shared) for name in others)])


def task_text(module: "ir.Module", op: "ir.OpView") -> str:
    """A module of `op` alone: operands that are no weights are arguments, and weights are named after operands."""
    from torch_mlir import ir
    from torch_mlir.dialects import func

    operands = operands_by_name(op)
    outside = [value for value in operands.values() if weight_behind(value) is None]
    with module.context, ir.Location.unknown():
        alone = ir.Module.create()
        if TARGET in module.operation.attributes:
            alone.operation.attributes[TARGET] = module.operation.attributes[TARGET]
        with ir.InsertionPoint(alone.body):
            main = func.FuncOp(MAIN, ([value.type for value in outside], [op.result.type]))
        block = main.add_entry_block()
        arguments = iter(block.arguments)
        with ir.InsertionPoint(block):
            inside = []
            for name, value in operands.items():
                weight = weight_behind(value)
                if weight is None:
                    inside.append(next(arguments))
                    continue
                copy = weight.operation.clone()
                copy.attributes["source"] = ir.StringAttr.get(name)
                inside.append(copy.results[0])
            linear = op.operation.clone()
            for position, value in enumerate(inside):
                linear.operands[position] = value
            func.ReturnOp([linear.results[0]])
        return str(alone)
