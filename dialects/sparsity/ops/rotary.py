"""Level 2: rotary position embedding."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array
from ..work_parts import Flops, Tokens, token_rows


class RotaryOp(SparsityOp, name="rotary", traits=[ext.Pure]):
    """Turns pairs of features of each head by an angle of the token's position (Su et al., arXiv:2104.09864).

    ```mlir
    %y = "sparsity.rotary"(%x, %cos, %sin) {heads = 9 : i64} : (tensor<1x4x576xf32>, tensor<1x4x64xf32>,
         tensor<1x4x64xf32>) -> tensor<1x4x576xf32>
    ```
    Operands: `x` [batch, tokens, heads * d], `cos` and `sin` [batch or 1, tokens, r], r even and at most d. Of each
    head, feature j < r / 2 is paired with j + r / 2, and features from r on stay as they are:

        y[j] = x[j] * cos[j] - x[j + r / 2] * sin[j]                    for j < r / 2
        y[j] = x[j] * cos[j] + x[j - r / 2] * sin[j]                    for r / 2 <= j < r

    Rejected: heads that do not divide the features, an odd r or one above d, shapes that differ.
    """

    result: TensorResult
    x: Tensor
    cos: Tensor
    sin: Tensor
    heads: ir.IntegerAttr

    MAPPING = MappingClass.SHUFFLE

    @verifier
    def verify_invariants(op):
        shape, heads = list(op.x.type.shape), op.heads.value
        expect(len(shape) == 3, f"expected x to have 3 dimensions, found {shape}")
        expect(op.x.type == op.result.type, f"expected a result of {op.x.type}, found {op.result.type}")
        expect(heads > 0 and shape[2] % heads == 0, f"expected heads ({heads}) to divide the features ({shape[2]})")
        found = list(op.cos.type.shape)
        fits = len(found) == 3 and found[0] in (1, shape[0]) and found[1] == shape[1]
        fits = fits and found[2] % 2 == 0 and 0 < found[2] <= shape[2] // heads
        wanted = f"[{shape[0]} or 1, {shape[1]}, an even number up to {shape[2] // heads}]"
        expect(fits, f"expected cos of shape {wanted}, found {found}")
        expect(op.sin.type == op.cos.type, f"expected sin of {op.cos.type}, found {op.sin.type}")

    def result_type(x: ir.Value, cos: ir.Value, sin: ir.Value) -> ir.Type:
        return x.type

    def reference(op, x: Array, cos: Array, sin: Array) -> Array:
        turned = cos.shape[2]
        split = x.astype(np.float64).reshape(*x.shape[:2], op.heads.value, -1)
        first, rest = split[..., :turned], split[..., turned:]
        low, high = np.split(first, 2, axis=-1)
        pairs = np.concatenate([-high, low], axis=-1)
        first = first * cos[:, :, None].astype(np.float64) + pairs * sin[:, :, None].astype(np.float64)
        return np.concatenate([first, rest], axis=-1).reshape(x.shape)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        real, padded = token_rows(op, op.result, tokens)
        turned = op.heads.value * op.cos.type.shape[2]
        return Flops(3 * real * turned, 3 * padded * turned)
