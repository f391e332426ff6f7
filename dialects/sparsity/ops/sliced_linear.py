"""Level 3, few tokens: a linear layer whose output rows are the lanes of vectors."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, EvaluationError, epilogue
from ..rules import ACTIVATIONS, activation_of, check_scales
from ..work_parts import Flops, Tokens, epilogue_flops
from .weight import array_of, weight_behind

# Vectors of `x` that a window is long: the two tables of a lookup instruction.
WINDOW_VECTORS = 2
WINDOW_STEPS = "window_steps"


class SlicedLinearOp(SparsityOp, name="sliced_linear", traits=[ext.Pure]):
    """A linear layer for few tokens; its weight is stored in slices of rows, one value per row at each step.

    ```mlir
    %y = "sparsity.sliced_linear"(%x, %values, %columns, %offsets, %rows, %work) {vector_rows = 16 : i64,
         consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>}
         : (...) -> tensor<1x3072xf32>
    ```
    `height` rows form a slice; row `i` of slice `s` is output feature `rows[s, i]`. A slice has as many steps as its
    longest row has weights; the others are padded with zeros. A step holds one value per row, next to each other, so
    that a vector of `vector_rows` rows is one load and every weight is read once, in order. Beside run `lists` column
    lists (a divisor of `height`): row `i` follows list `l = i * lists / height`. One list is for rows that keep the
    same columns; a list per row holds any pattern (SELL-C-sigma: Kreutzer et al., SIAM J. Sci. Comput. 36(5), 2014). So

        result[t, rows[s, i]] = activation(slice_scales[s, i] * (sum over steps k of values[k, i] * x[t, columns[k, l]])
                                           + slice_bias[s, i]) + residual[t, rows[s, i]]
        with offsets[s] <= k < offsets[s + 1]

    Where `starts` is present, a list per row is written in windows, so that a kernel can keep the numbers of `x` that
    some steps read in registers: `columns` are places of i8 in a window, `window_steps` steps in a row share one, and
    no slice shares one with the next. A window is `WINDOW_VECTORS * vector_rows` places from its start on. With
    `order`, the places are those of a copy of `x` with the columns in that order, which may repeat or leave out some:

        columns[k, i] = order[starts[k / window_steps] + place[k, i]], 0 <= place < WINDOW_VECTORS * vector_rows

    A padded step names a column of its list (column 0 where that is empty; a place of the window where there are). A
    slice with fewer rows repeats some, with equal values. `consecutive`: the rows of a vector are neighbours, `rows[s,
    i + 1] = rows[s, i] + 1`; only the vector with the layer's last rows may be shorter, and repeats its last row.

    Operands: `x` [tokens, columns], `values` [steps, height] f32, f16 or i8 (read as f32, exactly), `columns`
    [steps, lists] i16 or i32 (not negative), `offsets` [slices + 1] i32, `rows` [slices, height] i32, `work`
    [workgroups + 1] i32 (workgroup `w` computes slices `work[w] .. work[w + 1]`); optional: `slice_bias`
    [slices, height], `residual` [tokens, rows], `slice_scales` [slices, height] f32 (one, where absent), `starts`
    [windows] i16 or i32 (then `columns` [steps, height] i8), `order` [places] i16 or i32. Rejected: shapes that do not
    match, lists that do not divide the height, vectors that do not divide the rows of a list, values of i8 without
    scales, scales of other values, windows that are not `window_steps` steps each or longer than the places, an order
    or `window_steps` without windows.
    """

    result: TensorResult
    x: Tensor
    values: Tensor
    columns: Tensor
    offsets: Tensor
    rows: Tensor
    work: Tensor
    vector_rows: ir.IntegerAttr
    # A false `BoolAttr` is falsy, and `ext` takes a falsy attribute for a missing one.
    consecutive: Any = ext.attribute(default_factory=lambda: ir.BoolAttr.get(False))
    slice_bias: Tensor | None = None
    residual: Tensor | None = None
    slice_scales: Tensor | None = None
    starts: Tensor | None = None
    order: Tensor | None = None

    OPTIONAL = ("activation", WINDOW_STEPS)
    MAPPING = MappingClass.MANY_TO_MANY
    CONSTANTS = ("values", "slice_bias", "slice_scales")
    INDICES = ("columns", "offsets", "rows", "work", "starts", "order")
    RAGGED = ("values", "columns", "offsets", "rows", "slice_bias", "slice_scales", "starts")
    STORED = ("values", "slice_scales")

    @verifier
    def verify_invariants(op):
        x, result = list(op.x.type.shape), list(op.result.type.shape)
        equal = len(x) == len(result) == 2 and x[0] == result[0]
        expect(equal, f"expected x and result [tokens, features] of equal tokens, found {x} and {result}")
        values, columns, rows = (list(getattr(op, name).type.shape) for name in ("values", "columns", "rows"))
        expect(len(values) == 2, f"expected values [steps, height], found {values}")
        steps, height = values
        fits = len(columns) == 2 and columns[0] == steps and 0 < columns[1] <= height and height % columns[1] == 0
        expect(fits, f"expected columns [{steps}, a divisor of {height}], found {columns}")
        expect(isinstance(op.consecutive, ir.BoolAttr), f"expected 'consecutive' to be a bool, found {op.consecutive}")
        width, whole = op.vector_rows.value, height if columns[1] == height else height // columns[1]
        fits = 0 < width <= whole and whole % width == 0
        expect(fits, f"expected vector_rows to divide the {whole} rows that share a list or a slice, found {width}")
        expect(len(rows) == 2 and rows[1] == height, f"expected rows [slices, {height}], found {rows}")
        found = list(op.offsets.type.shape)
        expect(found == [rows[0] + 1], f"expected offsets of shape {[rows[0] + 1]}, found {found}")
        found = list(op.work.type.shape)
        expect(len(found) == 1 and found[0] > 1, f"expected work [workgroups + 1], found {found}")
        numbers = ("i16", "i32")
        accepted = {"columns": numbers if op.starts is None else ("i8",), "starts": numbers, "order": numbers}
        for name in op.INDICES:
            if getattr(op, name) is not None:
                element, known = str(getattr(op, name).type.element_type), accepted.get(name, ("i32",))
                expect(element in known, f"expected {name} of {' or '.join(known)}, found {element}")
        _verify_windows(op, x[1], steps)
        check_scales(op, "slice_scales", rows)
        if op.slice_bias is not None:
            found = list(op.slice_bias.type.shape)
            expect(found == rows, f"expected slice_bias of shape {rows}, found {found}")
        if op.residual is not None:
            text = f"expected the residual to have the result's type {op.result.type}, found {op.residual.type}"
            expect(op.residual.type == op.result.type, text)
        activation = activation_of(op)
        text = f"expected an activation among {', '.join(ACTIVATIONS)}, found '{activation}'"
        expect(activation in ACTIVATIONS, text)

    def reference(
        op,
        x: Array,
        values: Array,
        columns: Array,
        offsets: Array,
        rows: Array,
        work: Array,
        slice_bias: Array | None,
        residual: Array | None,
        slice_scales: Array | None,
        starts: Array | None,
        order: Array | None,
    ) -> Array:
        columns = column_lists(op, columns, starts, order, x.shape[-1])
        weight = unpack_slices(op, (values, columns, offsets, rows, work), x.shape[-1])
        if slice_scales is not None:
            scales = np.zeros(len(weight))
            scales[rows] = slice_scales
            weight *= scales[:, None]
        bias = None
        if slice_bias is not None:
            bias = np.zeros(len(weight))
            bias[rows] = slice_bias
        return epilogue(op, x.astype(np.float64) @ weight.T, bias, residual)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        found = [weight_behind(getattr(op, name)) for name in ("values", "offsets", "rows")]
        computed = kept = int(np.prod(op.values.type.shape))
        if all(weight is not None for weight in found):
            values, offsets, rows = (array_of(weight, weights) for weight in found)
            counts = np.zeros(rows.shape, np.int64)
            np.add.at(counts, np.repeat(np.arange(len(rows)), np.diff(offsets)), values[: offsets[-1]] != 0)
            # A slice that ends early repeats rows, with equal weights.
            _, first = np.unique(rows, return_index=True)
            kept = int(counts.reshape(-1)[first].sum())
        after = epilogue_flops(op)
        count, features = op.result.type.shape
        lanes = int(np.prod(op.rows.type.shape))
        return Flops(count * (2 * kept + features * after), count * (2 * computed + lanes * after))


def window_steps_of(op: ir.OpView) -> int:
    """Steps that share a window; 0 where the op has no windows."""
    return ir.IntegerAttr(op.attributes[WINDOW_STEPS]).value if WINDOW_STEPS in op.attributes else 0


def _verify_windows(op: ir.OpView, features: int, steps: int) -> None:
    if op.starts is None:
        both = "an order" if op.order is not None else f"'{WINDOW_STEPS}'"
        expect(op.order is None and WINDOW_STEPS not in op.attributes, f"expected starts beside {both}, found none")
        return
    found, height, each = list(op.starts.type.shape), op.values.type.shape[1], window_steps_of(op)
    fits = len(found) == 1 and each > 0 and found[0] * each == steps
    expect(fits, f"expected starts of windows of '{WINDOW_STEPS}' = {each} steps for {steps} steps, found {found}")
    lists = op.columns.type.shape[1]
    expect(lists == height, f"expected a list for each of {height} rows beside starts, found {lists}")
    places = [features] if op.order is None else list(op.order.type.shape)
    window = WINDOW_VECTORS * op.vector_rows.value
    fits = len(places) == 1 and places[0] >= window
    expect(fits, f"expected {window} places or more for windows of {window}, found {places}")


def column_lists(op: ir.OpView, columns: Array, starts: Array | None, order: Array | None, features: int) -> Array:
    """The columns of each step, [steps, lists], of `columns` that may be places in windows.

    Raises `EvaluationError` for a window or a place outside.
    """
    if starts is None:
        return columns
    window, places = WINDOW_VECTORS * op.vector_rows.value, features if order is None else len(order)
    for name, found, end in (("starts", starts, places - window + 1), ("columns", columns, window)):
        if found.min() < 0 or found.max() >= end:
            raise EvaluationError(f"expected {name} from 0 to {end - 1}, found {found.min()} to {found.max()}")
    at = np.repeat(starts.astype(np.int64), window_steps_of(op))[:, None] + columns
    return at if order is None else order[at]


def unpack_slices(op: ir.OpView, arrays: Sequence[Array], features: int) -> Array:
    """The dense weight `[rows, features]` in float64 that the arrays of a `sliced_linear` hold, without scales.

    `arrays`: values, columns, offsets, rows, work. Raises `EvaluationError` where they break the op's rules: work that
    leaves out slices, a position outside an array, a row that no slice has, or two that disagree on a row.
    """
    values, columns, offsets, rows, work = arrays
    (slices, height), lists, count = rows.shape, columns.shape[1], op.result.type.shape[-1]
    each = window_steps_of(op) or 1
    if (offsets % each).any():
        raise EvaluationError(f"expected 'offsets' at whole windows of {each} steps, found {offsets.tolist()}")
    if offsets[-1] > len(values):
        raise EvaluationError(f"expected 'offsets' up to {len(values)} steps, found {int(offsets[-1])}")
    for name, bounds, last in (("work", work, slices), ("offsets", offsets, offsets[-1])):
        if bounds[0] != 0 or bounds[-1] != last or (np.diff(bounds) < 0).any():
            raise EvaluationError(f"expected '{name}' to cover 0 .. {last} in order, found {bounds.tolist()}")
    for name, entries, end in (("columns", columns, features), ("rows", rows, count)):
        if entries.min() < 0:
            raise EvaluationError(f"expected {name} from 0, found {int(entries.min())}")
        if entries.max() >= end:
            raise EvaluationError(f"expected {name} below {end}, found {int(entries.max())}")
    weight, known = np.zeros((count, features)), np.zeros(count, bool)
    row = np.arange(height)
    for s in range(slices):
        part, steps = np.zeros((height, features)), slice(offsets[s], offsets[s + 1])
        np.add.at(part, (row, columns[steps][:, row * lists // height]), values[steps])
        for i, feature in enumerate(rows[s].tolist()):
            if known[feature] and not np.array_equal(weight[feature], part[i]):
                raise EvaluationError(f"expected one set of values for row {feature}, found another in slice {s}")
            weight[feature], known[feature] = part[i], True
    if not known.all():
        raise EvaluationError(f"expected every row in a slice, found none for row {int(np.argmin(known))}")
    return weight
