"""Level 4: the call of a kernel from the tensor-level function."""

from collections.abc import Sequence
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from .dialect import Sparsity, Tensor, TensorResult, expect, verifier


class DispatchOp(Sparsity.Operation, name="dispatch", traits=[ext.Pure]):
    """Runs a kernel once per point of a grid; the kernel writes the results.

    ```mlir
    %y = "sparsity.dispatch"(%x, %w) {kernel = @linear_0, grid = array<i64: 8, 2, 1>}
         : (tensor<1x2x768x64xf32>, tensor<9216xf32>) -> tensor<1x2x768x64xf32>
    ```
    `kernel` is a function of the module `(memrefs of the operands, memrefs of the results, index, index, index)`: the
    last three arguments are the workgroup's place in the grid (x, y, z). Workgroups run in any order, also at the
    same time, and write disjoint parts of the results. Operands are read only; results start undefined.
    Rejected: a grid that is not three positive sizes, an operand or result without static shape. That the symbol
    exists and its arguments fit is checked where the kernel is called from (`verify_dispatches`).
    """

    results_: Sequence[TensorResult]
    inputs: Sequence[Tensor]
    kernel: ir.FlatSymbolRefAttr
    grid: Any

    @verifier
    def verify_invariants(op):
        is_array = isinstance(op.grid, ir.DenseI64ArrayAttr)
        expect(is_array, f"expected 'grid' to be an array<i64: ...>, found {op.grid}")
        grid = list(op.grid)
        expect(len(grid) == 3 and min(grid) > 0, f"expected a grid of three positive sizes, found {grid}")
        for value in (*op.operation.operands, *op.operation.results):
            expect(value.type.has_static_shape, f"expected static shapes, found {value.type}")
