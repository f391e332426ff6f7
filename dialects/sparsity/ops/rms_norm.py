"""Level 2: root-mean-square norm."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, as_token_major, in_layout
from ..rules import check_layout, features_of
from ..work_parts import Flops, Tokens, elementwise_flops


class RmsNormOp(SparsityOp, name="rms_norm", traits=[ext.Pure]):
    """`result = x / sqrt(mean(x * x) + epsilon) * weight` over features (Zhang and Sennrich, arXiv:1910.07467).

    ```mlir
    %y = "sparsity.rms_norm"(%x, %w) {epsilon = 1.0e-6 : f64} : (tensor<1x128x576xf32>, tensor<576xf32>)
         -> tensor<1x128x576xf32>
    ```
    Operands: `x` [..., features], `weight` [features]. Rejected: shapes that differ, a negative epsilon.
    """

    result: TensorResult
    x: Tensor
    weight: Tensor
    epsilon: ir.FloatAttr

    OPTIONAL = ("layout",)
    MAPPING = MappingClass.MANY_TO_MANY
    IN_PANELS = ("x",)
    CONSTANTS = ("weight",)

    @verifier
    def verify_invariants(op):
        expect(op.x.type == op.result.type, f"expected a result of {op.x.type}, found {op.result.type}")
        check_layout(op, op.x)
        expect(op.x.type.rank >= 1, "expected x to have at least one dimension, found none")
        features, found = features_of(op, op.x), list(op.weight.type.shape)
        expect(found == [features], f"expected weight of shape [{features}], found {found}")
        expect(op.epsilon.value >= 0, f"expected epsilon of 0 or more, found {op.epsilon.value}")

    def result_type(x: ir.Value, weight: ir.Value) -> ir.Type:
        return x.type

    def reference(op, x: Array, weight: Array) -> Array:
        h = as_token_major(op, x.astype(np.float64))
        scale = 1.0 / np.sqrt((h * h).mean(axis=-1, keepdims=True) + op.epsilon.value)
        return in_layout(op, h * scale * weight.astype(np.float64))

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        # Square and sum 2, result 2.
        return elementwise_flops(op, tokens, 4)
