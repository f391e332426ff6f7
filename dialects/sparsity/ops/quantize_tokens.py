"""Level 3, bytes: activations as bytes, in the order that products of bytes read."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..attributes import Layout, to_python
from ..byte_rows import LANES, token_order
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, from_panels, to_panels
from ..work_parts import Flops, Tokens
from .token_scales import LARGEST

ZERO_POINTS = (0, 128)


class QuantizeTokensOp(SparsityOp, name="quantize_tokens", traits=[ext.Pure]):
    """`result[b, p, f / inner, t, f % inner] = round(x[b, p, f, t] / scales[b, p, t]) + zero_point`, as a byte.

    ```mlir
    %q = "sparsity.quantize_tokens"(%x, %s) {zero_point = 128 : i64, layout = #sparsity.layout<{panel = 64 : i64,
         inner = 4 : i64}>} : (tensor<1x2x768x64xf32>, tensor<1x2x64xf32>) -> tensor<1x2x192x64x4xi8>
    ```
    The quotient is `x * (1 / scale)` in f32, rounded to even and clipped to -127 .. 127; where the scale is below the
    smallest normal number, it is zero. With `zero_point = 0` bytes are signed, with 128 unsigned. `layout` is that of
    the result. With `inner = 1` these are rows [batch, panels, features, panel], whose tokens are in the order that
    `byte_rows` describes for the optional attribute `lanes` (4, 8 or 16; without it, and with 4, in their own order).
    What a NaN becomes is not said: its token's scale is a NaN too. Operands: `x` [batch, panels, features, panel] f32,
    `scales` [batch, panels, panel] f32. Rejected: another zero point, features that are no multiple of `inner`, other
    lanes or lanes beside an `inner` above 1, panels that are no whole runs of `4 * lanes` tokens, shapes that do not
    match.
    """

    result: TensorResult
    x: Tensor
    scales: Tensor
    zero_point: ir.IntegerAttr
    layout: Layout

    OPTIONAL = ("lanes",)
    MAPPING = MappingClass.ONE_TO_ONE

    @verifier
    def verify_invariants(op):
        op.layout.check()
        panel, inner = op.layout.tile()
        x, scales, result = (list(v.type.shape) for v in (op.x, op.scales, op.result))
        fits = len(x) == 4 and x[3] == panel
        expect(fits, f"expected x [batch, panels, features, {panel}] in this layout, found {x}")
        expect(x[2] % inner == 0, f"expected 'inner' ({inner}) to divide the features, found {x[2]} of them")
        expect(scales == [*x[:2], panel], f"expected scales of shape {[*x[:2], panel]}, found {scales}")
        wanted = op.layout.shape(x[0], x[1] * panel, x[2])
        expect(result == wanted, f"expected a result of shape {wanted}, found {result}")
        types = [str(v.type.element_type) for v in (op.x, op.scales, op.result)]
        expect(types == ["f32", "f32", "i8"], f"expected f32 and scales of f32 to become i8, found {', '.join(types)}")
        point = op.zero_point.value
        expect(point in ZERO_POINTS, f"expected a zero point of 0 or 128, found {point}")
        check_lanes(op, result)

    def reference(op, x: Array, scales: Array) -> Array:
        smallest = np.finfo(np.float32).tiny
        with np.errstate(divide="ignore", invalid="ignore"):
            inverse = np.where(scales >= smallest, np.float32(1) / scales, np.float32(0)).astype(np.float32)
            units = np.clip(np.rint(x * inverse[:, :, None]), -LARGEST, LARGEST) + op.zero_point.value
            bytes_ = np.nan_to_num(units).astype(np.int16).astype(np.uint8).view(np.int8)
        panel, inner = op.layout.tile()
        if inner == 1:
            return bytes_[..., token_order(panel, lanes_of(op))]
        return to_panels(from_panels(bytes_), panel, inner)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        # A product and a rounding for each feature.
        batch, panels, features, panel = op.x.type.shape
        real = batch * tokens.get((panels, panel), panels * panel)
        return Flops(2 * real * features, 2 * batch * panels * panel * features)


def lanes_of(op: ir.OpView) -> int:
    """The lanes that rows of bytes are made for (`byte_rows`)."""
    return op.attributes["lanes"].value if "lanes" in op.attributes else LANES[0]


def check_lanes(op: ir.OpView, rows: list[int]) -> None:
    """The rules of the attribute `lanes` beside bytes of the shape `rows`."""
    if "lanes" not in op.attributes:
        return
    lanes = to_python(op.attributes["lanes"])
    expect(type(lanes) is int and lanes in LANES, f"expected 'lanes' of 4, 8 or 16, found {op.attributes['lanes']}")
    expect(len(rows) == 4, f"expected 'lanes' beside rows of bytes, found bytes of shape {rows}")
    expect(rows[3] % (4 * lanes) == 0, f"expected panels of whole runs of {4 * lanes} tokens, found {rows[3]} tokens")
