"""Lowers scheduled ops in feature-major panels to kernels and dispatches.

before:
    %y = "sparsity.packed_linear"(%x, %values, %columns, ...) {layout = #sparsity.layout<...>, ...}
after:
    func.func private @linear_3072x768(%x: memref<1x2x768x64xf32>, %values: memref<?xf32>, ..., %result: memref<...>,
                                       %workgroup: index, %panel: index, %batch: index) attributes {sparsity.kernel}
    %y = "sparsity.dispatch"(%x, %values, %columns, ...) {kernel = @linear_3072x768, grid = array<i64: 8, 2, 1>}

Ops that differ in neither shape, scheme nor schedule share a kernel: lengths of packed arrays are dynamic in it.
Preconditions, for an op to be lowered here (it is left alone otherwise, and `convert-sparsity-to-linalg` takes it):
  it has a panel layout with `inner = 1`, or is a `sliced_linear`, whose lanes are rows. Rationale: the other kernels
    read a feature of many tokens as one run of memory.
  the panel is a multiple of the vector width. Rationale: no remainder loop over tokens exists, so that no load can
    pass the end of a panel.
  attention: the scores of one vector of queries against one panel of keys fit the scratch memory of a workgroup.
The vector width is that of `sparsity.target` (128 bits where the module names none).
"""

import dataclasses
from collections.abc import Callable

from torch_mlir import ir
from torch_mlir.dialects import func

from secateur.dialects.sparsity.attributes import SCHEDULE
from secateur.dialects.sparsity.kernel_ops import dispatch
from secateur.dialects.sparsity.structural_ops import activation_of, features_of, layout_of

from ..base import Pass, PassContext, operands_by_name, walk
from ..target import TargetDescription, target_of
from .attention import build_attention
from .attention_sizes import query_vectors
from .build import Lanes, largest_divisor
from .elementwise import build_layer_norm, build_pointwise
from .linear import build_linear, token_vectors_of
from .linear_rows import build_sliced_linear, kernel_name, stored_as, token_block

Build = Callable[..., None]

_OPS = [f"sparsity.{n}" for n in ("packed_linear", "sliced_linear", "attention", "layer_norm", "activation", "add")]

# Packed arrays have lengths that depend on the mask; the kernel must not.
_RAGGED = ("values", "columns", "segments", "offsets", "rows", "slice_bias", "slice_scales")


@dataclasses.dataclass
class _Plan:
    """A kernel to be: what builds it, its name, grid and vectors of tokens in registers."""

    build: Build
    name: str
    grid: list[int]
    vectors: int


def _plan(op: ir.OpView, width: int) -> _Plan | None:
    """How `op` becomes a kernel, or None where a precondition fails."""
    if op.operation.name == "sparsity.sliced_linear":
        return _Plan(build_sliced_linear, kernel_name(op), [op.work.type.shape[0] - 1, 1, 1], token_block(op))
    layout = layout_of(op)
    if layout is None or layout.tile()[0] % width or layout.tile()[1] > 1:
        return None
    name = op.operation.name.removeprefix("sparsity.")
    batch, panels, features, tokens = layout.sizes(op.result.type.shape)
    vectors = largest_divisor(tokens // width, 4)
    if name == "packed_linear":
        schedule = op.attributes[SCHEDULE].values() if SCHEDULE in op.attributes else {}
        vectors = token_vectors_of(op, schedule.get("token_vectors", 4), width)
        if vectors == 0:
            return None
        activation = activation_of(op)
        suffix = ("_" + activation if activation != "none" else "") + ("_residual" if op.residual else "")
        suffix += stored_as(op)
        workgroups = op.work.type.shape[0] - 1
        shape = f"{features}x{features_of(op, op.x)}"
        return _Plan(build_linear, f"linear_{shape}{suffix}", [workgroups, panels, batch], vectors)
    if name == "attention":
        vectors = query_vectors(op, width)
        if vectors == 0:
            return None
        heads = op.heads.value
        return _Plan(build_attention, f"attention_{heads}x{features // heads}", [heads, panels, batch], vectors)
    if name == "layer_norm":
        return _Plan(build_layer_norm, f"layer_norm_{features}", [1, panels, batch], vectors)
    if name in ("activation", "add"):
        kind = op.kind.value if name == "activation" else name
        return _Plan(build_pointwise, f"{kind}_{features}", [1, panels, batch], vectors)
    return None


def kernel_memref(name: str, tensor: ir.RankedTensorType) -> ir.MemRefType:
    """What a kernel takes for the operand `name`: packed arrays have dynamic lengths."""
    shape = list(tensor.shape)
    if name in _RAGGED:
        shape[0] = ir.ShapedType.get_dynamic_size()
    return ir.MemRefType.get(shape, tensor.element_type)


def _kernel(module: ir.Module, op: ir.OpView, plan: _Plan, name: str, target: TargetDescription) -> None:
    operands = operands_by_name(op)
    types = [kernel_memref(n, v.type) for n, v in operands.items()]
    types.append(kernel_memref("result", op.result.type))
    types += [ir.IndexType.get()] * 3
    kernel = func.FuncOp(name, (types, []), visibility="private", ip=ir.InsertionPoint.at_block_begin(module.body))
    kernel.attributes["sparsity.kernel"] = ir.UnitAttr.get()
    block = kernel.add_entry_block()
    arguments = dict(zip([*operands, "result"], block.arguments, strict=False))
    with ir.InsertionPoint(block):
        lanes = Lanes(target.vector_bytes // 4, target.by_lane)
        plan.build(op, arguments, list(block.arguments)[-3:], lanes, plan.vectors)
        func.ReturnOp([])


def _signature(op: ir.OpView, plan: _Plan) -> str:
    """What two ops must have in common to share a kernel."""
    types = [str(kernel_memref(n, v.type)) for n, v in operands_by_name(op).items()]
    ignored = ("operandSegmentSizes", SCHEDULE)
    attributes = []
    for name, attribute in op.operation.attributes.items():
        if name not in ignored:
            attributes.append(f"{name}={attribute}")
    schedule = op.attributes[SCHEDULE].values() if SCHEDULE in op.attributes else {}
    loops = [f"{name}={schedule.get(name, 1)}" for name in ("unroll", "tile_group")]
    return "|".join([op.operation.name, *types, str(op.result.type), *sorted(attributes), str(plan.vectors), *loops])


@dataclasses.dataclass(frozen=True)
class ConvertSparsityToKernels(Pass):
    """Lowers scheduled ops in panels to kernels in func, scf, vector and memref, called by dispatches."""

    name = "convert-sparsity-to-kernels"

    def run(self, module: ir.Module, context: PassContext) -> None:
        target = target_of(module)
        known: dict[str, str] = {}
        taken: set[str] = {ir.StringAttr(f.attributes["sym_name"]).value for f in walk(module, "func.func")}
        for op in walk(module, *_OPS):
            plan = _plan(op, target.vector_bytes // 4)
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
                    _kernel(module, op, plan, name, target)
                    context.count("kernels")
                with ir.InsertionPoint(op):
                    new = dispatch(op.result.type, list(operands_by_name(op).values()), known[signature], plan.grid)
            op.result.replace_all_uses_with(new.result)
            op.operation.erase()
            context.count("dispatches")
