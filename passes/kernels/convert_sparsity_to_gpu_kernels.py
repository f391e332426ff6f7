"""Lowers packed layers in feature-major panels to kernels for a GPU's threads.

before:
    %y = "sparsity.packed_linear"(%x, %values, %columns, ...) {layout = #sparsity.layout<...>, ...}
after:
    func.func private @gpu_linear_3072x768(%x: memref<1x2x768x64xf32>, ..., %result: memref<1x2x3072x64xf32>,
        %tokens: index, %tile: index, %panel: index)
        attributes {sparsity.kernel, sparsity.threads = array<i64: 16, 4, 1>}
    %y = "sparsity.dispatch"(%x, %values, ...) {kernel = @gpu_linear_3072x768, grid = array<i64: 16, 384, 2>}

A point of the grid is a thread; `sparsity.threads` of them in each direction are a workgroup. The other ops are left to
`convert-sparsity-to-linalg`.

Preconditions (an op is left alone otherwise): a panel layout, packed arrays. Rationale: threads read runs of tokens.
Weights may be stored in f32, or in f16 or int8 with scales: they are read as f32.
"""

import dataclasses

from torch_mlir import ir
from torch_mlir.dialects import func

from secateur.dialects.sparsity.kernel_ops import dispatch
from secateur.dialects.sparsity.rules import activation_of, features_of, layout_of

from ..base import Pass, PassContext, operands_by_name, walk
from ..target import TOKENS_OF_A_THREAD
from .build import largest_divisor
from .convert_sparsity_to_kernels import kernel_memrefs
from .gpu_linear import build_gpu_linear

THREADS = "sparsity.threads"
# Threads of a workgroup: a whole subgroup of every phone's GPU, and half of what the Android baseline profile grants.
_WORKGROUP = 64


def _fits(op: ir.OpView) -> bool:
    layout = layout_of(op)
    return layout is not None and layout.tile()[0] % TOKENS_OF_A_THREAD == 0 and layout.tile()[1] == 1


@dataclasses.dataclass(frozen=True)
class ConvertSparsityToGpuKernels(Pass):
    """Lowers packed layers in panels to kernels whose grid points are a GPU's threads."""

    name = "convert-sparsity-to-gpu-kernels"

    def run(self, module: ir.Module, context: PassContext) -> None:
        known: dict[str, str] = {}
        taken = {ir.StringAttr(f.attributes["sym_name"]).value for f in walk(module, "func.func")}
        for op in walk(module, "sparsity.packed_linear"):
            if not _fits(op):
                continue
            batch, panels, _, tokens = layout_of(op).sizes(op.result.type.shape)
            tiles = op.rows.type.shape[0]
            grid = [tokens // TOKENS_OF_A_THREAD, tiles, panels * batch]
            threads = [grid[0], largest_divisor(tiles, max(1, _WORKGROUP // grid[0])), 1]
            signature = _signature(op, threads)
            with op.location:
                if signature not in known:
                    known[signature] = _unused(_name(op), taken)
                    _kernel(module, op, known[signature], threads)
                    context.count("kernels")
                with ir.InsertionPoint(op):
                    new = dispatch([op.result.type], list(operands_by_name(op).values()), known[signature], grid)
            op.result.replace_all_uses_with(new.result0)
            op.operation.erase()
            context.count("dispatches")


def _name(op: ir.OpView) -> str:
    activation = activation_of(op)
    suffix = ("_" + activation if activation != "none" else "") + ("_residual" if op.residual else "")
    return f"gpu_linear_{features_of(op, op.result)}x{features_of(op, op.x)}{suffix}"


def _unused(name: str, taken: set[str]) -> str:
    found, count = name, 0
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    taken.add(found)
    return found


def _signature(op: ir.OpView, threads: list[int]) -> str:
    """What two ops must have in common to share a kernel."""
    return "|".join([*map(str, kernel_memrefs(op)), str(op.row_masks), activation_of(op), str(threads)])


def _kernel(module: ir.Module, op: ir.OpView, name: str, threads: list[int]) -> None:
    types = [*kernel_memrefs(op), *[ir.IndexType.get()] * 3]
    kernel = func.FuncOp(name, (types, []), visibility="private", ip=ir.InsertionPoint.at_block_begin(module.body))
    kernel.attributes["sparsity.kernel"] = ir.UnitAttr.get()
    kernel.attributes[THREADS] = ir.DenseI64ArrayAttr.get(threads)
    block = kernel.add_entry_block()
    arguments = dict(zip([*operands_by_name(op), "result"], block.arguments, strict=False))
    with ir.InsertionPoint(block):
        build_gpu_linear(op, arguments, list(block.arguments)[-3:], op.result.type.shape[1])
        func.ReturnOp([])
