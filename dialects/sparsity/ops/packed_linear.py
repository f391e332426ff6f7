"""Level 3: a linear layer whose weight is packed (BCRC)."""

from collections.abc import Sequence

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..dialect import Tensor, TensorResult, expect, note, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, EvaluationError, as_token_major, epilogue
from ..rules import check_epilogue, check_layout, check_scales, feature_axis, features_of, layout_of
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


def row_masks_of(op: ir.OpView) -> list[int]:
    """The classes of a packed op: bit i of a mask is set where row i of a tile takes part."""
    return [mask.value for mask in op.row_masks]


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
        weight = unpack(op, (values, columns, segments, offsets, rows, work), x.shape[-1])
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
        return real * (2 * kept + rows * after), padded * (2 * computed + tiled * after)


def unpack(op: ir.OpView, arrays: Sequence[Array], features: int) -> Array:
    """The dense weight `[rows, features]` in float64 that the packed arrays of a `packed_linear` hold, without scales.

    `arrays`: values, columns, segments, offsets, rows, work. Raises `EvaluationError` where they break the
    op's rules: work that leaves out tiles, a position outside an array, a row that no tile has, or two
    tiles that disagree on a row.
    """
    values, columns, segments, offsets, rows, work = arrays
    count = op.result.type.shape[-1 if layout_of(op) is None else -2]
    tiles = len(offsets)
    if len(work) < 2 or work[0] != 0 or work[-1] != tiles or (np.diff(work) < 0).any():
        raise EvaluationError(f"expected 'work' to cover tiles 0 .. {tiles} in order, found {work.tolist()}")
    bits = [[i for i in range(op.row_tile.value) if mask >> i & 1] for mask in row_masks_of(op)]
    used = len(values) if values.dtype == np.float32 else len(values) - VALUES_PADDING
    weight, known = np.zeros((count, features)), np.zeros(count, bool)
    for t in range(tiles):
        tile, at = np.zeros((op.row_tile.value, features)), int(offsets[t])
        for s, lanes in enumerate(bits):
            begin, end = map(int, segments[t, s])
            taken = (end - begin) * len(lanes)
            if not (0 <= begin <= end <= len(columns) and at >= 0 and at + taken <= used):
                where = f"segment {s} of tile {t}"
                raise EvaluationError(f"expected {where} inside columns and values, found {begin}..{end}")
            listed = columns[begin:end]
            if ((listed < 0) | (listed >= features)).any():
                raise EvaluationError(f"expected columns below {features} in tile {t}, found {listed.tolist()}")
            # A column may stand in several segments of a row: its values add up.
            np.add.at(tile.T, (listed[:, None], np.array(lanes)), values[at : at + taken].reshape(-1, len(lanes)))
            at += taken
        for i, row in enumerate(rows[t].tolist()):
            if not 0 <= row < count:
                raise EvaluationError(f"expected rows below {count} in tile {t}, found {row}")
            if known[row] and not np.array_equal(weight[row], tile[i]):
                raise EvaluationError(f"expected one set of values for row {row}, found another in tile {t}")
            weight[row], known[row] = tile[i], True
    if not known.all():
        raise EvaluationError(f"expected every row in a tile, found none for row {int(np.argmin(known))}")
    return weight


def kept_weights(
    values: np.ndarray, segments: np.ndarray, offsets: np.ndarray, rows: np.ndarray, masks: list[int]
) -> tuple[int, int]:
    """Weights of packed tiles that are not zero, each once, and weights that a kernel multiplies by.

    Arrays as in `sparsity.packed_linear`.
    """
    lengths = (segments[..., 1] - segments[..., 0]).astype(np.int64)
    ones = np.array([mask.bit_count() for mask in masks])
    computed = int((lengths * ones).sum())
    # A tile that ends early repeats its last row, with equal weights.
    repeated = np.zeros(rows.shape, bool)
    repeated[:, 1:] = rows[:, 1:] == rows[:, :-1]
    again = 0
    for tile in np.flatnonzero(repeated.any(axis=1)):
        place = int(offsets[tile])
        for mask, length in zip(masks, lengths[tile], strict=True):
            used = [i for i in range(rows.shape[1]) if mask >> i & 1]
            block = values[place : place + length * len(used)].reshape(length, len(used))
            again += int(np.count_nonzero(block[:, repeated[tile, used]]))
            place += length * len(used)
    return int(np.count_nonzero(values)) - again, computed
