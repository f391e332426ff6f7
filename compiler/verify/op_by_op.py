"""Every op of a scheduled module by itself: what compiled code makes of its operands, against the op's reference.

A model that rounds activations cannot be held to another computation of itself as closely as one in f32. A difference
of an ulp moves some byte by one, which is much more, and the next rounding takes it up: where rounding alone gives an
error e, a difference d in what is rounded to 127 steps changes about one in 1 / (127 d) bytes and so gives sqrt(1500 d)
e. Three roundings make 0.3 e of 1e-7; BERT-base on bytes is 1e-2 from its own reference, and as far from PyTorch.

So the module is compiled a second time with the results of all ops of the dialect as outputs, and each is compared with
what the op's reference gives for the operands that the *code* computed. Differences do not add up then: results in f32
are held to what f32 models are held to, and bytes and f16 to a step, which few of them may be off by.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from secateur.compiler.errors import VerificationError
from secateur.compiler.semantics.evaluation import evaluate
from secateur.dialects.entry_points import MAIN
from secateur.dialects.locations import module_paths
from secateur.dialects.number_formats import Tolerance
from secateur.dialects.sparsity.ops import OPS, WeightOp
from secateur.dialects.sparsity.ops.packed_linear import HALF_SUMS
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import functions

from .comparison import compare

if TYPE_CHECKING:
    from torch_mlir import ir

HALF = Tolerance(2e-4, 1e-3)
"""Accepted of an op that computes in f32 and writes f16, beside its reference rounded to f16: few numbers are one of
f16's steps off, a part in a thousand of the number."""
MOST_MOVED = 1e-3
"""The part of an op's bytes that may be a step off: those that lie between two steps, to f32's precision."""


@dataclasses.dataclass(frozen=True)
class OpDifference:
    """How far the results of an op are from its reference: `figures` in words, `error` as a number for the worst."""

    name: str
    paths: tuple[str, ...]
    error: float
    figures: str
    passed: bool

    def __str__(self) -> str:
        where = f" of '{', '.join(self.paths)}'" if self.paths else ""
        return f"'{self.name}'{where}: {self.figures}"


def add_outputs(module: "ir.Module") -> "list[ir.Value]":
    """Makes `@main` of `module` return what every op of the dialect gives, behind its own results; those values."""
    from torch_mlir import ir

    main = next(f for f in functions(module) if f.operation.attributes["sym_name"].value == MAIN)
    block = main.operation.regions[0].blocks[0]
    *body, end = block.operations
    returned = list(end.operation.operands)
    shown = [
        result
        for op in body
        if op.operation.name in OPS and not isinstance(op, WeightOp)
        for result in op.operation.results
        if result not in returned
    ]
    with module.context, end.location, ir.InsertionPoint(end):
        ir.Operation.create("func.return", operands=[*returned, *shown])
        end.operation.erase()
        inputs = [argument.type for argument in block.arguments]
        kind = ir.FunctionType.get(inputs, [value.type for value in (*returned, *shown)])
        main.operation.attributes["function_type"] = ir.TypeAttr.get(kind)
    if "res_attrs" in main.operation.attributes:
        del main.operation.attributes["res_attrs"]
    return [*returned, *shown]


def compare_ops(
    module: "ir.Module",
    weights: WeightStore,
    inputs: Sequence[np.ndarray],
    run: "Callable[[ir.Module], Sequence[np.ndarray]]",
) -> list[OpDifference]:
    """The difference of every op of the dialect in `@main` of a scheduled module, in program order.

    `run` compiles a module with outputs added and runs it on `inputs`. `module` is changed.
    """
    values = add_outputs(module)
    found = dict(zip(values, run(module), strict=True))
    differences: list[OpDifference] = []

    def observe(op: "ir.OpView", expected: list[np.ndarray]) -> list[np.ndarray]:
        results = list(op.operation.results)
        if op.operation.name not in OPS or isinstance(op, WeightOp):
            return expected
        for value, array in zip(results, expected, strict=True):
            differences.append(_difference(op, found[value], array))
        return [found[value] for value in results]

    evaluate(module, inputs, weights, observe=observe)
    return differences


def _difference(op: "ir.OpView", found: np.ndarray, expected: np.ndarray) -> OpDifference:
    name, paths = op.operation.name, module_paths(op.location)
    if expected.dtype != np.int8:
        half = expected.dtype == np.float16 and HALF_SUMS not in op.attributes
        difference = compare("", name, found, expected, HALF if half else op.ACCEPTED)
        figures = f"relative L2 {difference.relative_l2:.1e}, scaled maximum {difference.scaled_max:.1e}"
        return OpDifference(name, paths, difference.relative_l2, figures, difference.passed)
    kind = np.uint8 if "zero_point" in op.attributes and op.zero_point.value else np.int8
    steps = np.abs(found.view(kind).astype(int) - expected.view(kind))
    moved, most = float(np.count_nonzero(steps) / max(steps.size, 1)), int(steps.max(initial=0))
    figures = f"{moved:.1e} of its bytes are off, by {most} at most"
    return OpDifference(name, paths, moved, figures, moved <= MOST_MOVED and most <= 1)


def check_ops(differences: Sequence[OpDifference], target: str) -> None:
    """Raises `VerificationError` with the first op whose results are not its reference's."""
    wrong = [d for d in differences if not d.passed]
    if wrong:
        raise VerificationError(
            f"the code for '{target}' computes something else than the op {wrong[0]}; it is the first of "
            f"{len(wrong)} of {len(differences)} ops"
        )
