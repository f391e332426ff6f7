"""Lowers scheduled ops in feature-major panels to kernels and dispatches.

before:
    %y = "sparsity.packed_linear"(%x, %values, %columns, ...) {layout = #sparsity.layout<...>, ...}
after:
    func.func private @linear_3072x768(%x: memref<1x2x768x64xf32>, %values: memref<?xf32>, ..., %result: memref<...>,
                                       %workgroup: index, %panel: index, %batch: index) attributes {sparsity.kernel}
    %y = "sparsity.dispatch"(%x, %values, %columns, ...) {kernel = @linear_3072x768, grid = array<i64: 8, 2, 1>}

Ops that differ in neither shape, scheme nor schedule share a kernel: lengths of packed arrays are dynamic in it.
Preconditions, for an op to be lowered here (it is left alone otherwise, and `convert-sparsity-to-linalg` takes it):
  it has a panel layout with `inner = 1`, or is a `sliced_linear` or `cached_attention`, whose lanes are rows and
    features. Rationale: the other kernels read a feature of many tokens as one run of memory.
  the panel is a multiple of the vector width. Rationale: no remainder loop over tokens exists, so that no load can
    pass the end of a panel.
  attention: the scores of one vector of queries against one panel of keys fit the scratch memory of a workgroup.
The vector width is that of `sparsity.target` (128 bits where the module names none).
"""

import dataclasses
from collections.abc import Callable

from torch_mlir import ir
from torch_mlir.dialects import func

from secateur.dialects.sparsity.kernel_ops import dispatch

from ..base import Pass, PassContext, operands_by_name, walk
from ..target import target_of
from .attention import plan_attention
from .build import Lanes
from .cached_attention import plan_cached_attention
from .convolution import plan_conv
from .elementwise import plan_layer_norm, plan_pointwise, plan_rms_norm
from .linear import plan_linear
from .linear_rows import plan_sliced_linear
from .plan import Plan
from .pooling import plan_max_pool
from .quantize_heads import plan_quantize_heads
from .quantize_tokens import plan_quantize_tokens
from .quantized_attention import plan_quantized_attention
from .quantized_linear import plan_quantized_linear

# An op without a kernel here is left to `convert-sparsity-to-linalg`.
_PLANS: dict[str, Callable[[ir.OpView, Lanes], Plan | None]] = {
    "sparsity.packed_linear": plan_linear,
    "sparsity.packed_conv": plan_conv,
    "sparsity.max_pool": plan_max_pool,
    "sparsity.sliced_linear": plan_sliced_linear,
    "sparsity.attention": plan_attention,
    "sparsity.cached_attention": plan_cached_attention,
    "sparsity.layer_norm": plan_layer_norm,
    "sparsity.rms_norm": plan_rms_norm,
    "sparsity.activation": plan_pointwise,
    "sparsity.gated": plan_pointwise,
    "sparsity.add": plan_pointwise,
    "sparsity.token_scales": plan_quantize_tokens,
    "sparsity.quantize_tokens": plan_quantize_tokens,
    "sparsity.quantized_linear": plan_quantized_linear,
    "sparsity.quantize_heads": plan_quantize_heads,
    "sparsity.quantized_attention": plan_quantized_attention,
}


def kernel_memrefs(op: ir.OpView) -> list[ir.MemRefType]:
    """What a kernel takes for the operands of `op`, then for its result: packed arrays have dynamic lengths."""
    found = []
    for name, value in (*operands_by_name(op).items(), ("result", op.result)):
        shape = list(value.type.shape)
        if name in op.RAGGED:
            shape[0] = ir.ShapedType.get_dynamic_size()
        found.append(ir.MemRefType.get(shape, value.type.element_type))
    return found


def _kernel(module: ir.Module, op: ir.OpView, plan: Plan, name: str, lanes: Lanes) -> None:
    types = [*kernel_memrefs(op), *[ir.IndexType.get()] * 3]
    kernel = func.FuncOp(name, (types, []), visibility="private", ip=ir.InsertionPoint.at_block_begin(module.body))
    kernel.attributes["sparsity.kernel"] = ir.UnitAttr.get()
    block = kernel.add_entry_block()
    arguments = dict(zip([*operands_by_name(op), "result"], block.arguments, strict=False))
    with ir.InsertionPoint(block):
        plan.build(op, arguments, list(block.arguments)[-3:], lanes, plan.vectors)
        func.ReturnOp([])


def _signature(op: ir.OpView, plan: Plan) -> str:
    """What two ops must have in common to share a kernel: all that a builder reads, the whole schedule with it."""
    attributes = [f"{name}={value}" for name, value in op.operation.attributes.items()]
    types = map(str, kernel_memrefs(op))
    return "|".join([op.operation.name, *types, *sorted(attributes), str(plan.vectors), str(plan.grid)])


@dataclasses.dataclass(frozen=True)
class ConvertSparsityToKernels(Pass):
    """Lowers scheduled ops in panels to kernels in func, scf, vector and memref, called by dispatches."""

    name = "convert-sparsity-to-kernels"

    def run(self, module: ir.Module, context: PassContext) -> None:
        target = target_of(module)
        lanes = Lanes(target.vector_bytes // 4, target.by_lane, target.dot, bool(target.gather))
        known: dict[str, str] = {}
        taken: set[str] = {ir.StringAttr(f.attributes["sym_name"]).value for f in walk(module, "func.func")}
        for op in walk(module, *_PLANS):
            plan = _PLANS[op.operation.name](op, lanes)
            if plan is None:
                continue
            signature = _signature(op, plan)
            with op.location:
                if signature not in known:
                    name, count = plan.name, 0
                    while name in taken:
                        count += 1
                        name = f"{plan.name}_{count}"
                    taken.add(name)
                    known[signature] = name
                    _kernel(module, op, plan, name, lanes)
                    context.count("kernels")
                with ir.InsertionPoint(op):
                    new = dispatch([op.result.type], list(operands_by_name(op).values()), known[signature], plan.grid)
            op.result.replace_all_uses_with(new.result0)
            op.operation.erase()
            context.count("dispatches")
