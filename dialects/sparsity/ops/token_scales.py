"""Level 3, bytes: what a token's features are divided by before they are rounded to bytes."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..attributes import Layout
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array
from ..rules import check_layout
from ..work_parts import Flops, Tokens, token_rows

LARGEST = 127
"""The largest absolute byte: the range is symmetric, so that zero stays zero."""


class TokenScalesOp(SparsityOp, name="token_scales", traits=[ext.Pure]):
    """`result[b, p, t] = max over features of |x[b, p, f, t]| / 127`: the scale of each token.

    ```mlir
    %s = "sparsity.token_scales"(%x) {layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>}
         : (tensor<1x2x768x64xf32>) -> tensor<1x2x64xf32>
    ```
    Operand: `x` [batch, panels, features, panel] f32. A token of zeros has the scale zero; a NaN makes its token's
    scale a NaN. Rejected: a layout other than that of `x`, or with `inner` above 1, a result that is not [batch,
    panels, panel] f32.
    """

    result: TensorResult
    x: Tensor
    layout: Layout

    MAPPING = MappingClass.MANY_TO_MANY

    @verifier
    def verify_invariants(op):
        op.layout.check()
        expect(op.layout.tile()[1] == 1, f"expected a layout with inner = 1, found {op.layout.tile()[1]}")
        check_layout(op, op.x)
        wanted, found = [*op.x.type.shape[:2], op.x.type.shape[3]], list(op.result.type.shape)
        expect(found == wanted, f"expected a result of shape {wanted}, found {found}")
        types = [str(v.type.element_type) for v in (op.x, op.result)]
        expect(types == ["f32", "f32"], f"expected x and result of f32, found {' and '.join(types)}")

    def result_type(x: ir.Value) -> ir.Type:
        batch, panels, _, panel = x.type.shape
        return ir.RankedTensorType.get([batch, panels, panel], ir.F32Type.get())

    def reference(op, x: Array) -> Array:
        return np.abs(x).max(axis=2) / np.float32(LARGEST)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        real, padded = token_rows(op, op.x, tokens)
        return Flops(real * op.x.type.shape[2], padded * op.x.type.shape[2])
