"""A pass that lives outside the tree: counts ops by name and marks each function with the number of its ops.

Run it without installing anything:

    cd docs/examples
    sparsity-opt model.mlir --load-pass=count_ops:CountOps --count-ops=prefix=arith. --statistics=text

A package that is installed names it in its `pyproject.toml` instead, and `--load-pass` is not needed:

    [project.entry-points."secateur.passes"]
    count-ops = "count_ops:CountOps"
"""

import dataclasses
from typing import ClassVar

from torch_mlir import ir

from secateur.passes.base import Pass, PassContext, PassFailure, functions, walk


@dataclasses.dataclass(frozen=True)
class CountOps(Pass):
    """Marks each function with the number of ops in it whose name begins with `prefix`.

        func.func @f(...) { arith.addf }   ->   func.func @f(...) attributes {count = 1 : i64} { arith.addf }

    Statistics: the same count by op name. Precondition: a function has at most `limit` such ops (0: any number).
    Rationale: none but to show how a pass refuses an op.
    """

    name: ClassVar[str] = "count-ops"

    prefix: str = ""
    limit: int = 0

    def run(self, module: ir.Module, context: PassContext) -> None:
        for function in functions(module):
            inside = [op for op in walk(function) if op.operation != function.operation]
            counted = [op for op in inside if op.operation.name.startswith(self.prefix)]
            if self.limit and len(counted) > self.limit:
                raise PassFailure(function, f"has {len(counted)} ops, expected at most {self.limit}")
            for op in counted:
                context.count(op.operation.name)
            function.attributes["count"] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), len(counted))
