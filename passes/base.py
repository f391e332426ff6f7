"""What a pass is: a frozen dataclass with a name, options as fields, and `run`."""

import dataclasses
import typing
from collections import Counter
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from secateur.dialects.sparsity.ops.weight import WeightError, WeightOp, array_of
from secateur.dialects.weight_store import WeightStore


class PassFailure(Exception):
    """A pass cannot go on. Raised with the op at fault; the pass manager emits the message at its location."""

    def __init__(self, op: ir.OpView | ir.Operation, message: str) -> None:
        super().__init__(message)
        self.location = op.location
        self.message = f"'{op.operation.name}' op {message}"


@dataclasses.dataclass
class PassContext:
    """What a pass is given besides the module.

    `weights`: the arrays that `sparsity.weight` symbols name; passes may add to it, never change an array.
    `statistics`: what was done, by name; counted through `count`.
    """

    weights: WeightStore = dataclasses.field(default_factory=WeightStore)
    statistics: Counter[str] = dataclasses.field(default_factory=Counter)

    def count(self, name: str, amount: float = 1) -> None:
        """Adds `amount` to the statistic `name` (kebab-case)."""
        self.statistics[name] += amount  # type: ignore[assignment]

    def array(self, weight: WeightOp) -> np.ndarray:
        """The array of a `sparsity.weight`; never write to it. Raises `PassFailure` at an op whose array is missing."""
        try:
            return array_of(weight, self.weights)
        except WeightError as error:
            raise PassFailure(weight, str(error)) from None


@dataclasses.dataclass(frozen=True)
class Pass:
    """Base class. A subclass is a frozen dataclass; its fields are the options (`row_tile: int = 8` is
    `{row-tile=8}`; accepted types: bool, int, float, str). It sets `name`, has a docstring whose first line
    is the summary, and implements `run`.
    """

    name: ClassVar[str] = ""

    def run(self, module: ir.Module, context: PassContext) -> None:
        """Rewrites `module` in place. Raises `PassFailure` at the op that breaks a precondition."""
        raise NotImplementedError

    @classmethod
    def options(cls) -> dict[str, tuple[type, object]]:
        """Option name in kebab-case -> (type, default)."""
        hints = typing.get_type_hints(cls)
        return {f.name.replace("_", "-"): (hints[f.name], f.default) for f in dataclasses.fields(cls)}

    @classmethod
    def summary(cls) -> str:
        """The docstring's first line."""
        return (cls.__doc__ or "").strip().split("\n")[0]

    def argument(self) -> str:
        """The text of this pass in a pipeline, with the options that differ from their defaults."""
        given = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                text = str(value).lower() if isinstance(value, bool) else str(value)
                given.append(f"{field.name.replace('_', '-')}={text}")
        return self.name + ("{" + " ".join(given) + "}" if given else "")


def walk(module: ir.Module | ir.OpView | ir.Operation, *names: str) -> list[ir.OpView]:
    """The ops below `module` with one of the `names`, in program order; all ops where no name is given."""
    found: list[ir.OpView] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if not names or op.name in names:
            found.append(op.opview)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def functions(module: ir.Module) -> Iterator[ir.OpView]:
    """The functions of the module that have a body."""
    for op in module.body.operations:
        if op.operation.name == "func.func" and len(op.regions[0].blocks):
            yield op


def operands_by_name(op: ir.OpView) -> dict[str, ir.Value]:
    """The operands of one of our ops by field name, in order; optional ones that are absent are left out."""
    fields = [f.name for f in type(op)._fields if isinstance(f, ext.OperandDef)]
    values = {name: getattr(op, name) for name in fields}
    return {name: value for name, value in values.items() if value is not None}
