"""Level 3, bytes: a linear layer whose weights and activations are bytes, summed in 32 bits."""

from collections.abc import Sequence

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..attributes import Layout, to_python
from ..byte_rows import token_order
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..packed_tiles import check_packed, kept_weights, row_masks_of, unpack
from ..reference_parts import Array, EvaluationError, epilogue
from ..rules import check_epilogue
from ..work_parts import Flops, Tokens, epilogue_flops, token_rows
from .quantize_tokens import ZERO_POINTS, check_lanes, lanes_of
from .weight import array_of, weight_behind

QUAD = 4
"""Neighbouring features whose products one instruction sums."""
RUNS = (4, 8)
"""Weights of a row that may lie side by side: those that one instruction multiplies."""
MOST_FEATURES = (1 << 31) // (127 * 255)
"""A sum of more products of bytes may not fit 32 bits."""
BYTES_PADDING = 64
"""How many bytes that no tile uses stand behind the values, so that kernels may load whole vectors."""


class QuantizedLinearOp(SparsityOp, name="quantized_linear", traits=[ext.Pure]):
    """A linear layer on bytes; its weight is stored as `packed_linear`'s, with four neighbouring columns for each one.

    ```mlir
    %y = "sparsity.quantized_linear"(%q, %s, %values, %columns, %segments, %offsets, %rows, %work, %starts, %scales)
         {row_tile = 4 : i64, row_masks = [15], zero_point = 128 : i64, layout = #sparsity.layout<{panel = 64 : i64,
         inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>}
         : (tensor<1x2x192x64x4xi8>, tensor<1x2x64xf32>, ...) -> tensor<1x2x768x64xf32>
    ```
    Tiles, segments, masks, rows and work are those of `packed_linear`. A column entry says where in a panel its bytes
    begin, `panel` times its (first) feature, so that kernels need not multiply. `x` is one of two forms of bytes:

    groups [batch, panels, features / n, panel, n]: an entry stands for `n` neighbouring features, four or eight.
    rows [batch, panels, features, panel], with the optional attribute `lanes` (`byte_rows`): an entry is a feature.

    A segment holds whole runs of features: of four, or of as many as the optional attribute `run` says (4 or 8). Of
    each run, a row of the mask has its values side by side.

    With x read as signed bytes where `zero_point` is 0, as unsigned ones where it is 128, and `f` over the features of
    the column entries of row r,

        sum[.., r] = starts[r] + sum over f of value[r, f] * x[.., f]
        result[.., r] = activation(token_scales[..] * scales[r] * sum[.., r] + bias[r]) + residual[.., r]

    `starts[r]` is `-zero_point` times the sum of the row's values. Sums are exact, in 32 bits.

    Runs of eight are for instructions that multiply two rows with two tokens (`smmla`).

    Operands: `x` i8, `token_scales` [batch, panels, panel] f32, `values` [n] i8
    (64 that no tile uses stand at their end), `columns`, `segments`, `offsets`, `rows`, `work` i32 as in
    `packed_linear`, `starts` [rows] i32, `scales` [rows] f32, `bias` [rows] and `residual` f32 (optional). `layout` is
    that of the result. Rejected: what `packed_linear` rejects, other element types, another zero point, another run,
    groups that are no part of one, more than 66,000 features.
    """

    result: TensorResult
    x: Tensor
    token_scales: Tensor
    values: Tensor
    columns: Tensor
    segments: Tensor
    offsets: Tensor
    rows: Tensor
    work: Tensor
    starts: Tensor
    scales: Tensor
    row_tile: ir.IntegerAttr
    row_masks: ir.ArrayAttr
    zero_point: ir.IntegerAttr
    layout: Layout
    bias: Tensor | None = None
    residual: Tensor | None = None

    OPTIONAL = ("activation", "lanes", "run")
    MAPPING = MappingClass.MANY_TO_MANY
    CONSTANTS = ("values", "starts", "scales", "bias")
    INDICES = ("columns", "segments", "offsets", "rows", "work")
    RAGGED = ("values", "columns", "segments", "offsets", "rows")

    @verifier
    def verify_invariants(op):
        check_packed(op)
        x, result, panel = list(op.x.type.shape), list(op.result.type.shape), op.layout.tile()[0]
        run = to_python(op.attributes["run"]) if "run" in op.attributes else QUAD
        expect(run in RUNS, f"expected a run of 4 or 8, found {run}")
        fits = x[3:] in ([panel], *([panel, n] for n in RUNS if n <= run))
        expect(fits, f"expected x [batch, panels, features / n, {panel}, n], with n = 4 or the run, or rows, found {x}")
        expect(
            len(result) == 4 and result[:2] == x[:2], f"expected x and result of equal panels, found {x} and {result}"
        )
        features = x[2] * group_of(op)
        expect(features <= MOST_FEATURES, f"expected {MOST_FEATURES} features or less, found {features}")
        check_lanes(op, x)
        found = list(op.token_scales.type.shape)
        expect(found == [*x[:2], panel], f"expected token_scales of shape {[*x[:2], panel]}, found {found}")
        for name in ("starts", "scales"):
            found = list(getattr(op, name).type.shape)
            expect(found == [result[2]], f"expected {name} of shape [{result[2]}], found {found}")
        wanted = {"x": "i8", "values": "i8", "starts": "i32", "scales": "f32", "token_scales": "f32"}
        for name, kind in wanted.items():
            element = str(getattr(op, name).type.element_type)
            expect(element == kind, f"expected {name} of {kind}, found {element}")
        point = op.zero_point.value
        expect(point in ZERO_POINTS, f"expected a zero point of 0 or 128, found {point}")
        check_epilogue(op, result[2], panels=(op.result,))

    def reference(
        op,
        x: Array,
        token_scales: Array,
        values: Array,
        columns: Array,
        segments: Array,
        offsets: Array,
        rows: Array,
        work: Array,
        starts: Array,
        scales: Array,
        bias: Array | None,
        residual: Array | None,
    ) -> Array:
        weight = dense_weight(op, (values, columns, segments, offsets, rows, work))
        whole = x.astype(np.int64) if op.zero_point.value == 0 else x.view(np.uint8).astype(np.int64)
        batch, panels, _, panel = op.result.type.shape
        # [batch, tokens, features] as integers: the sums are exact.
        if group_of(op) == 1:
            rows_of_bytes = np.empty_like(whole)
            rows_of_bytes[..., token_order(panel, lanes_of(op))] = whole
            whole = rows_of_bytes[..., None]
        flat = whole.transpose(0, 1, 3, 2, 4).reshape(batch, panels * panel, -1)
        # Sums of integers below 2^53 are exact in f64, and many times faster.
        sums = flat.astype(np.float64) @ weight.T + starts
        y = sums * token_scales.reshape(batch, -1, 1).astype(np.float64) * scales
        return epilogue(op, y, bias, residual)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        found = [weight_behind(getattr(op, name)) for name in ("values", "segments", "offsets", "rows")]
        if any(weight is None for weight in found):
            kept = computed = op.values.type.shape[0]
        else:
            values, segments, offsets, rows = (array_of(weight, weights) for weight in found)
            kept, computed = kept_weights(values, segments, offsets, rows, row_masks_of(op), group_of(op), run_of(op))
        real, padded = token_rows(op, op.result, tokens)
        # A product with both scales for each sum.
        after = 2 + epilogue_flops(op)
        tiled = op.rows.type.shape[0] * op.rows.type.shape[1]
        needed = real * (2 * kept + op.result.type.shape[2] * after)
        return Flops(needed, padded * (2 * computed + tiled * after), on_bytes=real * 2 * kept)


def group_of(op: ir.OpView) -> int:
    """Features of a column entry: one in rows."""
    return op.x.type.shape[4] if len(op.x.type.shape) == 5 else 1


def run_of(op: ir.OpView) -> int:
    """Weights of a row that lie side by side."""
    return op.attributes["run"].value if "run" in op.attributes else QUAD


def dense_weight(op: ir.OpView, arrays: Sequence[Array]) -> Array:
    """The weight [rows, features] that the packed arrays hold (values to work), without scales.

    Raises `EvaluationError` as `unpack` does, and for an entry where no feature begins.
    """
    group, (values, places, *rest) = group_of(op), arrays
    columns, within = np.divmod(places, group * op.layout.tile()[0])
    if within.any():
        raise EvaluationError(f"expected column entries where features begin, found {places.tolist()}")
    return unpack(op, [values, columns, *rest], op.x.type.shape[2], group, BYTES_PADDING, run=run_of(op) // group)
