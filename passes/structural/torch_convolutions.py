"""Convolutions and pooling in level 1, and batch norms behind convolutions."""

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.ops.conv import ConvOp
from secateur.dialects.sparsity.ops.max_pool import MaxPoolOp
from secateur.dialects.sparsity.ops.weight import encoding_of, symbol_of, weight_behind
from secateur.dialects.sparsity.windows import Windows

from ..base import PassContext, PassFailure
from .fusion.readers import derived_weight, fits_f32, is_plain, known_array, readers
from .torch_values import (
    FROM_BUILTIN,
    constant,
    constants,
    is_f32,
    is_none,
    number,
    owner,
    shape_of,
    to_builtin,
)


def make_convolution(op: ir.Operation) -> ir.Value | None:
    """aten.convolution(x, weight, bias?, stride, padding, dilation, transposed, output_padding, groups)"""
    x, weight, bias, *lists = op.operands[:6]
    strides, padding, dilation = map(constants, lists)
    groups = constant(op.operands[8])
    if not is_f32(x) or not is_f32(weight) or not is_f32(op.results[0]) or not (is_none(bias) or is_f32(bias)):
        return None
    if constant(op.operands[6]) is not False or not isinstance(groups, int) or None in (strides, padding, dilation):
        return None
    dimensions = len(shape_of(weight)) - 2
    if not 1 <= dimensions <= 3:
        return None
    if len(shape_of(x)) != dimensions + 2:
        raise PassFailure(op, f"expected x [batch, channels, sizes...] of a convolution, found {list(shape_of(x))}")
    # One number may stand for all dimensions.
    sizes = [[*found] * (dimensions // len(found)) for found in (strides, padding, dilation)]  # type: ignore[misc,arg-type]
    windows = Windows(tuple(sizes[0]), tuple((p, p) for p in sizes[1]), tuple(sizes[2]))
    filters, _, *kernel = shape_of(weight)
    batch, _, *found = shape_of(x)
    made = (batch, filters, *windows.sizes(found, kernel))
    if made != shape_of(op.results[0]):
        # What pads one side more, as `padding="same"` of an even kernel, is left to torch-mlir.
        return None
    result = ir.RankedTensorType.get(made, ir.F32Type.get())
    return ConvOp.build(
        result,
        x=to_builtin(x),
        weight=to_builtin(weight),
        strides=sizes[0],
        padding=[side for p in sizes[1] for side in (p, p)],
        dilation=sizes[2],
        groups=groups,
        bias=None if is_none(bias) else to_builtin(bias),
    ).result


def make_max_pool(op: ir.Operation) -> ir.Value | None:
    """aten.max_pool1d, 2d or 3d(x, kernel, stride, padding, dilation, ceil_mode)"""
    x, *lists = op.operands[:5]
    kernel, strides, padding, dilation = map(constants, lists)
    if not is_f32(x) or None in (kernel, strides, padding, dilation) or constant(op.operands[5]) is not False:
        return None
    dimensions = int(op.name[-2])
    if len(shape_of(x)) != dimensions + 2:
        return None
    # Without strides windows do not overlap.
    given = (kernel, strides or kernel, padding, dilation)
    sizes = [[*found] * (dimensions // len(found)) for found in given]  # type: ignore[misc,arg-type]
    windows = Windows(tuple(sizes[1]), tuple((p, p) for p in sizes[2]), tuple(sizes[3]))
    batch, channels, *found = shape_of(x)
    result = ir.RankedTensorType.get([batch, channels, *windows.sizes(found, sizes[0])], ir.F32Type.get())
    return MaxPoolOp.build(
        result,
        x=to_builtin(x),
        kernel=sizes[0],
        strides=sizes[1],
        padding=[side for p in sizes[2] for side in (p, p)],
        dilation=sizes[3],
    ).result


def fold_batch_norm(op: ir.Operation, context: PassContext) -> ir.Value | None:
    """aten.batch_norm(x, weight, bias, mean, variance, training, momentum, epsilon, cudnn) of a convolution or a linear

        scale = weight / sqrt(variance + epsilon)
        scale * (conv(x, W, b) - mean) + bias = conv(x, scale * W, scale * (b - mean) + bias)

    None where nothing is folded: where others read the convolution too, where an array is no constant, or where a
    product is no normal number of f32. A zero of W stays one.
    """
    x, *arrays = op.operands[:5]
    epsilon = number(op.operands[7])
    cast = owner(x)
    if constant(op.operands[5]) is not False or epsilon is None or cast is None or cast.name != FROM_BUILTIN:
        return None
    made = owner(cast.operands[0])
    if made is None or made.name not in ("sparsity.conv", "sparsity.linear"):
        return None
    layer = made.opview
    alone = len(readers(layer.result)) == len(readers(x)) == 1
    # Features are the second axis.
    if not alone or not is_plain(layer) or (made.name == "sparsity.linear" and layer.result.type.rank != 2):
        return None
    channels = layer.weight.type.shape[0]
    # Without weight and bias they are one and zero.
    values = [
        np.full(channels, default, np.float32) if is_none(array) else known_array(to_builtin(array), context.weights)
        for array, default in zip(arrays, (1.0, 0.0, None, None), strict=True)
    ]
    weight = known_array(layer.weight, context.weights)
    before = None if layer.bias is None else known_array(layer.bias, context.weights)
    if weight is None or (layer.bias is not None and before is None) or any(value is None for value in values):
        return None
    gamma, beta, mean, variance = (value.astype(np.float64) for value in values)  # type: ignore[union-attr]
    scale = gamma / np.sqrt(variance + epsilon)
    scaled = weight.astype(np.float64) * scale.reshape(-1, *[1] * (weight.ndim - 1))
    shifted = scale * ((0.0 if before is None else before.astype(np.float64)) - mean) + beta
    if not fits_f32(scaled, shifted):
        return None
    like = weight_behind(layer.weight)
    name = symbol_of(like) or "literal"
    changed = {
        "weight": derived_weight(scaled, f"{name}*bn", like, op, context, encoding_of(like)),  # type: ignore[arg-type]
        "bias": derived_weight(shifted, f"{name}+bn", like, op, context, None),  # type: ignore[arg-type]
    }
    new: ir.Value = layer.rebuild(layer.result.type, **changed).result
    return new
