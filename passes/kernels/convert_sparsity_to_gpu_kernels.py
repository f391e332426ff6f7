"""Lowers packed layers, attention and layer norms in feature-major panels to kernels for a GPU's threads.

before:
    %y = "sparsity.packed_linear"(%x, %values, %columns, ...) {layout = #sparsity.layout<...>, ...}
    %z = "sparsity.attention"(%y, %y, %y, %mask) {layout = #sparsity.layout<...>, ...}
after:
    func.func private @gpu_linear_3072x768(%x: memref<1x2x768x64xf32>, ..., %result: memref<1x2x3072x64xf32>,
        %tokens: index, %tile: index, %panel: index)
        attributes {sparsity.kernel, sparsity.threads = array<i64: 16, 4, 1>}
    %y = "sparsity.dispatch"(%x, %values, ...) {kernel = @gpu_linear_3072x768, grid = array<i64: 16, 384, 2>}
    %scores = "sparsity.dispatch"(%y, %y, %mask) {kernel = @gpu_scores_12x64, ...}
    %z = "sparsity.dispatch"(%scores, %y) {kernel = @gpu_context_12x64, ...}

A point of the grid is a thread; `sparsity.threads` of them in each direction are a workgroup. The other ops are left to
`convert-sparsity-to-linalg`.

Preconditions (an op is left alone otherwise): a panel layout, packed arrays. Rationale: threads read runs of tokens.
Weights may be stored in f32, or in f16 or int8 with scales: they are read as f32.
"""

import dataclasses
from collections.abc import Callable

from torch_mlir import ir
from torch_mlir.dialects import arith, func

from secateur.dialects.sparsity.kernel_ops import dispatch
from secateur.dialects.sparsity.ops.attention import head_slices
from secateur.dialects.sparsity.rules import activation_of, features_of, layout_of

from ..base import Pass, PassContext, operands_by_name, walk
from ..target import TOKENS_OF_A_THREAD
from .build import Lanes, Value, index
from .convert_sparsity_to_kernels import kernel_memrefs
from .elementwise import normalise_tokens
from .gpu_attention import attention_grids, build_context, build_scores, fits_attention, threads_of
from .gpu_linear import build_gpu_linear

THREADS = "sparsity.threads"
# Threads of a workgroup: a whole subgroup of every phone's GPU, and half of what the Android baseline profile grants.
_WORKGROUP = 64


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """A kernel of an op: its `name`, the types of its arguments without the place in the grid, the points of its grid,
    the threads of a workgroup, and what adds its body: `build(arguments, place)`. `reads` are operands by name, the
    results of kernels before it among them; `shape` is its result's."""

    name: str
    memrefs: list[ir.MemRefType]
    grid: list[int]
    threads: list[int]
    build: Callable[[list[Value], list[Value]], None]
    reads: tuple[str, ...]
    shape: list[int]


def _linear(op: ir.OpView) -> list[_Kernel]:
    layout = layout_of(op)
    if layout is None or layout.tile()[0] % TOKENS_OF_A_THREAD or layout.tile()[1] != 1:
        return []
    batch, panels, _, tokens = layout.sizes(op.result.type.shape)
    names = tuple(operands_by_name(op))
    activation = activation_of(op)
    suffix = ("_" + activation if activation != "none" else "") + ("_residual" if op.residual else "")

    def build(arguments: list[Value], place: list[Value]) -> None:
        build_gpu_linear(op, dict(zip((*names, "result"), arguments, strict=True)), place, panels)

    grid = [tokens // TOKENS_OF_A_THREAD, op.rows.type.shape[0], panels * batch]
    name = f"gpu_linear_{features_of(op, op.result)}x{features_of(op, op.x)}{suffix}"
    shape = list(op.result.type.shape)
    return [_Kernel(name, kernel_memrefs(op), grid, threads_of(grid, _WORKGROUP), build, names, shape)]


def _attention(op: ir.OpView) -> list[_Kernel]:
    if not fits_attention(op):
        return []
    grids, operands = attention_grids(op), operands_by_name(op)
    memrefs = {name: _memref(list(value.type.shape)) for name, value in operands.items()}
    biases = tuple(name for name in ("key_bias", "bias") if name in operands)
    first, scores, result = ("query", "key", *biases), _memref(grids.scores), list(op.result.type.shape)

    def build_first(arguments: list[Value], place: list[Value]) -> None:
        build_scores(op, dict(zip(first, arguments, strict=False)), arguments[-1], place)

    def build_second(arguments: list[Value], place: list[Value]) -> None:
        scores, value, written = arguments
        build_context(op, {"value": value, "result": written}, scores, place, grids.features)

    sizes = f"{op.heads.value}x{head_slices(op)[1]}"
    return [
        _Kernel(
            f"gpu_scores_{sizes}",
            [*(memrefs[name] for name in first), scores],
            grids.scores_grid,
            threads_of(grids.scores_grid, _WORKGROUP),
            build_first,
            first,
            grids.scores,
        ),
        _Kernel(
            f"gpu_context_{sizes}",
            [scores, memrefs["value"], _memref(result)],
            grids.context_grid,
            threads_of(grids.context_grid, _WORKGROUP),
            build_second,
            (f"gpu_scores_{sizes}", "value"),
            result,
        ),
    ]


def _layer_norm(op: ir.OpView) -> list[_Kernel]:
    layout = layout_of(op)
    if layout is None or layout.tile()[1] != 1:
        return []
    batch, panels, features, tokens = layout.sizes(op.result.type.shape)
    names = tuple(operands_by_name(op))

    def build(arguments: list[Value], place: list[Value]) -> None:
        # A token a thread: there are few of them.
        sequence = index(0) if batch == 1 else arith.divui(place[1], index(panels))
        panel = place[1] if batch == 1 else arith.remui(place[1], index(panels))
        given = dict(zip((*names, "result"), arguments, strict=True))
        normalise_tokens(op, given, [sequence, panel], place[0], Lanes(1), 1)

    grid, suffix = [tokens, panels * batch, 1], "_residual" if op.residual else ""
    shape = list(op.result.type.shape)
    threads = threads_of(grid, _WORKGROUP)
    return [_Kernel(f"gpu_layer_norm_{features}{suffix}", kernel_memrefs(op), grid, threads, build, names, shape)]


_KERNELS: dict[str, Callable[[ir.OpView], list[_Kernel]]] = {
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
            kernels = _KERNELS[op.operation.name](op)
            if not kernels:
                continue
            values = operands_by_name(op)
            for kernel in kernels:
                signature = _signature(op, kernel)
                with op.location:
                    if signature not in known:
                        known[signature] = _unused(kernel.name, taken)
                        _add(module, kernel, known[signature])
                        context.count("kernels")
                    with ir.InsertionPoint(op):
                        kind = ir.RankedTensorType.get(kernel.shape, ir.F32Type.get())
                        read = [values[name] for name in kernel.reads]
                        new = dispatch([kind], read, known[signature], kernel.grid)
                values[kernel.name] = new.result0
                context.count("dispatches")
            op.result.replace_all_uses_with(new.result0)
            op.operation.erase()


def _memref(shape: list[int]) -> ir.MemRefType:
    return ir.MemRefType.get(shape, ir.F32Type.get())


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
    return "|".join([kernel.name, *map(str, kernel.memrefs), *attributes, str(kernel.grid), str(kernel.threads)])


def _add(module: ir.Module, kernel: _Kernel, name: str) -> None:
    types = [*kernel.memrefs, *[ir.IndexType.get()] * 3]
    added = func.FuncOp(name, (types, []), visibility="private", ip=ir.InsertionPoint.at_block_begin(module.body))
    added.attributes["sparsity.kernel"] = ir.UnitAttr.get()
    added.attributes[THREADS] = ir.DenseI64ArrayAttr.get(kernel.threads)
    block = added.add_entry_block()
    with ir.InsertionPoint(block):
        kernel.build(list(block.arguments)[:-3], list(block.arguments)[-3:])
        func.ReturnOp([])
