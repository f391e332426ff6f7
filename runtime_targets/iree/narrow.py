"""64-bit integers of a tensor-level function as 32-bit ones, for GPUs.

before:
    func.func @main(%ids: tensor<1x8xi64>) {
      %0 = linalg.generic ins(%ids : tensor<1x8xi64>) {^bb0(%id: i64, ...): %row = arith.index_cast %id : i64 to index
after:
    func.func @main(%ids: tensor<1x8xi64>) {
      %words = flow.tensor.bitcast %ids : tensor<1x8xi64> -> tensor<1x8x2xi32>
      %low = tensor.extract_slice %words[0, 0, 0] [1, 8, 1] [1, 1, 1] : tensor<1x8x2xi32> to tensor<1x8xi32>
      %0 = linalg.generic ins(%low : tensor<1x8xi32>) {^bb0(%id: i32, ...): %row = arith.index_cast %id : i32 to index

Rationale: phones' GPUs have no 64-bit integers, and IREE's emulation of them gives wrong numbers for some programs and
fails on others. What a model computes in 64 bits are token ids, masks and positions, which 32 bits hold. The signature
stays as it is, so that a model is called alike on every target. Inputs are little-endian two's complement, so their low
word is their value wherever it fits; numbers beyond 32 bits lose their high word.

Preconditions: constants and weights fit in 32 bits; no result of the function is of i64 (`AssemblyError` otherwise).
"""

from collections.abc import Mapping

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import tensor

from .kernels import refuse

_CASTS = ("arith.extsi", "arith.extui", "arith.trunci", "arith.index_cast", "arith.bitcast")


def narrow_integers(function: ir.Operation, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rewrites `function`; returns the weights that are now of i32, by symbol."""
    kind = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
    for position, type_ in enumerate(kind.results):
        if _is_wide(type_):
            refuse(function, f"has the result {position} of type {type_}; for a GPU, results of i64 are not accepted")
    narrowed: dict[str, np.ndarray] = {}
    body = function.regions[0].blocks[0]
    ops: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        ops.append(op)
        return ir.WalkResult.ADVANCE

    function.walk(visit, ir.WalkOrder.PRE_ORDER)
    for op in ops[1:]:
        if op.name == "arith.constant" and _is_wide(op.results[0].type):
            op.attributes["value"] = _constant(op)
        elif op.name == "sparsity.weight" and _is_wide(op.results[0].type):
            narrowed.update(_weight(op, weights))
        values = [*op.results, *(a for region in op.regions for block in region.blocks for a in block.arguments)]
        for value in values:
            if _is_wide(value.type):
                value.set_type(_narrow(value.type))
    for op in ops[1:]:
        if op.name in _CASTS and op.operands[0].type == op.results[0].type:
            op.results[0].replace_all_uses_with(op.operands[0])
            op.erase()
    for argument in body.arguments:
        if _is_wide(argument.type):
            _low_words(argument, body, function.location)
    return narrowed


def _is_wide(type_: ir.Type) -> bool:
    element = type_.element_type if isinstance(type_, ir.RankedTensorType) else type_
    return isinstance(element, ir.IntegerType) and element.width == 64


def _narrow(type_: ir.Type) -> ir.Type:
    i32 = ir.IntegerType.get_signless(32)
    if isinstance(type_, ir.RankedTensorType):
        sizes = [ir.ShapedType.get_dynamic_size() if type_.is_dynamic_dim(i) else type_.shape[i] for i in _axes(type_)]
        return ir.RankedTensorType.get(sizes, i32)
    return i32


def _axes(type_: ir.RankedTensorType) -> range:
    return range(type_.rank)


def _fitting(op: ir.Operation, array: np.ndarray) -> np.ndarray:
    """The array as i32. The ends of the range of i64, which stand for "no limit", become those of i32."""
    whole, small = np.iinfo(np.int64), np.iinfo(np.int32)
    array = np.where(array == whole.max, small.max, np.where(array == whole.min, small.min, array))
    if array.size and (array.min() < small.min or array.max() > small.max):
        refuse(op, "holds integers that do not fit in 32 bits, which is all that GPUs have")
    return np.asarray(array.astype(np.int32), order="C")


def _constant(op: ir.Operation) -> ir.Attribute:
    value, type_ = op.attributes["value"], _narrow(op.results[0].type)
    if isinstance(value, ir.IntegerAttr):
        return ir.IntegerAttr.get(type_, int(_fitting(op, np.array(value.value))))
    dense = ir.DenseElementsAttr(value)
    if dense.is_splat:
        number = int(_fitting(op, np.array(ir.IntegerAttr(dense.get_splat_value()).value)))
        return ir.DenseElementsAttr.get_splat(type_, ir.IntegerAttr.get(type_.element_type, number))
    return ir.DenseElementsAttr.get(_fitting(op, np.array(ir.DenseIntElementsAttr(value))).reshape(type_.shape))


def _weight(op: ir.Operation, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    source = op.attributes["source"]
    if isinstance(source, ir.StringAttr):
        return {source.value: _fitting(op, weights[source.value])} if source.value in weights else {}
    found = np.array(ir.DenseIntElementsAttr(source))
    op.attributes["source"] = ir.DenseElementsAttr.get(_fitting(op, found))
    return {}


def _low_words(argument: ir.Value, body: ir.Block, location: ir.Location) -> None:
    type_ = _narrow(argument.type)
    if any(type_.is_dynamic_dim(i) for i in _axes(type_)):
        refuse(body.owner, f"has an input of type {argument.type}; for a GPU, i64 of fixed sizes is accepted")
    words = ir.RankedTensorType.get([*type_.shape, 2], type_.element_type)
    with location, ir.InsertionPoint.at_block_begin(body):
        segments = ir.DenseI32ArrayAttr.get([1, 0, 0])
        cast = ir.Operation.create("flow.tensor.bitcast", [words], [argument], {"operandSegmentSizes": segments})
        rank = type_.rank + 1
        low = tensor.ExtractSliceOp(type_, cast.result, [], [], [], [0] * rank, [*type_.shape, 1], [1] * rank).result
    for use in list(argument.uses):
        if use.owner.operation != cast:
            use.owner.operation.operands[use.operand_number] = low
