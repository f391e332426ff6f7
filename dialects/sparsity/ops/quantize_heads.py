"""Level 3, bytes: keys and values of attention as bytes, head by head, in the order that products of bytes read."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..attributes import Layout
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, from_panels, to_panels
from ..rules import check_layout, features_of
from ..work_parts import Flops, Tokens, token_rows
from .quantize_tokens import ZERO_POINTS
from .quantized_linear import QUAD
from .token_scales import LARGEST


class QuantizeHeadsOp(SparsityOp, name="quantize_heads", traits=[ext.Pure]):
    """Rounds keys and values to bytes, with a scale for each token and head.

    ```mlir
    %b = "sparsity.quantize_heads"(%k, %v) {kv_heads = 12 : i64, depth = 64 : i64, value_depth = 64 : i64,
         offsets = [768, 1536], zero_point = 128 : i64, layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>}
         : (tensor<1x2x2304x64xf32>, tensor<1x2x2304x64xf32>) -> tensor<1x2x12x8704xi8>
    ```
    The features of head h begin at `offsets[0] + h * depth` in `key` and at `offsets[1] + h * value_depth` in `value`,
    which may be one tensor. For a token t of a panel of T tokens, `scale = max over the head's features of |x| / 127`
    and `byte = round(x * (1 / scale))`, to even; zero where the scale is below the smallest normal number. `zero_point`
    (0, or 128 where bytes of keys are read as unsigned ones) is added to those of keys. The bytes of a panel and head:

        depth * T          keys: four neighbouring features of a token side by side, [depth / 4, T, 4]
        value_depth * T    values: [value_depth, T], so that four neighbouring tokens of a feature are side by side
        4 * T, 4 * T       the scales of keys and of values, f32, little-endian

    The scale of a token with a NaN or an infinity is a NaN, and what its bytes are is not said. Operands: `key` and
    `value` [batch, panels, features, panel] f32. Rejected: a depth that is no multiple of four, heads that end behind
    the features, another zero point, a layout with `inner` above 1 or other than that of the operands, panels of key
    and value that differ, another result.
    """

    result: TensorResult
    key: Tensor
    value: Tensor
    kv_heads: ir.IntegerAttr
    depth: ir.IntegerAttr
    value_depth: ir.IntegerAttr
    offsets: ir.ArrayAttr
    zero_point: ir.IntegerAttr
    layout: Layout

    MAPPING = MappingClass.MANY_TO_MANY

    @verifier
    def verify_invariants(op):
        op.layout.check()
        panel, inner = op.layout.tile()
        expect(inner == 1, f"expected a layout with inner = 1, found {inner}")
        check_layout(op, op.key, op.value)
        key, value = list(op.key.type.shape), list(op.value.type.shape)
        expect(key[:2] == value[:2], f"expected key and value of equal length, found {key} and {value}")
        sizes = (op.kv_heads.value, op.depth.value, op.value_depth.value)
        expect(min(sizes) > 0 and sizes[1] % QUAD == 0, f"expected heads and a depth in fours, found {list(sizes)}")
        offsets = [getattr(offset, "value", -1) for offset in op.offsets]
        expect(len(offsets) == 2 and min(offsets) >= 0, f"expected 'offsets' to be two positions, found {op.offsets}")
        for name, offset, depth in zip(("key", "value"), offsets, sizes[1:], strict=True):
            end, found = offset + sizes[0] * depth, features_of(op, getattr(op, name))
            expect(end <= found, f"expected {name} with {end} features or more, found {found}")
        wanted, found = [*key[:2], sizes[0], head_bytes(panel, *sizes[1:])], list(op.result.type.shape)
        expect(found == wanted, f"expected a result of shape {wanted}, found {found}")
        types = [str(v.type.element_type) for v in (op.key, op.value, op.result)]
        expect(types == ["f32", "f32", "i8"], f"expected key and value of f32 to become i8, found {', '.join(types)}")
        point = op.zero_point.value
        expect(point in ZERO_POINTS, f"expected a zero point of 0 or 128, found {point}")

    def reference(op, key: Array, value: Array) -> Array:
        heads, panel = op.kv_heads.value, op.layout.tile()[0]
        parts, scales = [], []
        for x, offset, depth, inner in (
            (key, op.offsets[0].value, op.depth.value, QUAD),
            (value, op.offsets[1].value, op.value_depth.value, 1),
        ):
            x = from_panels(x)[..., offset : offset + heads * depth]
            batch, tokens = x.shape[:2]
            rounded, scale = round_heads(x.reshape(batch, tokens, heads, depth))
            if inner == QUAD:
                rounded = rounded + op.zero_point.value
            bytes_ = rounded.astype(np.int16).astype(np.uint8).view(np.int8)
            # Panels of a head each: [batch * heads, panels, ...], then one line of bytes.
            flat = to_panels(bytes_.transpose(0, 2, 1, 3).reshape(batch * heads, tokens, depth), panel, inner)
            parts.append(flat.reshape(batch, heads, tokens // panel, -1))
            lines = np.ascontiguousarray(scale.transpose(0, 2, 1).reshape(batch, heads, tokens // panel, panel))
            scales.append(lines.astype("<f4").view(np.int8))
        return np.concatenate([*parts, *scales], axis=3).transpose(0, 2, 1, 3)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        # A maximum, a product and a rounding for each feature.
        real, padded = token_rows(op, op.key, tokens)
        features = op.kv_heads.value * (op.depth.value + op.value_depth.value)
        return Flops(3 * real * features, 3 * padded * features)


def head_bytes(panel: int, depth: int, value_depth: int) -> int:
    """The bytes of a head's keys and values in a panel, scales included."""
    return panel * (depth + value_depth + 8)


def round_heads(x: Array) -> tuple[Array, Array]:
    """`x` [.., depth] f32 in units of its scale, as whole numbers in float64, and the scales [..] f32.

    The product of an element and the inverse of its scale is rounded once.
    """
    with np.errstate(all="ignore"):
        scale = (np.abs(x).max(axis=-1) / np.float32(LARGEST)).astype(np.float32)
        scale = scale + (scale - scale)
        normal = scale >= np.finfo(np.float32).tiny
        inverse = np.where(normal, np.float32(1) / scale, np.float32(0)).astype(np.float64)
        units = np.rint(x.astype(np.float64) * inverse[..., None])
    return np.nan_to_num(units, nan=0.0, posinf=0.0, neginf=0.0), scale
