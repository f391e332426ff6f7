"""Level 3, few tokens: a linear layer whose output rows are the lanes of vectors."""

from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from .dialect import Sparsity, Tensor, TensorResult, expect, verifier
from .structural_ops import ACTIVATIONS, activation_of, check_scales


class SlicedLinearOp(Sparsity.Operation, name="sliced_linear", traits=[ext.Pure]):
    """A linear layer for few tokens; its weight is stored in slices of rows, one value per row at each step.

    ```mlir
    %y = "sparsity.sliced_linear"(%x, %values, %columns, %offsets, %rows, %work) {vector_rows = 16 : i64,
         consecutive = true, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (...) -> tensor<1x3072xf32>
    ```
    `height` rows form a slice; row `i` of slice `s` is output feature `rows[s, i]`. A slice has as many steps as its
    longest row has weights; the others are padded with zeros. A step holds one value per row, next to each other, so
    that a vector of `vector_rows` rows is one load and every weight is read once, in order. Beside run `lists` column
    lists (a divisor of `height`): row `i` follows list `l = i * lists / height`. One list is for rows that keep the
    same columns; a list per row holds any pattern (SELL-C-sigma: Kreutzer et al., SIAM J. Sci. Comput. 36(5), 2014). So

        result[t, rows[s, i]] = activation(slice_scales[s, i] * (sum over steps k of values[k, i] * x[t, columns[k, l]])
                                           + slice_bias[s, i]) + residual[t, rows[s, i]]
        with offsets[s] <= k < offsets[s + 1]

    A padded step names a column of its list (column 0 where that is empty). A slice with fewer rows repeats some, with
    equal values. `consecutive`: the rows of a vector are neighbours, `rows[s, i + 1] = rows[s, i] + 1`; only the vector
    with the layer's last rows may be shorter, and repeats its last row.

    Operands: `x` [tokens, columns], `values` [steps, height] f32, f16 or i8 (read as f32, exactly), `columns`
    [steps, lists] i16 or i32 (not negative), `offsets` [slices + 1] i32, `rows` [slices, height] i32, `work`
    [workgroups + 1] i32 (workgroup `w` computes slices `work[w] .. work[w + 1]`); optional: `slice_bias`
    [slices, height], `residual` [tokens, rows], `slice_scales` [slices, height] f32 (one, where absent). Rejected:
    shapes that do not match, lists that do not divide the height, vectors that do not divide the rows of a list,
    values of i8 without scales, scales of other values.
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

    OPTIONAL = ("activation",)

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
        for name, accepted in (("columns", ("i16", "i32")), *((n, ("i32",)) for n in ("offsets", "rows", "work"))):
            element = str(getattr(op, name).type.element_type)
            expect(element in accepted, f"expected {name} of {' or '.join(accepted)}, found {element}")
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
