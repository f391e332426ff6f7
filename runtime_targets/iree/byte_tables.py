"""Tables of bytes in a tensor-level function as tables of 32-bit words, for GPUs.

before:
    %table = "sparsity.weight"() {source = "words/int8"} : () -> tensor<100x30xi8>
    %0 = linalg.generic ... {
      %stored = tensor.extract %table[%row, %column] : tensor<100x30xi8>
      %value = arith.sitofp %stored : i8 to f32
after:
    %table = "sparsity.weight"() {source = "words/int8"} : () -> tensor<100x8xi32>
    %0 = linalg.generic ... {
      %four = arith.constant 4 : index  %at = arith.divui %column, %four  %place = arith.remui %column, %four
      %word = tensor.extract %table[%row, %at] : tensor<100x8xi32>
      // Shifted left by 24 - 8 * place, and right by 24 with the sign.
      %value = arith.sitofp %byte : i32 to f32

Rationale: the Android baseline profile and Adrenos have no numbers of 8 bits in memory. IREE then reads words and picks
bytes out of them, and was seen to pick the wrong ones (`booleans.py`).

Preconditions (a table is left alone otherwise): a weight by name, of i8 and two dimensions, of which ops only read
single numbers, to convert them. Rationale: kernels read bytes as words by themselves (`words.py`). A row that is no
whole words gets zeros at its end. `refuse_bytes` then refuses what else reads bytes, for GPUs that have none.
"""

from collections.abc import Mapping

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith, tensor

from .kernels import refuse

_WORD_BYTES, _TOP, _BITS = 4, 24, 8
# They hand bytes on and read none.
_HOLDS = ("sparsity.weight", "sparsity.dispatch", "func.return")


def words_of_tables(function: ir.Operation, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rewrites `function`; returns the tables that are now of words, by symbol."""
    found: dict[str, np.ndarray] = {}
    for op in _walk(function):
        source = op.attributes["source"] if op.name == "sparsity.weight" else None
        if not isinstance(source, ir.StringAttr) or source.value not in weights or not _is_table(op.results[0]):
            continue
        array = weights[source.value]
        padded = np.pad(array, ((0, 0), (0, -array.shape[1] % _WORD_BYTES)))
        found[source.value] = np.ascontiguousarray(padded).view("<i4")
        op.results[0].set_type(ir.RankedTensorType.get(found[source.value].shape, ir.IntegerType.get_signless(32)))
        for use in list(op.results[0].uses):
            _read_words(use.owner.operation)
    return found


def refuse_bytes(function: ir.Operation) -> None:
    """Raises `AssemblyError` where an op of `function` that is no kernel reads or makes a tensor of bytes."""
    for op in _walk(function):
        if op.name not in _HOLDS and any(_is_bytes(value.type) for value in (*op.operands, *op.results)):
            refuse(op, "has a tensor of int8; the GPU has numbers of 32 bits in memory, and only the kernels of layers "
                       "and tables read int8 there: compile it with --weights f32")  # fmt: skip


def _walk(function: ir.Operation) -> list[ir.Operation]:
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        found.append(op)
        return ir.WalkResult.ADVANCE

    function.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def _is_bytes(type_: ir.Type) -> bool:
    return isinstance(type_, ir.RankedTensorType) and type_.element_type == ir.IntegerType.get_signless(8)


def _is_table(value: ir.Value) -> bool:
    readers = [use.owner.operation for use in value.uses]
    converts = (use.owner.operation.name for op in readers for result in op.results for use in result.uses)
    single = all(op.name == "tensor.extract" for op in readers)
    return _is_bytes(value.type) and value.type.rank == 2 and single and all(n == "arith.sitofp" for n in converts)


def _read_words(op: ir.Operation) -> None:
    """The same number as `op`, a `tensor.extract`, and its conversions give, out of words."""
    table, row, column = op.operands
    word = ir.IntegerType.get_signless(32)
    with op.location, ir.InsertionPoint(op):
        four = arith.constant(ir.IndexType.get(), _WORD_BYTES)
        place = arith.index_cast(word, arith.remui(column, four))
        top, bits = (arith.constant(word, n) for n in (_TOP, _BITS))
        loaded = tensor.extract(table, [row, arith.divui(column, four)])
        shifted = arith.shli(loaded, arith.subi(top, arith.muli(place, bits)))
        byte = arith.shrsi(shifted, top)
    for use in list(op.results[0].uses):
        convert = use.owner.operation
        with convert.location, ir.InsertionPoint(convert):
            convert.results[0].replace_all_uses_with(arith.sitofp(convert.results[0].type, byte))
        convert.erase()
    op.erase()
