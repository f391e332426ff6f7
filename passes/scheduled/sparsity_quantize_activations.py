"""Makes layers multiply bytes whose weights are bytes: rounds their activations, token by token.

before:
    %y = "sparsity.packed_linear"(%x, %values, %columns, ..., %scales) {sparsity.numbers = #sparsity.numbers<{arithmetic
         = "int8", weights = "int8"}>, layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, ...}
after:
    %s = "sparsity.token_scales"(%x) : (tensor<1x2x768x64xf32>) -> tensor<1x2x64xf32>
    %q = "sparsity.quantize_tokens"(%x, %s) {zero_point = 128 : i64, ...} : (...) -> tensor<1x2x192x64x4xi8>
    %y = "sparsity.quantized_linear"(%q, %s, %values, %columns, ..., %starts, %scales, ...) {zero_point = 128, ...}

Layers that read one tensor share its scales, and its bytes where they read them in one form. Where the columns of a
layer come in aligned runs of four (dense weights, tiles of four columns), the four bytes of a token are neighbours
(quads). Any other columns are read as rows of bytes, four at a time, and the kernel makes quads of them; column lists
are filled up to fours with zeros (`padding-values`). Values are put in the order that products of four read: the four
weights of a row are neighbours. The zero point is 128 where the target's instruction takes unsigned activations
(`vpdpbusd`), else 0; what it adds to a sum is taken off by `starts`, which is known here.
Statistics: layers by form (`layers-in-quads`, `layers-in-rows`, `left-in-f32`), tensors rounded, values of padding.
Source of the scheme (weights by row, activations by token, symmetric): Dettmers, Lewis, Belkada, Zettlemoyer,
"LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", NeurIPS 2022, section 2.1.

Preconditions, for a layer to multiply bytes (it multiplies its weights in f32 otherwise, counted as `left-in-f32`):
  panels with `inner = 1`. Rationale: the other layouts have few tokens, and then reading the weights takes the time.
  66,000 columns at most. Rationale: a sum fits 32 bits.
  packed arrays that are `sparsity.weight`s. Rationale: their order changes.
"""

import dataclasses

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attributes import NUMBERS, SCHEDULE, Layout
from secateur.dialects.sparsity.byte_rows import LANES
from secateur.dialects.sparsity.ops.quantize_tokens import QuantizeTokensOp
from secateur.dialects.sparsity.ops.quantized_linear import MOST_FEATURES, QUAD, QuantizedLinearOp
from secateur.dialects.sparsity.ops.token_scales import TokenScalesOp
from secateur.dialects.sparsity.ops.weight import make_weight, symbol_of, weight_behind
from secateur.dialects.sparsity.packed_tiles import row_masks_of
from secateur.dialects.sparsity.rules import layout_of

from ..base import Pass, PassContext, operands_by_name, walk
from ..target import TargetDescription, target_of
from .byte_arrays import ByteArrays, byte_arrays
from .schedule_by_lane import MATRICES

_ARRAYS = ("values", "columns", "segments", "offsets", "rows")


@dataclasses.dataclass(frozen=True)
class SparsityQuantizeActivations(Pass):
    """Makes layers multiply bytes whose weights are bytes: rounds their activations, token by token."""

    name = "sparsity-quantize-activations"

    def run(self, module: ir.Module, context: PassContext) -> None:
        target = target_of(module)
        known: dict[tuple[ir.Value, int, int], ir.Value] = {}
        scales: dict[ir.Value, ir.Value] = {}
        for op in walk(module, "sparsity.packed_linear"):
            if NUMBERS not in op.attributes or str(op.values.type.element_type) != "i8":
                continue
            del op.operation.attributes[NUMBERS]
            run = _run(op, target)
            arrays = self._arrays(op, run, context)
            if arrays is None:
                context.count("left-in-f32")
                continue
            form = (arrays.group, _lanes(op, target) if arrays.group == 1 else LANES[0])
            if op.x not in scales:
                scales[op.x] = _scales_of(op)
                context.count("activations")
            if (op.x, *form) not in known:
                known[op.x, *form] = _bytes_of(op, scales[op.x], target.byte_zero_point, *form)
            given = {"zero_point": target.byte_zero_point}
            given |= {"lanes": form[1]} if form[1] > LANES[0] else {}
            given |= {"run": run} if run > QUAD else {}
            _replace(op, known[op.x, *form], scales[op.x], arrays, given, context)
            context.count("layers-in-rows" if arrays.group == 1 else "layers-in-quads")
            context.count("padding-values", arrays.padding)

    def _arrays(self, op: ir.OpView, run: int, context: PassContext) -> ByteArrays | None:
        """The layer's arrays of bytes; None where it cannot have them."""
        weights = {name: weight_behind(getattr(op, name)) for name in _ARRAYS}
        layout = layout_of(op)
        if layout is None or layout.tile()[1] != 1 or any(w is None for w in weights.values()):
            return None
        shape = (layout.sizes(op.result.type.shape)[2], layout.sizes(op.x.type.shape)[2])
        if shape[1] > MOST_FEATURES:
            return None
        arrays = {name: context.array(weight) for name, weight in weights.items()}
        return byte_arrays(arrays, row_masks_of(op), shape, run)


def _run(op: ir.OpView, target: TargetDescription) -> int:
    """Weights of a row that one instruction multiplies: eight where the target multiplies matrices of two rows, and
    tiles are as tall as pays, of rows that share their columns.
    """
    fits = len(op.row_masks) == 1 and op.row_tile.value % 2 == 0 and op.row_tile.value >= MATRICES["row_tile"]
    return 2 * QUAD if target.matrices and fits else QUAD


def _lanes(op: ir.OpView, target: TargetDescription) -> int:
    """What rows of bytes are made for: quads in a vector, or fewer where the layer's block of tokens is no four
    vectors.
    """
    panel = layout_of(op).tile()[0]
    width = target.vector_bytes // 4
    schedule = op.attributes[SCHEDULE].values() if SCHEDULE in op.attributes else {}
    block = schedule.get("token_vectors", 4) * width
    return max(n for n in LANES if n == LANES[0] or (n <= width and 4 * n <= block and panel % (4 * n) == 0))


def _behind(value: ir.Value) -> ir.InsertionPoint:
    """The place right behind what makes `value`: all its readers come after."""
    owner = value.owner
    return ir.InsertionPoint.at_block_begin(owner) if isinstance(owner, ir.Block) else ir.InsertionPoint.after(owner)


def _scales_of(op: ir.OpView) -> ir.Value:
    with op.location, _behind(op.x):
        return TokenScalesOp.build(x=op.x, layout=layout_of(op)).result


def _bytes_of(op: ir.OpView, scales: ir.Value, zero_point: int, group: int, lanes: int) -> ir.Value:
    """`op.x` in groups of features, or in rows for `lanes`."""
    batch, panels, features, panel = layout_of(op).sizes(op.x.type.shape)
    layout = Layout.of(panel=panel, inner=group)
    kind = ir.RankedTensorType.get(layout.shape(batch, panels * panel, features), ir.IntegerType.get_signless(8))
    given = {"lanes": lanes} if lanes > LANES[0] else {}
    with op.location, _behind(scales):
        return QuantizeTokensOp.build(kind, x=op.x, scales=scales, zero_point=zero_point, layout=layout, **given).result


def _replace(
    op: ir.OpView,
    x: ir.Value,
    scales: ir.Value,
    arrays: ByteArrays,
    given: dict[str, int],
    context: PassContext,
) -> None:
    like = weight_behind(op.values)
    symbol = (symbol_of(like) or "literal").removesuffix("/int8").removesuffix("/values")
    made = {name: getattr(arrays, name) for name in ("values", "columns", "segments", "offsets")}
    made["columns"] = made["columns"] * np.int32(arrays.group * layout_of(op).tile()[0])
    made["starts"] = (-given["zero_point"] * arrays.sums).astype(np.int32)
    with op.location, ir.InsertionPoint(op):
        weights = {n: make_weight(a, f"{symbol}/bytes/{n}", context.weights, like).result for n, a in made.items()}
        operands = {**operands_by_name(op), **weights, "x": x, "token_scales": scales}
        attributes = {name: op.attributes[name] for name in op.attributes if name != "operandSegmentSizes"}
        new = QuantizedLinearOp.build(op.result.type, **operands, **attributes, **given)
    op.result.replace_all_uses_with(new.result)
    op.operation.erase()
    if next(iter(like.result.uses), None) is None:
        like.operation.erase()
