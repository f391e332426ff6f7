"""Level 3: a linear layer whose weight is packed (BCRC)."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..dialect import Tensor, TensorResult, expect, note, verifier
from ..operation import MappingClass, SparsityOp
from ..packed_tiles import check_packed, kept_weights, row_masks_of, unpack
from ..reference_parts import Array, as_token_major, epilogue
from ..rules import check_epilogue, check_layout, check_scales, feature_axis, features_of
from ..work_parts import Flops, Tokens, epilogue_flops, token_rows
from .weight import array_of, weight_behind

VALUES_PADDING = 16
"""How many elements that no tile uses stand behind packed values of f16 and i8."""


def _half_sums(run: ir.Attribute) -> None:
    positive = isinstance(run, ir.IntegerAttr) and run.value > 0
    expect(positive, f"expected '{HALF_SUMS}' to be a positive integer, found {run}")


HALF_SUMS = note("sparsity.half_sums", _half_sums)
"""On a packed op: products are summed in f16, at most that many before they are added to a sum in f32."""


def half_sums_of(op: ir.OpView) -> int:
    """How many columns a packed op sums in f16 at a time; 0 where it computes in f32."""
    return op.attributes[HALF_SUMS].value if HALF_SUMS in op.attributes else 0


class PackedLinearOp(SparsityOp, name="packed_linear", traits=[ext.Pure]):
    """A linear layer whose weight is stored as block-column-row compressed (BCRC) tiles of rows.

    ```mlir
    %y = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 4 : i64,
         row_masks = [15], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>}
         : (...) -> tensor<1x128x768xf32>
    ```
    Rows are reordered and cut into tiles of `row_tile`; row `i` of tile `t` is output feature `rows[t, i]`. A tile
    has one segment per entry of `row_masks`: the columns that exactly those of its rows use that are in the mask.
    Segment `s` of tile `t` is `columns[segments[t, s, 0] .. segments[t, s, 1])`; the column entries hold row offsets
    into the source (for a linear layer: input features). The tile's weights begin at `values[offsets[t]]`: segment by
    segment, column by column, one value per row of the mask (lowest bit first). So

        result[.., rows[t, i]] = activation(scales[rows[t, i]] * (sum over segments with bit i, over their columns c
                                            of value * x[.., c]) + bias[rows[t, i]]) + residual[.., rows[t, i]]

    `row_masks = [2^row_tile - 1]` is one column list for the whole tile; `[1, 2, 4, 8]` one list per row; all 15 masks
    of a tile of four rows hold any pattern without padding. Tiles with equal columns may share a list (BCRC's groups).
    A tile at the end of a group that has fewer rows repeats its last row; the repeated row has equal values.

    Operands: `x` [..., columns] or panels, `values` [n] f32, f16 or i8, `columns` [m] i32, `segments`
    [tiles, masks, 2] i32, `offsets` [tiles] i32, `rows` [tiles, row_tile] i32, `work` [workgroups + 1] i32 (workgroup
    `w` computes tiles `work[w] .. work[w + 1]`), `bias` [rows], `residual`, `scales` [rows] f32 (optional; one, where
    absent). Values of f16 and i8 are read as f32, exactly; 16 that no tile uses stand at their end, so that kernels may
    load whole vectors. With `sparsity.half_sums = n`, x is rounded to f16 and n columns at a time are multiplied and
    summed in f16. Rejected: shapes that do not match, a mask outside 1 .. 2^row_tile - 1, a repeated mask, values of i8
    without scales, scales of other values, `half_sums` that is no positive integer, or beside values other than f16.
    """

    result: TensorResult
    x: Tensor
    values: Tensor
    columns: Tensor
    segments: Tensor
    offsets: Tensor
    rows: Tensor
    work: Tensor
    row_tile: ir.IntegerAttr
    row_masks: ir.ArrayAttr
    bias: Tensor | None = None
    residual: Tensor | None = None
    scales: Tensor | None = None

    OPTIONAL = ("layout", "activation")
    MAPPING = MappingClass.MANY_TO_MANY
    IN_PANELS = ("x", "residual")
    CONSTANTS = ("values", "bias", "scales")
    INDICES = ("columns", "segments", "offsets", "rows", "work")
    RAGGED = ("values", "columns", "segments", "offsets", "rows")
    STORED = ("values", "scales")

    @verifier
    def verify_invariants(op):
        check_packed(op)
        x, result = list(op.x.type.shape), list(op.result.type.shape)
        expect(
            len(x) == len(result) and len(x) >= 1,
            f"expected x and result of equal rank, found {x} and {result}",
        )
        check_layout(op, op.x, op.result)
        axis = feature_axis(op, len(x))
        equal = [a == b for i, (a, b) in enumerate(zip(x, result, strict=True)) if i != axis]
        expect(all(equal), f"expected x and result to differ in features only, found {x} and {result}")
        features = features_of(op, op.result)
        check_scales(op, "scales", [features])
        check_epilogue(op, features)
        if HALF_SUMS in op.attributes:
            element = op.values.type.element_type
            expect(str(element) == "f16", f"expected values of f16 beside '{HALF_SUMS}', found {element}")

    def reference(
        op,
        x: Array,
        values: Array,
        columns: Array,
        segments: Array,
        offsets: Array,
        rows: Array,
        work: Array,
        bias: Array | None,
        residual: Array | None,
        scales: Array | None,
    ) -> Array:
        x = as_token_major(op, x)
        padding = 0 if values.dtype == np.float32 else VALUES_PADDING
        weight = unpack(op, (values, columns, segments, offsets, rows, work), x.shape[-1], padding=padding)
        if scales is not None:
            weight *= scales[:, None].astype(np.float64)
        if half_sums_of(op):
            x = x.astype(np.float16)
        return epilogue(op, x.astype(np.float64) @ weight.T, bias, residual)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        found = [weight_behind(getattr(op, name)) for name in ("values", "segments", "offsets", "rows")]
        if any(weight is None for weight in found):
            size = op.values.type.shape[0]
            kept, computed = size, size
        else:
            values, segments, offsets, rows_of_tiles = (array_of(weight, weights) for weight in found)
            kept, computed = kept_weights(values, segments, offsets, rows_of_tiles, row_masks_of(op))
        rows = features_of(op, op.result)
        after = epilogue_flops(op)
        real, padded = token_rows(op, op.result, tokens)
        tiled = op.rows.type.shape[0] * op.rows.type.shape[1]
        return Flops(real * (2 * kept + rows * after), padded * (2 * computed + tiled * after))
