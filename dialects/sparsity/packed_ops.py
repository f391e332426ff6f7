"""Level 3, scheduled ops: weights packed (BCRC), activations in feature-major panels."""

from torch_mlir import ir
from torch_mlir.dialects import ext

from .attributes import Layout
from .dialect import Sparsity, Tensor, TensorResult, expect, note, verifier
from .structural_ops import check_epilogue, check_layout, check_scales, feature_axis, features_of

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


def row_masks_of(op: ir.OpView) -> list[int]:
    """The classes of a packed op: bit i of a mask is set where row i of a tile takes part."""
    return [mask.value for mask in op.row_masks]


class PackedLinearOp(Sparsity.Operation, name="packed_linear", traits=[ext.Pure]):
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

    @verifier
    def verify_invariants(op):
        integers = all(isinstance(mask, ir.IntegerAttr) for mask in op.row_masks)
        expect(integers, f"expected row masks to be integers, found {op.row_masks}")
        row_tile, masks = op.row_tile.value, row_masks_of(op)
        expect(1 <= row_tile <= 32, f"expected row_tile from 1 to 32, found {row_tile}")
        expect(bool(masks), "expected at least one row mask, found none")
        for mask in masks:
            expect(0 < mask < 1 << row_tile, f"expected row masks of {row_tile} bits, none empty, found {mask}")
        expect(len(set(masks)) == len(masks), f"expected different row masks, found {masks}")
        rows = list(op.rows.type.shape)
        expect(len(rows) == 2 and rows[1] == row_tile, f"expected rows [tiles, {row_tile}], found {rows}")
        for name, expected in (("segments", [rows[0], len(masks), 2]), ("offsets", [rows[0]])):
            found = list(getattr(op, name).type.shape)
            expect(found == expected, f"expected {name} of shape {expected}, found {found}")
        for name in ("values", "columns", "work"):
            found = list(getattr(op, name).type.shape)
            expect(len(found) == 1, f"expected {name} to have one dimension, found {found}")
        for name in ("columns", "segments", "offsets", "rows", "work"):
            element = getattr(op, name).type.element_type
            expect(str(element) == "i32", f"expected {name} of i32, found {element}")
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


class ToPanelsOp(Sparsity.Operation, name="to_panels", traits=[ext.Pure]):
    """Token-major to feature-major panels; the last panel is filled with zeros.

    ```mlir
    %p = "sparsity.to_panels"(%x) {layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>}
         : (tensor<1x100x768xf32>) -> tensor<1x2x768x64xf32>
    ```
    `result[b, p, f, t] = x[b, p * panel + t, f]`; with `inner` above 1, `result[b, p, f / inner, t, f % inner]`.
    Operand: `x` [batch, tokens, features]. Rejected: features that are no multiple of `inner`, a result that is not
    [batch, ceil(tokens / panel), features / inner, panel, inner], without the last where `inner` is 1.
    """

    result: TensorResult
    x: Tensor
    layout: Layout

    @verifier
    def verify_invariants(op):
        op.layout.check()
        _check_panels(op, list(op.x.type.shape), list(op.result.type.shape))


class FromPanelsOp(Sparsity.Operation, name="from_panels", traits=[ext.Pure]):
    """Feature-major panels to token-major; the padding of the last panel is cut off.

    ```mlir
    %x = "sparsity.from_panels"(%p) {layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>}
         : (tensor<1x2x768x64xf32>) -> tensor<1x100x768xf32>
    ```
    `result[b, p * panel + t, f] = x[b, p, f, t]`. Rejected: shapes that `to_panels` does not make of the result.
    """

    result: TensorResult
    x: Tensor
    layout: Layout

    @verifier
    def verify_invariants(op):
        op.layout.check()
        _check_panels(op, list(op.result.type.shape), list(op.x.type.shape))


def _check_panels(op: ir.OpView, tokens_major: list[int], panels: list[int]) -> None:
    expect(len(tokens_major) == 3, f"expected [batch, tokens, features], found shape {tokens_major}")
    batch, tokens, features = tokens_major
    _, inner = op.layout.tile()
    expect(features % inner == 0, f"expected 'inner' ({inner}) to divide the features, found {features} of them")
    expected = op.layout.shape(batch, tokens, features)
    expect(panels == expected, f"expected panels of shape {expected}, found {panels}")
