"""Level 2: a convolution."""

import itertools

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, activate
from ..rules import activation_of, check_epilogue
from ..windows import Windows, check_windows, windows_of


class ConvOp(SparsityOp, name="conv", traits=[ext.Pure]):
    """A convolution over one to three spatial dimensions, as PyTorch's `conv1d`, `conv2d` and `conv3d`.

    ```mlir
    %y = "sparsity.conv"(%x, %w, %b) {strides = [1, 1], padding = [1, 1, 1, 1], dilation = [1, 1], groups = 1 : i64,
         operandSegmentSizes = array<i32: 1, 1, 1, 0>}
         : (tensor<1x64x56x56xf32>, tensor<128x64x3x3xf32>, tensor<128xf32>) -> tensor<1x128x56x56xf32>
    ```
        sums[b, f, p] = sum over channels c of f's group and positions k of the kernel of
                        weight[f, c, k] * x[b, c, strides * p + dilation * k - padding]
        result = activation(sums + bias) + residual, or with `residual_first` activation(sums + bias + residual)

    x is zero outside of its sizes. Filters and channels are cut into `groups` pieces of as many each; a filter reads
    the channels of the piece with its number. Operands: `x` [batch, channels, sizes...], `weight` [filters, channels /
    groups, kernel...], `bias` [filters] (optional), `residual` of the result's type (optional). Attributes: `strides`,
    `dilation` a number for each spatial dimension; `padding` two, before and behind; `groups`; `activation` and
    `residual_first` (a unit), optional. Rejected: shapes that do not match, strides and dilations below 1, a padding
    below 0, groups that do not divide, a kernel that does not fit into the padded x, an unknown activation,
    `residual_first` without a residual.
    """

    result: TensorResult
    x: Tensor
    weight: Tensor
    strides: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr
    groups: ir.IntegerAttr
    bias: Tensor | None = None
    residual: Tensor | None = None

    OPTIONAL = ("activation", "residual_first")
    MAPPING = MappingClass.MANY_TO_MANY

    @verifier
    def verify_invariants(op):
        x, weight, result = (list(v.type.shape) for v in (op.x, op.weight, op.result))
        expect(3 <= len(x) <= 5, f"expected x [batch, channels, sizes...] of one to three sizes, found {x}")
        expect(len(weight) == len(x), f"expected x and weight of equal rank, found {x} and {weight}")
        check_windows(op, len(x) - 2)
        groups = op.groups.value
        fits = groups >= 1 and x[1] == weight[1] * groups and weight[0] % groups == 0
        expect(
            fits,
            f"expected groups that divide {weight[0]} filters and {x[1]} channels, {weight[1]} each, found {groups}",
        )
        sizes = windows_of(op).sizes(x[2:], weight[2:])
        expect(min(sizes, default=1) > 0, f"expected a kernel within the padded x {x}, found {weight}")
        expected = [x[0], weight[0], *sizes]
        expect(result == expected, f"expected a result of shape {expected}, found {result}")
        expect(op.residual is not None or not residual_first(op), "has 'residual_first' without a residual")
        check_epilogue(op, weight[0])

    def result_type(x: ir.Value, weight: ir.Value, **others: ir.Value) -> ir.Type:
        raise TypeError("the type of a convolution's result follows from its attributes too")

    def reference(op, x: Array, weight: Array, bias: Array | None, residual: Array | None) -> Array:
        sums = convolve(x.astype(np.float64), weight.astype(np.float64), windows_of(op), op.groups.value)
        if bias is not None:
            sums += bias.reshape(-1, *[1] * (x.ndim - 2))
        if residual is not None and residual_first(op):
            sums = sums + residual
        sums = activate(activation_of(op), sums)
        return sums if residual is None or residual_first(op) else sums + residual


def residual_first(op: ir.OpView) -> bool:
    """Whether the residual is added before the activation."""
    return "residual_first" in op.attributes


def convolve(x: Array, weight: Array, windows: Windows, groups: int) -> Array:
    """The convolution of x [batch, channels, sizes...] with weight [filters, channels / groups, kernel...]."""
    batch, channels, *found = x.shape
    filters, _, *kernel = weight.shape
    sizes = windows.sizes(found, kernel)
    padded = np.pad(x, [(0, 0), (0, 0), *windows.padding])
    cut = padded.reshape(batch, groups, channels // groups, *padded.shape[2:])
    parts = weight.reshape(groups, filters // groups, channels // groups, *kernel)
    sums = np.zeros((batch, groups, filters // groups, *sizes), np.result_type(x, weight))
    for position in itertools.product(*map(range, kernel)):
        run = tuple(
            slice(at * step, at * step + (size - 1) * stride + 1, stride)
            for at, step, stride, size in zip(position, windows.dilation, windows.strides, sizes, strict=True)
        )
        sums += np.einsum("bgc...,gfc->bgf...", cut[(slice(None),) * 3 + run], parts[(slice(None),) * 3 + position])
    return sums.reshape(batch, filters, *sizes)


def as_matrix(weight: Array, groups: int) -> Array:
    """A weight [filters, channels / groups, kernel...] as [filters, channels * kernel], zero outside of its group."""
    filters, width, *kernel = weight.shape
    size = width * int(np.prod(kernel))
    if groups == 1:
        return weight.reshape(filters, size)
    matrix = np.zeros((filters, groups * size), weight.dtype)
    each = filters // groups
    for group in range(groups):
        rows = slice(group * each, (group + 1) * each)
        matrix[rows, group * size : (group + 1) * size] = weight[rows].reshape(each, size)
    return matrix
