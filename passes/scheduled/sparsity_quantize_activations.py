"""Makes layers multiply bytes whose weights are bytes: rounds their activations, token by token.

before:
    %y = "sparsity.packed_linear"(%x, %values, %columns, ..., %scales) {sparsity.numbers = #sparsity.numbers<{arithmetic
         = "int8", weights = "int8"}>, layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, ...}
after:
    %s = "sparsity.token_scales"(%x) : (tensor<1x2x768x64xf32>) -> tensor<1x2x64xf32>
    %q = "sparsity.quantize_tokens"(%x, %s) {zero_point = 128 : i64, ...} : (...) -> tensor<1x2x192x64x4xi8>
    %y = "sparsity.quantized_linear"(%q, %s, %values, %columns, ..., %starts, %scales, ...) {zero_point = 128, ...}

Layers that read one tensor share its bytes. Values are put in the order that products of four read: the four weights of
a row and a column entry are neighbours. The zero point is 128 where the target's instruction takes unsigned activations
(`vpdpbusd`), else 0; what it adds to a sum is taken off by `starts`, which is known here.
Source of the scheme (weights by row, activations by token, symmetric): Dettmers, Lewis, Belkada, Zettlemoyer,
"LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", NeurIPS 2022, section 2.1.

Preconditions, for a layer to multiply bytes (it multiplies its weights in f32 otherwise, counted as `left-in-f32`):
  panels with `inner = 1`. Rationale: the other layouts have few tokens, and then reading the weights takes the time.
  columns in aligned runs of four, 66,000 at most. Rationale: an instruction multiplies four; a sum fits 32 bits.
  packed arrays that are `sparsity.weight`s. Rationale: their order changes.
"""

import dataclasses

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attributes import NUMBERS, Layout
from secateur.dialects.sparsity.ops.packed_linear import VALUES_PADDING
from secateur.dialects.sparsity.ops.quantize_tokens import QuantizeTokensOp
from secateur.dialects.sparsity.ops.quantized_linear import BYTES_PADDING, MOST_FEATURES, QUAD, QuantizedLinearOp
from secateur.dialects.sparsity.ops.token_scales import TokenScalesOp
from secateur.dialects.sparsity.ops.weight import make_weight, symbol_of, weight_behind
from secateur.dialects.sparsity.packed_tiles import row_masks_of
from secateur.dialects.sparsity.rules import layout_of

from ..base import Pass, PassContext, operands_by_name, walk
from ..target import target_of

_ARRAYS = ("values", "columns", "segments", "offsets", "rows")
# Instructions that take unsigned activations.
_UNSIGNED = ("vpdpbusd",)


@dataclasses.dataclass(frozen=True)
class _Quads:
    """What a layer has in place of its packed arrays: four columns to an entry. `sums`: of each row's values."""

    values: np.ndarray
    columns: np.ndarray
    segments: np.ndarray
    sums: np.ndarray


def _in_quads(arrays: dict[str, np.ndarray], masks: list[int], features: int) -> _Quads | None:
    """The arrays of a `packed_linear` in quads; None where a column list is not made of aligned runs of four."""
    columns, segments, rows = arrays["columns"], arrays["segments"], arrays["rows"]
    sums = np.zeros(features, np.int64)
    if not segments.any():
        # Nothing is kept; executables take no empty buffers.
        return _Quads(np.zeros(BYTES_PADDING, np.int8), np.zeros(1, np.int32), segments, sums)
    if len(columns) % QUAD or (segments % QUAD).any():
        return None
    quads = columns.reshape(-1, QUAD)
    if (quads[:, :1] % QUAD).any() or (quads != quads[:, :1] + np.arange(QUAD)).any():
        return None
    ordered = np.zeros(len(arrays["values"]) - VALUES_PADDING + BYTES_PADDING, np.int8)
    members = [[i for i in range(mask.bit_length()) if mask >> i & 1] for mask in masks]
    for tile, place in enumerate(arrays["offsets"].tolist()):
        tile_sums = np.zeros(rows.shape[1], np.int64)
        for (start, stop), used in zip(segments[tile].tolist(), members, strict=True):
            size = (stop - start) * len(used)
            block = arrays["values"][place : place + size].reshape(-1, QUAD, len(used))
            ordered[place : place + size] = block.transpose(0, 2, 1).reshape(-1)
            tile_sums[used] += block.sum(axis=(0, 1), dtype=np.int64)
            place += size
        sums[rows[tile]] = tile_sums
    return _Quads(ordered, quads[:, 0] // QUAD, segments // QUAD, sums)


@dataclasses.dataclass(frozen=True)
class SparsityQuantizeActivations(Pass):
    """Makes layers multiply bytes whose weights are bytes: rounds their activations, token by token."""

    name = "sparsity-quantize-activations"

    def run(self, module: ir.Module, context: PassContext) -> None:
        zero_point = 128 if target_of(module).dot in _UNSIGNED else 0
        known: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
        for op in walk(module, "sparsity.packed_linear"):
            if NUMBERS not in op.attributes or str(op.values.type.element_type) != "i8":
                continue
            del op.operation.attributes[NUMBERS]
            quads = self._quads(op, context)
            if quads is None:
                context.count("left-in-f32")
                continue
            if op.x not in known:
                known[op.x] = _bytes_of(op, zero_point)
                context.count("activations")
            _replace(op, known[op.x], quads, zero_point, context)
            context.count("layers")

    def _quads(self, op: ir.OpView, context: PassContext) -> _Quads | None:
        """The layer's arrays in quads; None where it cannot have them."""
        weights = {name: weight_behind(getattr(op, name)) for name in _ARRAYS}
        layout = layout_of(op)
        if layout is None or layout.tile()[1] != 1 or any(w is None for w in weights.values()):
            return None
        features = layout.sizes(op.x.type.shape)[2]
        if features % QUAD or features > MOST_FEATURES:
            return None
        arrays = {name: context.array(weight) for name, weight in weights.items()}
        return _in_quads(arrays, row_masks_of(op), layout.sizes(op.result.type.shape)[2])


def _bytes_of(op: ir.OpView, zero_point: int) -> tuple[ir.Value, ir.Value]:
    """The bytes of `op.x` and their scales, made right behind `op.x`: all its readers come after."""
    layout, owner = layout_of(op), op.x.owner
    start = isinstance(owner, ir.Block)
    point = ir.InsertionPoint.at_block_begin(owner) if start else ir.InsertionPoint.after(owner)
    batch, panels, features, panel = layout.sizes(op.x.type.shape)
    with op.location, point:
        scales = TokenScalesOp.build(x=op.x, layout=layout).result
        quads = Layout.of(panel=panel, inner=QUAD)
        shape = quads.shape(batch, panels * panel, features)
        kind = ir.RankedTensorType.get(shape, ir.IntegerType.get_signless(8))
        made = QuantizeTokensOp.build(kind, x=op.x, scales=scales, zero_point=zero_point, layout=quads)
    return made.result, scales


def _replace(
    op: ir.OpView, bytes_: tuple[ir.Value, ir.Value], quads: _Quads, zero_point: int, context: PassContext
) -> None:
    like = weight_behind(op.values)
    symbol = (symbol_of(like) or "literal").removesuffix("/int8").removesuffix("/values")
    arrays = {name: getattr(quads, name) for name in ("values", "columns", "segments")}
    arrays["starts"] = (-zero_point * quads.sums).astype(np.int32)
    with op.location, ir.InsertionPoint(op):
        made = {n: make_weight(a, f"{symbol}/quads/{n}", context.weights, like).result for n, a in arrays.items()}
        operands = {**operands_by_name(op), **made, "x": bytes_[0], "token_scales": bytes_[1]}
        attributes = {name: op.attributes[name] for name in op.attributes if name != "operandSegmentSizes"}
        new = QuantizedLinearOp.build(op.result.type, **operands, **attributes, zero_point=zero_point)
    op.result.replace_all_uses_with(new.result)
    op.operation.erase()
    if next(iter(like.result.uses), None) is None:
        like.operation.erase()
