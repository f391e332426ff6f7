"""Levels 2 and 3: the maximum of windows of an image."""

import itertools
import math

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..attributes import Planes, to_python
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array
from ..windows import check_windows, windows_of
from ..work_parts import Flops, Tokens


class MaxPoolOp(SparsityOp, name="max_pool", traits=[ext.Pure]):
    """The maximum over windows of one to three spatial dimensions, channel by channel, as PyTorch's `max_pool2d`.

    ```mlir
    %y = "sparsity.max_pool"(%x) {kernel = [3, 3], strides = [2, 2], padding = [1, 1, 1, 1], dilation = [1, 1]}
         : (tensor<1x64x112x112xf32>) -> tensor<1x64x56x56xf32>
    ```
        result[b, c, p] = max over positions k of the kernel of x[b, c, strides * p + dilation * k - padding]

    without what is outside of x. With `source` and `planes`, which go together, x and the result are in these planes,
    and what is outside of x takes part as zero, as it is in planes: the same where no number of x is negative. NaN is
    the maximum of what it is in. Operand: `x` [batch, channels, sizes...]. Rejected: shapes that do not match, a kernel
    that does not fit into the padded x, a padding above half of the kernel's extent, planes in phases.
    """

    result: TensorResult
    x: Tensor
    kernel: ir.ArrayAttr
    strides: ir.ArrayAttr
    padding: ir.ArrayAttr
    dilation: ir.ArrayAttr

    OPTIONAL = ("source", "planes")
    MAPPING = MappingClass.MANY_TO_MANY

    @verifier
    def verify_invariants(op):
        x, result = list(op.x.type.shape), list(op.result.type.shape)
        kernel = to_python(op.kernel)
        whole = [n for n in kernel if type(n) is int and n > 0]
        expect(1 <= len(kernel) == len(whole) <= 3, f"expected a kernel of one to three sizes, found {op.kernel}")
        check_windows(op, len(kernel))
        given = [op.attributes.get(name, None) for name in ("source", "planes")]
        expect((given[0] is None) == (given[1] is None), f"expected 'source' and 'planes' together, found {given}")
        if given[0] is not None:
            for name, planes in zip(("source", "planes"), given, strict=True):
                expect(isinstance(planes, Planes), f"expected '{name}' to be #sparsity.planes, found {planes}")
                planes.check()
                expect(set(planes.values()["phases"]) == {1}, f"expected '{name}' of one phase, found {planes}")
            for planes, shape in zip(given, (x, result), strict=True):
                expected = planes.shape(*shape[:2]) if len(shape) == 3 else None
                expect(shape == expected, f"expected planes of shape {expected}, found {shape}")
            x, result = (
                [*shape[:2], *planes.values()["sizes"]] for planes, shape in zip(given, (x, result), strict=True)
            )
        expect(len(x) == len(kernel) + 2, f"expected x [batch, channels, sizes...] of {len(kernel)} sizes, found {x}")
        windows = windows_of(op)
        sizes = windows.sizes(x[2:], kernel)
        expect(min(sizes) > 0, f"expected a kernel within the padded x {x}, found {kernel}")
        expect(result == [*x[:2], *sizes], f"expected a result of sizes {sizes}, found {result}")
        for length, dilation, sides in zip(kernel, windows.dilation, windows.padding, strict=True):
            extent = (length - 1) * dilation + 1
            expect(2 * max(sides) <= extent, f"expected a padding of {extent // 2} or less, found {max(sides)}")

    def reference(op, x: Array) -> Array:
        kernel, windows = to_python(op.kernel), windows_of(op)
        outside = -math.inf
        if "source" in op.attributes:
            x, outside = x[..., op.attributes["source"].positions()], 0.0
        sizes = windows.sizes(x.shape[2:], kernel)
        padded = np.pad(x, [(0, 0), (0, 0), *windows.padding], constant_values=outside)
        found = np.full((*x.shape[:2], *sizes), -math.inf, x.dtype)
        for position in itertools.product(*map(range, kernel)):
            run = tuple(
                slice(at * step, at * step + (size - 1) * stride + 1, stride)
                for at, step, stride, size in zip(position, windows.dilation, windows.strides, sizes, strict=True)
            )
            found = np.maximum(found, padded[(..., *run)])
        if "planes" not in op.attributes:
            return found
        result = np.zeros(op.result.type.shape, x.dtype)
        result[..., op.attributes["planes"].positions()] = found
        return result

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        planes = op.attributes.get("planes", None)
        sizes = list(op.result.type.shape)[2:] if planes is None else planes.values()["sizes"]
        count = math.prod([*op.result.type.shape[:2], *sizes]) * math.prod(to_python(op.kernel))
        return Flops(count, count)
