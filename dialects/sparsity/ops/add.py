"""Level 2: the residual connection."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, dtype_of
from ..rules import check_layout
from ..work_parts import Flops, Tokens, elementwise_flops


class AddOp(SparsityOp, name="add", traits=[ext.Pure]):
    """Element-wise `result = lhs + rhs` of equal shapes: the residual connection.

    ```mlir
    %y = "sparsity.add"(%a, %b) : (tensor<1x128x768xf32>, tensor<1x128x768xf32>) -> tensor<1x128x768xf32>
    ```
    Rejected: operands or a result of different types (there is no broadcasting).
    """

    result: TensorResult
    lhs: Tensor
    rhs: Tensor

    OPTIONAL = ("layout",)
    MAPPING = MappingClass.ONE_TO_ONE
    IN_PANELS = ("lhs", "rhs")

    @verifier
    def verify_invariants(op):
        expect(
            op.lhs.type == op.rhs.type,
            f"expected operands of one type, found {op.lhs.type} and {op.rhs.type}",
        )
        expect(op.lhs.type == op.result.type, f"expected a result of {op.lhs.type}, found {op.result.type}")
        check_layout(op, op.lhs)

    def result_type(lhs: ir.Value, rhs: ir.Value) -> ir.Type:
        return lhs.type

    def reference(op, lhs: Array, rhs: Array) -> Array:
        if dtype_of(op.result.type.element_type).kind in "iub":
            return lhs + rhs
        return lhs.astype(np.float64) + rhs.astype(np.float64)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        return elementwise_flops(op, tokens, 1)
