"""Joins neighbouring structural ops, so that fewer tensors travel through memory.

before:
    %q = "sparsity.linear"(%x, %wq, %bq);  %k = ...(%x, %wk, %bk);  %v = ...(%x, %wv, %bv)
    %a = "sparsity.attention"(%q, %k, %v, %mask) {...}
    %h = "sparsity.linear"(%a, %w1, %b1);  %g = "sparsity.activation"(%h) {kind = "gelu"}
    %o = "sparsity.linear"(%g, %w2, %b2);  %s = "sparsity.add"(%o, %a)
    %n = "sparsity.layer_norm"(%s, %gamma, %beta)
after:
    %qkv = "sparsity.linear"(%x, %w, %b)
    %a = "sparsity.attention"(%qkv, %qkv, %qkv, %mask) {..., offsets = [0, 768, 1536], depth = 64 : i64}
    %g = "sparsity.linear"(%a, %w1, %b1) {activation = "gelu"}
    %s = "sparsity.linear"(%g, %w2, %b2, residual %a)
    %n = "sparsity.layer_norm"(%s, %gamma, %beta)

First come rewrites from the mathematical properties of ops (`passes/structural/fusion/rewrites.py`): constants of a sum
become one, scales and shifts move into weights, sums are regrouped so that every linear meets a residual, and linears
become fewer where that multiplies less. Then every fusion site takes the variant that `plan` names, or the one that
moves the fewest bytes. `docs/fusion.md` lists rewrites, sites and variants.

Preconditions: a producer that is joined has no other reader. Rationale: its result disappears.
  Merged linears read the same x, feed the same attention, are without epilogue and have constant weights. Rationale: an
    epilogue applies to all rows. Where their encodings differ, the merged weight takes the one of theirs that is
    smallest for all rows. Rationale: the merged weight must keep its zeros describable.
  What a rewrite folds is constant, and finite in f32 afterwards. Rationale: an overflow would change the result.
Rewrites and merged constants are computed in float64 and rounded once; results change in their last bits only.
"""

import dataclasses

from torch_mlir import ir

from ..base import Pass, PassContext, PassFailure, walk
from .fusion import PlanError, apply, read_plan, simplify


def _erase_unused(module: ir.Module) -> None:
    """Erases constants and empty tensors that nothing reads any more."""
    for op in walk(module, "sparsity.weight", "tensor.empty"):
        if next(iter(op.operation.results[0].uses), None) is None:
            op.operation.erase()


@dataclasses.dataclass(frozen=True)
class SparsityFuse(Pass):
    """Fuses activations, residuals and layer norms into neighbours; merges query, key and value; folds constants.

    Options: `plan` chooses variants of fusion sites: `residual=into-layer-norm,qkv=separate`, or a file named *.json.
    `rewrites=false` leaves out the rewrites from mathematical properties.
    Statistics: what was fused, by kind of site, and the rewrites by name.
    """

    plan: str = ""
    rewrites: bool = True

    name = "sparsity-fuse"

    def run(self, module: ir.Module, context: PassContext) -> None:
        try:
            plan = read_plan(self.plan)
        except PlanError as error:
            raise PassFailure(module.operation, f"cannot be fused as planned: {error}") from None
        with module.context:
            if self.rewrites:
                simplify(module, context)
            apply(module, plan, context)
            _erase_unused(module)
