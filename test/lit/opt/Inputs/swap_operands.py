"""Passes that do wrong, for the tests of what notices it."""

import dataclasses
from typing import ClassVar

from torch_mlir import ir

from secateur.passes.base import Pass, PassContext, functions, walk


@dataclasses.dataclass(frozen=True)
class SwapOperands(Pass):
    """Swaps the operands of each subtraction."""

    name: ClassVar[str] = "swap-operands"

    def run(self, module: ir.Module, context: PassContext) -> None:
        for op in walk(module, "arith.subf"):
            lhs, rhs = op.operation.operands
            op.operation.operands[0], op.operation.operands[1] = rhs, lhs


@dataclasses.dataclass(frozen=True)
class BreakReturn(Pass):
    """Gives each function a result type that its return does not have."""

    name: ClassVar[str] = "break-return"

    def run(self, module: ir.Module, context: PassContext) -> None:
        for function in functions(module):
            inputs = [argument.type for argument in function.regions[0].blocks[0].arguments]
            function.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(inputs, [ir.F32Type.get()]))
