"""Level 2: a linear layer."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, epilogue
from ..rules import check_epilogue, layout_of


class LinearOp(SparsityOp, name="linear", traits=[ext.Pure]):
    """`result = activation(x @ transpose(weight) + bias) + residual`.

    ```mlir
    %y = "sparsity.linear"(%x, %w, %b) {operandSegmentSizes = array<i32: 1, 1, 1, 0>}
         : (tensor<1x128x768xf32>, tensor<3072x768xf32>, tensor<3072xf32>) -> tensor<1x128x3072xf32>
    ```
    Operands: `x` [..., columns], `weight` [rows, columns], `bias` [rows] (optional), `residual` of the
    result's type (optional). Attributes: `activation`, optional (default `none`). Rejected: shapes that
    do not match, an unknown activation.
    """

    result: TensorResult
    x: Tensor
    weight: Tensor
    bias: Tensor | None = None
    residual: Tensor | None = None

    OPTIONAL = ("activation",)
    MAPPING = MappingClass.MANY_TO_MANY
    STORED = ("weight", None)

    @verifier
    def verify_invariants(op):
        weight = list(op.weight.type.shape)
        expect(len(weight) == 2, f"expected a weight [rows, columns], found shape {weight}")
        x, result = list(op.x.type.shape), list(op.result.type.shape)
        expect(
            bool(x) and x[-1] == weight[1],
            f"expected x with {weight[1]} features (the weight's columns), found {x}",
        )
        expected = [*x[:-1], weight[0]]
        expect(result == expected, f"expected a result of shape {expected}, found {result}")
        expect(layout_of(op) is None, "has no panel layout; 'sparsity.packed_linear' has")
        check_epilogue(op, weight[0])

    def result_type(x: ir.Value, weight: ir.Value, **others: ir.Value) -> ir.Type:
        return ir.RankedTensorType.get([*x.type.shape[:-1], weight.type.shape[0]], x.type.element_type)

    def reference(op, x: Array, weight: Array, bias: Array | None, residual: Array | None) -> Array:
        return epilogue(op, x.astype(np.float64) @ weight.astype(np.float64).T, bias, residual)
