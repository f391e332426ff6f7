"""Lowers packed layers, attention, layer norms and rounding to bytes in feature-major panels to kernels for a GPU.

before:
    %y = "sparsity.packed_linear"(%x, %values, %columns, ...) {layout = #sparsity.layout<...>, ...}
    %z = "sparsity.attention"(%y, %y, %y, %mask) {layout = #sparsity.layout<...>, ...}
after:
    func.func private @gpu_linear_3072x768(%x: memref<1x2x768x64xf32>, ..., %result: memref<1x2x3072x64xf32>,
        %tokens: index, %tile: index, %panel: index)
        attributes {sparsity.kernel, sparsity.threads = array<i64: 16, 4, 1>}
    %y = "sparsity.dispatch"(%x, %values, ...) {kernel = @gpu_linear_3072x768, grid = array<i64: 16, 384, 2>}
    %z = "sparsity.dispatch"(%y, %y, %y, %mask) {kernel = @gpu_attention_12x64, ...}

A point of the grid is a thread; `sparsity.threads` of them in each direction are a workgroup. The other ops are left to
`convert-sparsity-to-linalg`.

Preconditions (an op is left alone otherwise): a panel layout, packed arrays. Rationale: threads read runs of tokens.
Weights may be stored in f32, or in f16 or int8 with scales: they are read as f32, int8 four at a time as words.
Rationale: not every GPU has numbers of 8 bits in memory. Activations of bytes are signed.
Rationale: the products of bytes that Vulkan's GPUs have are those of signed ones. The scales of tokens and the bytes
that are rounded by them are one kernel.
"""

import dataclasses
from collections.abc import Callable

from torch_mlir import ir
from torch_mlir.dialects import func

from secateur.dialects.sparsity.kernel_ops import dispatch
from secateur.dialects.sparsity.ops.attention import head_slices
from secateur.dialects.sparsity.ops.quantized_linear import QuantizedLinearOp, group_of
from secateur.dialects.sparsity.rules import activation_of, features_of, layout_of

from ..base import Pass, PassContext, operands_by_name, walk
from .build import Value
from .convert_sparsity_to_kernels import kernel_memrefs
from .gpu_attention import attention_grid, build_attention
from .gpu_linear import build_gpu_linear, linear_threads
from .gpu_norm import build_norm, norm_grid
from .gpu_quantize import build_rounding, rounding_grid

THREADS = "sparsity.threads"
# Threads of a workgroup: a whole subgroup of every phone's GPU, and half of what the Android baseline profile grants.
_WORKGROUP = 64


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """A kernel of an op: its `name`, the points of its grid, the threads of a workgroup, and what adds its body:
    `build(arguments, place)`, where the arguments are the op's operands by name and `result`. `first`: the name of the
    operand that the kernel computes too, in place of the op that makes it."""

    name: str
    grid: list[int]
    threads: list[int]
    build: Callable[[dict[str, Value], list[Value]], None]
    first: str = ""


def _linear(op: ir.OpView) -> _Kernel | None:
    threads = linear_threads(op, _WORKGROUP)
    if threads is None:
        return None
    batch, panels, _, _ = layout_of(op).sizes(op.result.type.shape)
    activation = activation_of(op)
    suffix = ("_" + activation if activation != "none" else "") + ("_residual" if op.residual else "")
    columns = features_of(op, op.x)
    if isinstance(op, QuantizedLinearOp):
        columns = group_of(op) * op.x.type.shape[2]
        suffix += "_rows_of_bytes" if group_of(op) == 1 else "_bytes"
    grid = [threads.runs * threads.pieces, op.rows.type.shape[0], panels * batch]
    name = f"gpu_linear_{features_of(op, op.result)}x{columns}{suffix}"
    return _Kernel(name, grid, threads.workgroup, lambda a, place: build_gpu_linear(op, a, place, panels, threads))


def _attention(op: ir.OpView) -> _Kernel | None:
    sizes = attention_grid(op)
    if sizes is None:
        return None
    name = f"gpu_attention_{op.heads.value}x{head_slices(op)[1]}"
    return _Kernel(name, sizes.grid, [sizes.threads, 1, 1], lambda a, place: build_attention(op, a, place, sizes))


def _layer_norm(op: ir.OpView) -> _Kernel | None:
    sizes = norm_grid(op)
    if sizes is None:
        return None
    name = f"gpu_layer_norm_{features_of(op, op.result)}" + ("_residual" if op.residual else "")
    return _Kernel(name, sizes.grid, [sizes.threads, 1, 1], lambda a, place: build_norm(op, a, place, sizes))


def _rounding(op: ir.OpView) -> _Kernel | None:
    sizes = rounding_grid(op)
    if sizes is None:
        return None
    made = op.scales.owner
    both = not isinstance(made, ir.Block) and made.name == "sparsity.token_scales" and made.opview.x == op.x
    form = "rows" if op.layout.tile()[1] == 1 else f"by_{op.layout.tile()[1]}"
    name = f"gpu_quantize_{op.x.type.shape[2]}_{form}" + ("" if both else "_by_scales")

    def build(arguments: dict[str, Value], place: list[Value]) -> None:
        build_rounding(op, arguments, place, sizes, both)

    return _Kernel(name, sizes.grid, [sizes.threads, 1, 1], build, "scales" if both else "")


_KERNELS: dict[str, Callable[[ir.OpView], _Kernel | None]] = {
    "sparsity.packed_linear": _linear,
    "sparsity.quantized_linear": _linear,
    "sparsity.quantize_tokens": _rounding,
    "sparsity.attention": _attention,
    "sparsity.layer_norm": _layer_norm,
}


@dataclasses.dataclass(frozen=True)
class ConvertSparsityToGpuKernels(Pass):
    """Lowers layers, attention and norms in panels to kernels whose grid points are a GPU's threads."""

    name = "convert-sparsity-to-gpu-kernels"

    def run(self, module: ir.Module, context: PassContext) -> None:
        known: dict[str, str] = {}
        taken = {ir.StringAttr(f.attributes["sym_name"]).value for f in walk(module, "func.func")}
        for op in walk(module, *_KERNELS):
            kernel = _KERNELS[op.operation.name](op)
            if kernel is None:
                continue
            signature = _signature(op, kernel)
            # What the kernel computes first is there for all that reads it.
            made = getattr(op, kernel.first).owner if kernel.first else None
            operands = {n: value for n, value in operands_by_name(op).items() if n != kernel.first}
            results = [op.result] if made is None else [getattr(op, kernel.first), op.result]
            place = op.location if made is None else ir.Location.fused([made.location, op.location])
            with place:
                if signature not in known:
                    known[signature] = _unused(kernel.name, taken)
                    _add(module, op, kernel, known[signature])
                    context.count("kernels")
                with ir.InsertionPoint(made or op):
                    types = [result.type for result in results]
                    new = dispatch(types, list(operands.values()), known[signature], kernel.grid)
            for result, value in zip(results, new.operation.results, strict=True):
                result.replace_all_uses_with(value)
            op.operation.erase()
            if made is not None:
                made.erase()
            context.count("dispatches")


def _unused(name: str, taken: set[str]) -> str:
    found, count = name, 0
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    taken.add(found)
    return found


def _signature(op: ir.OpView, kernel: _Kernel) -> str:
    """What two ops must have in common to share a kernel: all that a builder reads."""
    attributes = sorted(f"{name}={value}" for name, value in op.operation.attributes.items())
    memrefs = map(str, kernel_memrefs(op))
    return "|".join([kernel.name, *memrefs, *attributes, str(kernel.grid), str(kernel.threads)])


def _add(module: ir.Module, op: ir.OpView, kernel: _Kernel, name: str) -> None:
    memrefs = dict(zip((*operands_by_name(op), "result"), kernel_memrefs(op), strict=True))
    names = [*(name for name in memrefs if name not in (kernel.first, "result")), kernel.first, "result"]
    types = [*(memrefs[name] for name in names if name), *[ir.IndexType.get()] * 3]
    added = func.FuncOp(name, (types, []), visibility="private", ip=ir.InsertionPoint.at_block_begin(module.body))
    added.attributes["sparsity.kernel"] = ir.UnitAttr.get()
    added.attributes[THREADS] = ir.DenseI64ArrayAttr.get(kernel.threads)
    block = added.add_entry_block()
    with ir.InsertionPoint(block):
        *arguments, x, y, z = block.arguments
        kernel.build(dict(zip(filter(None, names), arguments, strict=True)), [x, y, z])
        func.ReturnOp([])
