"""Level 4: the call of a kernel from the tensor-level function."""

from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from .dialect import Sparsity, Tensor, TensorResult, expect, note, verifier


def _chain(number: ir.Attribute) -> None:
    expect(isinstance(number, ir.IntegerAttr), f"expected '{CHAIN}' to be an integer, found {number}")


CHAIN = note("sparsity.chain", _chain)
"""Dispatches with the same number run as one: each workgroup (y, z) does all their x, dispatch after dispatch."""

SCRATCH_BYTES = 32768
"""What a kernel may take of a workgroup's stack: IREE refuses more unless told otherwise, and workers have little."""


class DispatchOp(Sparsity.Operation, name="dispatch", traits=[ext.Pure]):
    """Runs a kernel once per point of a grid; the kernel writes the result.

    ```mlir
    %y = "sparsity.dispatch"(%x, %w) {kernel = @linear_0, grid = array<i64: 8, 2, 1>,
         operandSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>}
         : (tensor<1x2x768x64xf32>, tensor<9216xf32>) -> tensor<1x2x768x64xf32>
    ```
    `kernel` is a function of the module `(memrefs of the operands, memref of the result, index, index, index)`; the
    last three arguments are the workgroup's place in the grid (x, y, z). Workgroups run in any order, also at the
    same time, and write disjoint parts of the result. Operands are read only; the result starts undefined.

    Operands: one to twelve tensors, in the order of the kernel's arguments. They are declared one by one because IRDL
    gives all operands of a variadic segment one type. Rejected: a grid that is not three positive sizes, an
    operand or result without static shape.
    """

    result: TensorResult
    input0: Tensor
    kernel: ir.FlatSymbolRefAttr
    grid: Any
    input1: Tensor | None = None
    input2: Tensor | None = None
    input3: Tensor | None = None
    input4: Tensor | None = None
    input5: Tensor | None = None
    input6: Tensor | None = None
    input7: Tensor | None = None
    input8: Tensor | None = None
    input9: Tensor | None = None
    input10: Tensor | None = None
    input11: Tensor | None = None

    @verifier
    def verify_invariants(op):
        is_array = isinstance(op.grid, ir.DenseI64ArrayAttr)
        expect(is_array, f"expected 'grid' to be an array<i64: ...>, found {op.grid}")
        grid = list(op.grid)
        expect(len(grid) == 3 and min(grid) > 0, f"expected a grid of three positive sizes, found {grid}")
        for value in (*op.operation.operands, *op.operation.results):
            expect(value.type.has_static_shape, f"expected static shapes, found {value.type}")


def dispatch(result: ir.Type, inputs: list[ir.Value], kernel: str, grid: list[int]) -> DispatchOp:
    """A `sparsity.dispatch` of `kernel` at the current insertion point. `inputs` has 1 to 12 entries."""
    first, *others = inputs
    return DispatchOp(
        result,
        first,
        ir.FlatSymbolRefAttr.get(kernel),
        ir.DenseI64ArrayAttr.get(grid),
        **{f"input{i}": value for i, value in enumerate(others, start=1)},
    )
