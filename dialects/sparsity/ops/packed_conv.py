"""Level 3: a convolution whose weight is packed (BCRC), on planes."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..attributes import Planes
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..packed_tiles import check_packed, kept_weights, row_masks_of, unpack
from ..reference_parts import Array, activate
from ..rules import activation_of, check_epilogue
from ..work_parts import Flops, Tokens, epilogue_flops
from .conv import residual_first
from .weight import array_of, weight_behind


class PackedConvOp(SparsityOp, name="packed_conv", traits=[ext.Pure]):
    """A convolution on planes whose weight is stored as tiles of rows, as that of `sparsity.packed_linear` is.

    ```mlir
    %y = "sparsity.packed_conv"(%x, %values, %columns, %segments, %offsets, %rows, %work, %pixels) {row_tile = 4 : i64,
         row_masks = [15], planes = #sparsity.planes<{sizes = [56, 56], pitches = [57, 1], phases = [1, 1],
         origin = 64 : i64, length = 3328 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>}
         : (...) -> tensor<1x128x3328xf32>
    ```
    A row is a filter. A column entry is one weight of each filter that uses it: the place in the planes of one image of
    x that the first pixel of the result reads. The result's pixels lie in x, and in its gaps, as they lie in the
    result's planes, so that

        sums[b, f, m] = sum over columns c of filter f of value * x[b, c + m]        x as [batch, places]
        result[b, f, origin + m] = activation(sums + bias) + residual where pixels[m] is not 0, else 0

    and zero before `origin` and behind `origin + length of pixels`. With `residual_first` the residual is added before
    the activation. Operands: `x` [batch, channels, places], the packed arrays, `pixels` [n] f32, 1 or 0; `bias`
    [filters] and `residual` of the result's type, optional. `planes` are the result's. Rejected: what
    `sparsity.packed_linear` rejects of packed arrays, planes with phases, pixels that reach beyond the result's planes.
    """

    result: TensorResult
    x: Tensor
    values: Tensor
    columns: Tensor
    segments: Tensor
    offsets: Tensor
    rows: Tensor
    work: Tensor
    pixels: Tensor
    planes: Planes
    row_tile: ir.IntegerAttr
    row_masks: ir.ArrayAttr
    bias: Tensor | None = None
    residual: Tensor | None = None

    OPTIONAL = ("activation", "residual_first")
    MAPPING = MappingClass.MANY_TO_MANY
    CONSTANTS = ("values", "pixels", "bias")
    INDICES = ("columns", "segments", "offsets", "rows", "work")
    RAGGED = ("values", "columns", "segments", "offsets", "rows")

    @verifier
    def verify_invariants(op):
        check_packed(op)
        expect(isinstance(op.planes, Planes), f"expected 'planes' to be #sparsity.planes, found {op.planes}")
        op.planes.check()
        values = op.planes.values()
        expect(set(values["phases"]) == {1}, f"expected planes of one phase, found {values['phases']}")
        x, result = list(op.x.type.shape), list(op.result.type.shape)
        expect(len(x) == 3 and x[:1] == result[:1], f"expected x [batch, channels, places], found {x}")
        expected = op.planes.shape(*result[:2]) if len(result) == 3 else None
        expect(result == expected, f"expected a result of shape {expected}, found {result}")
        pixels = list(op.pixels.type.shape)
        fits = len(pixels) == 1 and values["origin"] + pixels[0] <= values["length"]
        expect(fits, f"expected pixels [n] with n of {values['length'] - values['origin']} or less, found {pixels}")
        expect(op.residual is not None or not residual_first(op), "has 'residual_first' without a residual")
        check_epilogue(op, result[1])

    def reference(
        op,
        x: Array,
        values: Array,
        columns: Array,
        segments: Array,
        offsets: Array,
        rows: Array,
        work: Array,
        pixels: Array,
        bias: Array | None,
        residual: Array | None,
    ) -> Array:
        batch, filters, _ = op.result.type.shape
        flat = x.reshape(batch, -1).astype(np.float64)
        places, column_of = np.unique(columns, return_inverse=True)
        packed = (values, column_of.astype(np.int32), segments, offsets, rows, work)
        weight = unpack(op, packed, len(places), count=filters)
        reached = places[:, None] + np.arange(len(pixels))
        sums = np.stack([weight @ image[reached] for image in flat])
        if bias is not None:
            sums += bias[:, None]
        origin = op.planes.values()["origin"]
        within = slice(origin, origin + len(pixels))
        added = 0.0 if residual is None else residual[..., within]
        if residual_first(op):
            total = activate(activation_of(op), sums + added)
        else:
            total = activate(activation_of(op), sums) + added
        result = np.zeros(op.result.type.shape)
        result[..., within] = np.where(pixels != 0, total, 0.0)
        return result

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        found = [weight_behind(getattr(op, name)) for name in ("values", "segments", "offsets", "rows")]
        if any(weight is None for weight in found):
            kept = computed = op.values.type.shape[0]
        else:
            kept, computed = kept_weights(*(array_of(weight, weights) for weight in found), row_masks_of(op))
        batch, filters, _ = op.result.type.shape
        pixels, padded = int(np.prod(op.planes.values()["sizes"])), op.pixels.type.shape[0]
        after, tiled = epilogue_flops(op), op.rows.type.shape[0] * op.rows.type.shape[1]
        return Flops(batch * pixels * (2 * kept + filters * after), batch * padded * (2 * computed + tiled * after))
