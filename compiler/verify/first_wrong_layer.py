"""Which linear layer of a wrongly compiled model is the first to differ from PyTorch.

The structural module is cut off behind a linear layer, compiled and run, and what it returns is compared with what
PyTorch's module of that name returns. Cutting (instead of returning every layer at once) keeps what stands before the
layer fused as in the whole model. Bisection finds the layer in log2(layers) compilations; it presumes that what
follows a wrong layer is wrong too.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from secateur.dialects.entry_points import MAIN
from secateur.dialects.sparsity.ops.weight import symbol_of
from secateur.passes.base import walk

from .comparison import Difference, compare, torch_outputs

if TYPE_CHECKING:
    import torch
    from torch_mlir import ir

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Layer:
    """A linear layer of a structural module: its place among all `sparsity.linear`, its name, PyTorch's result."""

    index: int
    name: str
    expected: np.ndarray


def first_wrong_layer(
    structural: "ir.Module",
    module: "torch.nn.Module",
    arrays: Arrays,
    run: "Callable[[ir.Module], np.ndarray]",
    progress: Callable[[str], None],
) -> str:
    """A sentence about the first layer that differs.

    `structural`: level 2, not changed; `module`: PyTorch's, in evaluation mode; `arrays`: its inputs; `run` compiles a
    module with one result and runs it on them.
    """
    layers = _layers(structural, torch_results(module, arrays))
    if not layers:
        return "no linear layer has a constant weight that a PyTorch module of its own holds"
    right, wrong, found = -1, len(layers), None
    while wrong - right > 1:
        middle = (right + wrong) // 2
        layer = layers[middle]
        progress(f"comparing layer '{layer.name}'")
        result = run(cut_behind(structural, layer.index))
        difference = compare("random", layer.name, result.reshape(layer.expected.shape), layer.expected)
        if difference.passed:
            right = middle
        else:
            wrong, found = middle, difference
    return _sentence(layers, right, found)


def _sentence(layers: list[Layer], right: int, found: Difference | None) -> str:
    if found is None:
        return f"all {len(layers)} linear layers agree: what differs comes after '{layers[-1].name}'"
    before = f"up to '{layers[right].name}' all agree" if right >= 0 else "it is the first of the model"
    return f"the first wrong layer is '{found.output}' (relative L2 {found.relative_l2:.2e}); {before}"


def torch_results(module: "torch.nn.Module", arrays: Arrays) -> dict[str, list[np.ndarray]]:
    """Name of a linear layer -> its result of every call, in order."""
    import torch

    results: dict[str, list[np.ndarray]] = {}
    hooks = []
    for name, part in module.named_modules():
        if isinstance(part, torch.nn.Linear):
            kept = results.setdefault(name, [])
            hooks.append(part.register_forward_hook(lambda _m, _i, out, kept=kept: kept.append(out.detach().numpy())))
    try:
        torch_outputs(module, arrays)
    finally:
        for hook in hooks:
            hook.remove()
    return results


def _layers(structural: "ir.Module", results: dict[str, list[np.ndarray]]) -> list[Layer]:
    calls: dict[str, int] = {}
    found = []
    for index, op in enumerate(walk(structural, "sparsity.linear")):
        if op.weight.owner.name != "sparsity.weight":
            continue
        name = (symbol_of(op.weight.owner.opview) or "").removesuffix(".weight")
        call = calls.get(name, 0)
        calls[name] = call + 1
        if call < len(results.get(name, ())) and results[name][call].size == int(np.prod(op.result.type.shape)):
            found.append(Layer(index, name, results[name][call]))
    return found


def cut_behind(structural: "ir.Module", index: int) -> "ir.Module":
    """A copy of the module whose `@main` returns only the result of the linear layer at `index`."""
    from torch_mlir import ir, passmanager

    with structural.context, ir.Location.unknown():
        copy = ir.Module.parse(structural.operation.get_asm(print_generic_op_form=True))
        linear = walk(copy, "sparsity.linear")[index]
        main = next(op for op in walk(copy, "func.func") if op.attributes["sym_name"].value == MAIN)
        block = main.regions[0].blocks[0]
        inputs = [argument.type for argument in block.arguments]
        last = block.operations[len(block.operations) - 1]
        result = linear.operation.result
        with ir.InsertionPoint(last):
            ir.Operation.create("func.return", operands=[result])
        last.operation.erase()
        main.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, [result.type]))
        if "res_attrs" in main.attributes:
            del main.attributes["res_attrs"]
        passmanager.PassManager.parse("builtin.module(canonicalize,cse)").run(copy.operation)
    return copy
