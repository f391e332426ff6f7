"""Lowers packed layers, attention and layer norms in feature-major panels to kernels for a GPU's threads.

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
Weights may be stored in f32, or in f16 or int8 with scales: they are read as f32.
"""

import dataclasses
from collections.abc import Callable

from torch_mlir import ir
from torch_mlir.dialects import func

from secateur.dialects.sparsity.kernel_ops import dispatch
from secateur.dialects.sparsity.ops.attention import head_slices
from secateur.dialects.sparsity.rules import activation_of, features_of, layout_of

from ..base import Pass, PassContext, operands_by_name, walk
from .build import Value
from .convert_sparsity_to_kernels import kernel_memrefs
from .gpu_attention import attention_grid, build_attention
from .gpu_linear import build_gpu_linear, linear_threads
from .gpu_norm import build_norm, norm_grid

THREADS = "sparsity.threads"
# Threads of a workgroup: a whole subgroup of every phone's GPU, and half of what the Android baseline profile grants.
_WORKGROUP = 64


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """A kernel of an op: its `name`, the points of its grid, the threads of a workgroup, and what adds its body:
    `build(arguments, place)`, where the arguments are the op's operands by name and `result`."""

    name: str
    grid: list[int]
    threads: list[int]
    build: Callable[[dict[str, Value], list[Value]], None]


def _linear(op: ir.OpView) -> _Kernel | None:
    threads = linear_threads(op, _WORKGROUP)
    if threads is None:
        return None
    batch, panels, _, _ = layout_of(op).sizes(op.result.type.shape)
    activation = activation_of(op)
    suffix = ("_" + activation if activation != "none" else "") + ("_residual" if op.residual else "")
    grid = [threads.runs * threads.pieces, op.rows.type.shape[0], panels * batch]
    name = f"gpu_linear_{features_of(op, op.result)}x{features_of(op, op.x)}{suffix}"
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


_KERNELS: dict[str, Callable[[ir.OpView], _Kernel | None]] = {
    "sparsity.packed_linear": _linear,
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
            with op.location:
                if signature not in known:
                    known[signature] = _unused(kernel.name, taken)
                    _add(module, op, kernel, known[signature])
                    context.count("kernels")
                with ir.InsertionPoint(op):
                    operands = list(operands_by_name(op).values())
                    new = dispatch([op.result.type], operands, known[signature], kernel.grid)
            op.result.replace_all_uses_with(new.result0)
            op.operation.erase()
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
    types = [*kernel_memrefs(op), *[ir.IndexType.get()] * 3]
    added = func.FuncOp(name, (types, []), visibility="private", ip=ir.InsertionPoint.at_block_begin(module.body))
    added.attributes["sparsity.kernel"] = ir.UnitAttr.get()
    added.attributes[THREADS] = ir.DenseI64ArrayAttr.get(kernel.threads)
    block = added.add_entry_block()
    with ir.InsertionPoint(block):
        *arguments, x, y, z = block.arguments
        kernel.build(dict(zip((*operands_by_name(op), "result"), arguments, strict=True)), [x, y, z])
        func.ReturnOp([])
