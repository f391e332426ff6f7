"""Level 2: layer norm."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, as_token_major, in_layout
from ..rules import alike, check_layout, features_of
from ..work_parts import Flops, Tokens, elementwise_flops


class LayerNormOp(SparsityOp, name="layer_norm", traits=[ext.Pure]):
    """`h = x + residual; result = (h - mean(h)) / sqrt(variance(h) + epsilon) * weight + bias` over features.

    ```mlir
    %y = "sparsity.layer_norm"(%x, %w, %b) {epsilon = 1.0e-12 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>}
         : (tensor<1x128x768xf32>, tensor<768xf32>, tensor<768xf32>) -> tensor<1x128x768xf32>
    ```
    Operands: `x` [..., features], `weight` and `bias` [features], `residual` of the type of `x` (optional).
    The variance is the biased one. Rejected: shapes that differ, a negative epsilon.
    """

    result: TensorResult
    x: Tensor
    weight: Tensor
    bias: Tensor
    epsilon: ir.FloatAttr
    residual: Tensor | None = None

    OPTIONAL = ("layout",)
    MAPPING = MappingClass.MANY_TO_MANY
    IN_PANELS = ("x", "residual")
    CONSTANTS = ("weight", "bias")

    @verifier
    def verify_invariants(op):
        expect(alike(op, op.x, op.result), f"expected a result of {op.x.type}, found {op.result.type}")
        check_layout(op, op.x)
        expect(op.x.type.rank >= 1, "expected x to have at least one dimension, found none")
        features = features_of(op, op.x)
        for name in ("weight", "bias"):
            found = list(getattr(op, name).type.shape)
            expect(found == [features], f"expected {name} of shape [{features}], found {found}")
        if op.residual is not None:
            expect(alike(op, op.residual, op.x), f"expected a residual of {op.x.type}, found {op.residual.type}")
        expect(op.epsilon.value >= 0, f"expected epsilon of 0 or more, found {op.epsilon.value}")

    def result_type(x: ir.Value, **others: ir.Value) -> ir.Type:
        return x.type

    def reference(op, x: Array, weight: Array, bias: Array, residual: Array | None) -> Array:
        h = x.astype(np.float64) if residual is None else x.astype(np.float64) + residual
        h = as_token_major(op, h)
        # Distances to the first feature: equal features have a variance of zero, also in float64.
        distances = h - h[..., :1]
        deviation = distances - distances.mean(axis=-1, keepdims=True)
        variance = (deviation**2).mean(axis=-1, keepdims=True)
        return in_layout(op, deviation / np.sqrt(variance + op.epsilon.value) * weight + bias)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        # Mean 1, variance 3, result 4.
        return elementwise_flops(op, tokens, 8 + (op.residual is not None))
