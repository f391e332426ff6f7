"""Packs the weight of a linear layer with few tokens in slices of rows: the rows are the lanes.

before:
    %w = "sparsity.weight"() {source = "fc.weight"} : () -> tensor<3072x768xf32>
    %y = "sparsity.linear"(%x, %w, %b) {sparsity.schedule = #sparsity.schedule<{row_vectors = 4 : i64, ...}>}
         : (tensor<1x1x768xf32>, ...) -> tensor<1x1x3072xf32>
after:
    %values = "sparsity.weight"() {source = "fc.weight/slices/values"} : () -> tensor<3700x64xf32>
    %columns, %offsets, %rows, %work, %bias = ... see sparsity.sliced_linear
    %x2 = tensor.collapse_shape %x [[0, 1], [2]]
    %y2 = "sparsity.sliced_linear"(%x2, %values, %columns, %offsets, %rows, %work, %bias) {vector_rows = 16 : i64, ...}
    %y = tensor.expand_shape %y2 [[0, 1], [2]] output_shape [1, 1, 3072]

A slice has `row_vectors` vectors. Several forms are counted on the layer's own zeros and the cheapest by a model of
bytes and instructions is taken: one column list per slice or per vector (of the target's width, a half, ... down to
four rows, so that low bands fit; columns that only some of the rows keep are padded with zeros), in the order of the
rows or with equal rows side by side, or one list per row, whose columns of `x` are gathered, or loaded one by one where
the target says that gathers do not pay. Where lists differ in length, slices are made of lists of about one length, so
that little is padded (SELL-C-sigma with sigma = all rows: Kreutzer et al., SIAM J. Sci. Comput. 36(5), 2014). With
AVX-512, a list per row may be written in windows of 32 columns, from which two steps take their numbers by a lookup in
registers: no gather, but rows that have no column in a window wait. Workgroups get equal numbers of steps.

Preconditions: weight and bias are `sparsity.weight`s of f32, the activations static; other ops are left alone, as are
those whose schedule has no `row_vectors`. Rationale: only known zeros can be left out.
"""

import dataclasses

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import tensor

from secateur.dialects.sparsity.attributes import NUMBERS, SCHEDULE, Bcr, Dense
from secateur.dialects.sparsity.ops.sliced_linear import SlicedLinearOp
from secateur.dialects.sparsity.ops.weight import encoding_of, make_weight, symbol_of, weight_behind

from ..base import Pass, PassContext, walk
from ..target import TargetDescription, target_of
from .row_slices import NARROWEST, Form, Slices, cheapest_form, fill
from .row_windows import STEPS_PER_WINDOW
from .sparsity_tile import balanced_bounds

# The default schedule: sums that hide the latency of multiply-adds, in a part of the registers (the rest holds weights
# and x).
_ROW_VECTORS = 4
_SUMS_PER_REGISTER = 0.75
# The most tokens of a sequence for which rows beat tokens as lanes, by the rows that share a column list: those of a
# vector, those of a band that is less, one. Measured on 3072x768 weights at 90 % with AVX-512, on a Xeon that gathers
# and, for lists of their own that are looked up, on a Zen 4.
_MOST_TOKENS_OF_VECTORS, _MOST_TOKENS_OF_BANDS, _MOST_TOKENS_OF_ROWS = 12, 4, 3
_MOST_TOKENS_LOOKED_UP = 8


def default_row_vectors(op: ir.OpView, target: TargetDescription) -> dict[str, int]:
    """`row_vectors` and `token_vectors` for the schedule of a `sparsity.linear` whose rows are to be the lanes.

    Empty where tokens are the better lanes: where the sequence is long, or where a gather of `x` for every token costs
    more than lanes of tokens that stay idle.
    """
    shape = op.x.type.shape
    weight = weight_behind(op.weight)
    if weight is None or len(shape) < 2 or not _can_be_packed(op):
        return {}
    if shape[-2] > _most_tokens(encoding_of(weight), target):
        return {}
    tokens = int(np.prod(shape[:-1], dtype=np.int64))
    fitting = int(target.registers * _SUMS_PER_REGISTER) // _ROW_VECTORS
    return {"row_vectors": _ROW_VECTORS, "token_vectors": max(1, min(tokens, fitting))}


def _most_tokens(encoding: ir.Attribute | None, target: TargetDescription) -> int:
    if isinstance(encoding, Dense):
        return _MOST_TOKENS_OF_VECTORS
    looked_up = target.lookup and not target.gather
    if not isinstance(encoding, Bcr) or encoding.values()["block_rows"] < NARROWEST:
        return _MOST_TOKENS_LOOKED_UP if looked_up else _MOST_TOKENS_OF_ROWS
    if encoding.values()["block_columns"] > 1:
        return _MOST_TOKENS_LOOKED_UP if looked_up else _MOST_TOKENS_OF_BANDS
    shared = encoding.values()["block_rows"] >= target.vector_bytes // 4
    return _MOST_TOKENS_OF_VECTORS if shared else _MOST_TOKENS_OF_BANDS


@dataclasses.dataclass(frozen=True)
class SparsityPackRows(Pass):
    """Packs the weights of linear layers with few tokens in slices of rows (SELL-C-sigma)."""

    name = "sparsity-pack-rows"

    def run(self, module: ir.Module, context: PassContext) -> None:
        target = target_of(module)
        for op in walk(module, "sparsity.linear"):
            number = op.attributes[SCHEDULE].values().get("row_vectors", 0) if SCHEDULE in op.attributes else 0
            if not number or not _can_be_packed(op):
                continue
            weight = weight_behind(op.weight)
            bias = None if op.bias is None else weight_behind(op.bias)
            array = context.array(weight)
            tokens = int(np.prod(op.x.type.shape[:-1], dtype=np.int64))
            form = cheapest_form(array != 0, number, tokens, target)
            packed = fill(array, form)
            self._replace(op, weight, bias, form, packed, target.workers, context)
            kept = int(np.count_nonzero(array))
            context.count("kept-weights", kept)
            context.count("padding-values", int(packed.values.size) - kept)
            per_row = "windows" if form.windows is not None else "a-list-per-row"
            context.count(f"layers-with-{per_row if form.lists == form.rows.shape[1] else 'shared-lists'}")

    def _replace(
        self,
        op: ir.OpView,
        weight: ir.OpView,
        bias: ir.OpView | None,
        form: Form,
        packed: Slices,
        workers: int,
        context: PassContext,
    ) -> None:
        symbol = symbol_of(weight) or "literal"
        pieces = min(op.attributes[SCHEDULE].values().get("workgroups", 1), len(form.steps))
        if packed.order is not None:
            # Each workgroup copies x.
            pieces = min(pieces, workers)
        with op.location, ir.InsertionPoint(op):
            arrays = {name: array for name, array in vars(packed).items() if array is not None}
            arrays["work"] = balanced_bounds(form.steps + 1, pieces)
            if bias is not None:
                arrays["slice_bias"] = context.array(bias)[packed.rows]
            made = {
                n: make_weight(a, f"{symbol}/slices/{n}", context.weights, weight).result for n, a in arrays.items()
            }
            shape = list(op.result.type.shape)
            kept = {name: op.attributes.get(name, None) for name in ("activation", SCHEDULE, NUMBERS)}
            new = SlicedLinearOp.build(
                _flat(op.result.type),
                x=_flattened(op.x),
                **made,
                vector_rows=form.vector_rows,
                consecutive=form.consecutive,
                window_steps=None if form.windows is None else STEPS_PER_WINDOW,
                residual=None if op.residual is None else _flattened(op.residual),
                **kept,
            )
            result = new.result
            if len(shape) == 1:
                result = tensor.collapse_shape(op.result.type, result, [[0, 1]])
            elif len(shape) > 2:
                result = tensor.expand_shape(op.result.type, result, _groups(len(shape)), [], shape)
        op.result.replace_all_uses_with(result)
        op.operation.erase()
        context.count("packed-values", int(packed.values.size))


def _can_be_packed(op: ir.OpView) -> bool:
    constants = [value for value in (op.weight, op.bias) if value is not None]
    types = [value.type for value in (op.x, *constants)]
    static = all(t.has_static_shape and str(t.element_type) == "f32" for t in types)
    return static and all(weight_behind(value) is not None for value in constants)


def _groups(rank: int) -> list[list[int]]:
    return [list(range(rank - 1)), [rank - 1]]


def _flat(kind: ir.RankedTensorType) -> ir.RankedTensorType:
    *leading, features = kind.shape
    return ir.RankedTensorType.get([int(np.prod(leading, dtype=np.int64)), features], kind.element_type)


def _flattened(value: ir.Value) -> ir.Value:
    """`value` as [tokens, features]."""
    rank = value.type.rank
    if rank == 2:
        return value
    flat = _flat(value.type)
    if rank == 1:
        return tensor.expand_shape(flat, value, [[0, 1]], [], list(flat.shape))
    return tensor.collapse_shape(flat, value, _groups(rank))
