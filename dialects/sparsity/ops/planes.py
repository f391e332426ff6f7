"""Level 3: images into planes with borders of zeros, and out of them."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ..attributes import Planes
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array


class ToPlanesOp(SparsityOp, name="to_planes", traits=[ext.Pure]):
    """`[batch, channels, sizes...]` to planes; positions without a pixel become zero.

    ```mlir
    %p = "sparsity.to_planes"(%x) {planes = #sparsity.planes<{sizes = [56, 56], pitches = [57, 1], phases = [1, 1],
         origin = 64 : i64, length = 3328 : i64}>} : (tensor<1x64x56x56xf32>) -> tensor<1x64x3328xf32>
    ```
    Rejected: planes of other sizes than x has, a result of another shape than the planes have.
    """

    result: TensorResult
    x: Tensor
    planes: Planes

    MAPPING = MappingClass.SHUFFLE

    @verifier
    def verify_invariants(op):
        _check(op, op.x, op.result)

    def reference(op, x: Array) -> Array:
        found = np.zeros(op.result.type.shape, x.dtype)
        found[..., op.planes.positions()] = x
        return found


class FromPlanesOp(SparsityOp, name="from_planes", traits=[ext.Pure]):
    """Planes to `[batch, channels, sizes...]`: the pixels alone.

    ```mlir
    %x = "sparsity.from_planes"(%p) {planes = #sparsity.planes<{sizes = [56, 56], pitches = [57, 1], phases = [1, 1],
         origin = 64 : i64, length = 3328 : i64}>} : (tensor<1x64x3328xf32>) -> tensor<1x64x56x56xf32>
    ```
    Rejected: planes of other sizes than the result has, an operand of another shape than the planes have.
    """

    result: TensorResult
    x: Tensor
    planes: Planes

    MAPPING = MappingClass.SHUFFLE

    @verifier
    def verify_invariants(op):
        _check(op, op.result, op.x)

    def reference(op, x: Array) -> Array:
        return x[..., op.planes.positions()]


def _check(op: ir.OpView, image: ir.Value, planes: ir.Value) -> None:
    expect(isinstance(op.planes, Planes), f"expected 'planes' to be #sparsity.planes, found {op.planes}")
    op.planes.check()
    found = list(image.type.shape)
    sizes = op.planes.values()["sizes"]
    expect(found[2:] == sizes, f"expected [batch, channels, sizes...] with the planes' sizes {sizes}, found {found}")
    expected = op.planes.shape(*found[:2])
    shape = list(planes.type.shape)
    expect(shape == expected, f"expected planes of shape {expected}, found {shape}")
