"""Level 2: rows of a table."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, EvaluationError
from ..rules import check_scales


class EmbeddingOp(SparsityOp, name="embedding", traits=[ext.Pure]):
    """Rows of a table: `result[..., :] = scales[indices[...]] * table[indices[...], :]`.

    ```mlir
    %y = "sparsity.embedding"(%ids, %table) {operandSegmentSizes = array<i32: 1, 1, 0>}
         : (tensor<1x128xi64>, tensor<30522x768xf32>) -> tensor<1x128x768xf32>
    ```
    Operands: `indices` [...] of integers in 0 .. entries - 1, `table` [entries, features], `scales` [entries] f32
    (optional; one, where absent). The table has the result's element type, or it is f16, or i8 with scales, and the
    result f32: then the rows that are read are converted, exactly. Rejected: shapes that do not match, indices that are
    no integers, other element types.
    """

    result: TensorResult
    indices: Tensor
    table: Tensor
    scales: Tensor | None = None

    MAPPING = MappingClass.ONE_TO_MANY
    STORED = ("table", "scales")

    @verifier
    def verify_invariants(op):
        table = list(op.table.type.shape)
        expect(len(table) == 2, f"expected a table [entries, features], found shape {table}")
        element = op.indices.type.element_type
        expect(isinstance(element, ir.IntegerType), f"expected indices of integers, found {element}")
        expected = [*op.indices.type.shape, table[1]]
        expect(
            list(op.result.type.shape) == expected,
            f"expected a result of shape {expected}, found {op.result.type.shape}",
        )
        stored, read = str(op.table.type.element_type), str(op.result.type.element_type)
        if op.scales is None and stored == read:
            return
        expect(read == "f32", f"expected a result of f32 from a table of {stored}, found {read}")
        check_scales(op, "scales", table[:1], "table")

    def result_type(indices: ir.Value, table: ir.Value, scales: ir.Value | None = None) -> ir.Type:
        element = table.type.element_type if scales is None else ir.F32Type.get()
        return ir.RankedTensorType.get([*indices.type.shape, table.type.shape[1]], element)

    def reference(op, indices: Array, table: Array, scales: Array | None) -> Array:
        outside = indices[(indices < 0) | (indices >= len(table))]
        if outside.size:
            raise EvaluationError(f"expected indices from 0 to {len(table) - 1}, found {int(outside[0])}")
        rows = table[indices]
        return rows if scales is None else rows * scales[indices][..., None].astype(np.float64)
