"""Packs the weights of convolutions (BCRC) and moves their images into planes.

before:
    %y = "sparsity.conv"(%x, %w, %b) {strides = [1, 1], padding = [1, 1, 1, 1], ...,
                                      sparsity.schedule = #sparsity.schedule<{row_tile = 4 : i64, ...}>}
    %z = "sparsity.conv"(%y, ...) {...}
after:
    %p = "sparsity.to_planes"(%x) {planes = #sparsity.planes<{sizes = [56, 56], pitches = [57, 1], ...}>}
    %y = "sparsity.packed_conv"(%p, %values, %columns, %segments, %offsets, %rows, %work, %pixels, %b)
         {row_tile = 4 : i64, row_masks = [1, 2, 4, 8], planes = #sparsity.planes<...>, ...}
    %q = "sparsity.packed_conv"(%y, ...) {...}
    %z = "sparsity.from_planes"(%q) {planes = #sparsity.planes<...>}

A convolution is seen as a matrix of filters by channels and kernel positions, and packed as a linear layer is
(`sparsity-pack`); groups of channels are zeros of that matrix. In planes with gaps of zeros the weight of a channel and
kernel position meets x at one distance from every pixel of the result, so a column entry is that distance, the kernel
is that of a linear layer, and no border is a special case. How planes lie: `plane_geometry.py`. The maximum of windows
of a convolution's result (`sparsity.max_pool`) is taken in planes too, where the activation leaves no negative number.

Preconditions: static f32, a weight that is a `sparsity.weight`, a schedule with a row tile; other convolutions are left
to `convert-sparsity-to-linalg`. Rationale: only known zeros can be left out.
Statistics: `kept-weights`, `padding-values`, `packed-values`, `repeated-rows` as `sparsity-pack`; `pools-in-planes`;
`copies-cancelled` between neighbours, `copies-shared` by readers of one tensor.
"""

import dataclasses

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attributes import ORDER, SCHEDULE, Planes
from secateur.dialects.sparsity.ops.conv import as_matrix
from secateur.dialects.sparsity.ops.packed_conv import PackedConvOp
from secateur.dialects.sparsity.ops.planes import FromPlanesOp, ToPlanesOp
from secateur.dialects.sparsity.ops.weight import encoding_of, make_weight, symbol_of, weight_behind
from secateur.dialects.sparsity.rules import activation_of

from ..base import Pass, PassContext, walk
from ..target import target_of
from .plane_geometry import meets_pixels, plan_planes, taps_of
from .sparsity_pack import not_empty, pack_rows
from .sparsity_reorder import kept_columns


def _fits(op: ir.OpView) -> bool:
    types = [value.type for value in op.operation.operands]
    known = weight_behind(op.weight) is not None and SCHEDULE in op.attributes
    static = all(t.has_static_shape and str(t.element_type) == "f32" for t in types)
    return known and static and "row_tile" in op.attributes[SCHEDULE].values()


def _offsets(op: ir.OpView, planes: Planes) -> np.ndarray:
    """Where each column of the weight's matrix meets x for the first pixel of the result."""
    values = planes.values()
    channels = op.x.type.shape[1]
    *_, places = planes.shape(1, channels)
    taps = []
    for tap in taps_of(op):
        phase = 0
        for index, count in zip(tap.phases, values["phases"], strict=True):
            phase = phase * count + index
        shift = sum(a * b for a, b in zip(tap.shifts, values["pitches"], strict=True))
        taps.append(phase * values["length"] + values["origin"] + shift)
    return (np.arange(channels)[:, None] * places + np.array(taps)).reshape(-1)


def _pixels(planes: Planes, count: int) -> np.ndarray:
    """One for every of the `count` positions from the origin that is a pixel."""
    found = np.zeros(count, np.float32)
    found[planes.positions().reshape(-1) - planes.values()["origin"]] = 1.0
    return found


# What these activations give is not negative, so zeros around it change no maximum.
_NOT_NEGATIVE = ("relu", "sigmoid")


def _pools_of(ops: list[ir.OpView]) -> list[ir.OpView]:
    """The poolings of what convolutions make, in which a zero of a gap is never more than the pixels."""
    found = []
    for op in ops:
        last = activation_of(op) if op.residual is None or "residual_first" in op.attributes else "none"
        if last in _NOT_NEGATIVE:
            found += [use.owner.opview for use in op.result.uses if use.owner.name == "sparsity.max_pool"]
    return found


def _f32(shape: list[int]) -> ir.RankedTensorType:
    return ir.RankedTensorType.get(shape, ir.F32Type.get())


def _to_planes(value: ir.Value, planes: Planes) -> ir.Value:
    return ToPlanesOp(_f32(planes.shape(*value.type.shape[:2])), value, planes).result


@dataclasses.dataclass(frozen=True)
class SparsityPackConvolutions(Pass):
    """Packs the weights of convolutions (BCRC) and moves their images into planes."""

    name = "sparsity-pack-convolutions"

    def run(self, module: ir.Module, context: PassContext) -> None:
        ops = [op for op in walk(module, "sparsity.conv") if _fits(op)]
        if not ops:
            return
        lanes = target_of(module).vector_bytes // 4
        with module.context, ir.Location.unknown():
            blocks = [lanes * op.attributes[SCHEDULE].values().get("token_vectors", 1) for op in ops]
            pools = _pools_of(ops)
            geometry = plan_planes(ops, blocks, pools)
            for op, reads, writes, count in zip(ops, geometry.reads, geometry.writes, geometry.counts, strict=True):
                self._replace(op, reads, writes, count, context)
            for pool, (source, planes) in zip(pools, geometry.pools, strict=True):
                _pool_in_planes(pool, source, planes)
                context.count("pools-in-planes")
            _cancel(module, context)

    def _replace(self, op: ir.OpView, reads: Planes, writes: Planes, count: int, context: PassContext) -> None:
        weight = weight_behind(op.weight)
        schedule = op.attributes[SCHEDULE].values()
        matrix = as_matrix(context.array(weight), op.groups.value)
        order = np.array(op.attributes[ORDER]) if ORDER in op.attributes else np.arange(len(matrix))
        # Two positions that meet zeros alone may do so at one place, and a list names a place once.
        met = np.tile([meets_pixels(op, tap) for tap in taps_of(op)], op.x.type.shape[1])
        keep = kept_columns(op, matrix, encoding_of(weight)) & met
        packed = pack_rows(matrix, order, schedule["row_tile"], keep)
        tiles, row_tile = packed.rows.shape
        packed.columns = _offsets(op, reads)[packed.columns].astype(np.int32)
        symbol = symbol_of(weight) or "literal"
        with op.location, ir.InsertionPoint(op):
            arrays = {name: not_empty(getattr(packed, name)) for name in ("values", "columns")}
            arrays |= {name: getattr(packed, name) for name in ("segments", "offsets", "rows")}
            arrays |= {"work": np.array([0, tiles], dtype=np.int32), "pixels": _pixels(writes, count)}
            made = {n: make_weight(a, f"{symbol}/{n}", context.weights, weight).result for n, a in arrays.items()}
            kept = {name: op.attributes.get(name, None) for name in ("activation", "residual_first", SCHEDULE)}
            new = PackedConvOp.build(
                _f32(writes.shape(*op.result.type.shape[:2])),
                x=_to_planes(op.x, reads),
                **made,
                planes=writes,
                row_tile=row_tile,
                row_masks=[1 << i for i in range(row_tile)],
                bias=op.bias,
                residual=None if op.residual is None else _to_planes(op.residual, writes),
                **kept,
            )
            result = FromPlanesOp(op.result.type, new.result, writes).result
        op.result.replace_all_uses_with(result)
        op.operation.erase()
        kept_weights = int(np.count_nonzero(matrix[:, met]))
        context.count("kept-weights", kept_weights)
        context.count("padding-values", int(packed.values.size) - kept_weights)
        context.count("packed-values", int(packed.values.size))
        context.count("repeated-rows", int(tiles * row_tile - len(np.unique(packed.rows))))


def _pool_in_planes(op: ir.OpView, source: Planes, planes: Planes) -> None:
    with op.location, ir.InsertionPoint(op):
        made = _f32(planes.shape(*op.result.type.shape[:2]))
        new = op.rebuild(made, x=_to_planes(op.x, source), source=source, planes=planes)
        result = FromPlanesOp(op.result.type, new.result, planes).result
    op.result.replace_all_uses_with(result)
    op.operation.erase()


def _cancel(module: ir.Module, context: PassContext) -> None:
    """Planes that a neighbour has already, and planes that two readers make of one tensor."""
    known: dict[tuple[ir.Value, str], ir.OpView] = {}
    for op in walk(module, "sparsity.to_planes"):
        owner = op.x.owner
        made = None if isinstance(owner, ir.Block) or owner.name != "sparsity.from_planes" else owner.opview
        if made is not None and made.planes == op.planes:
            op.result.replace_all_uses_with(made.x)
            op.operation.erase()
            context.count("copies-cancelled")
            continue
        first = known.setdefault((op.x, str(op.planes)), op)
        if first is not op and first.operation.block == op.operation.block:
            op.result.replace_all_uses_with(first.result)
            op.operation.erase()
            context.count("copies-shared")
    for op in walk(module, "sparsity.from_planes"):
        if not list(op.result.uses):
            op.operation.erase()
