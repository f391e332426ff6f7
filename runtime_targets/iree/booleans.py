"""Tensors of booleans in a tensor-level function as tensors of 32-bit integers, for GPUs.

before:
    %reached = arith.constant dense<[[true, false], [true, true]]> : tensor<2x2xi1>
    %0 = linalg.generic ins(%reached : tensor<2x2xi1>) {^bb0(%in: i1, ...): %s = arith.select %in, %a, %b : i32
after:
    %reached = arith.constant dense<[[1, 0], [1, 1]]> : tensor<2x2xi32>
    %0 = linalg.generic ins(%reached : tensor<2x2xi32>) {
      ^bb0(%in: i32, ...): %bit = arith.trunci %in : i32 to i1  %s = arith.select %bit, %a, %b : i32

Rationale: IREE keeps a boolean in memory as a byte. For GPUs that read no bytes (the Android baseline profile) it reads
words and picks bytes out of them, and picks the wrong ones: half of a 64x64 tensor, copied, comes out wrong. What a
tensor holds between two ops may become memory; a boolean inside one op does not.

Preconditions: the function takes and returns no booleans, and does nothing with tensors of them but linalg ops, shapes,
slices and single elements (`AssemblyError` otherwise).
"""

from collections.abc import Mapping

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import arith

from .kernels import refuse

# Ops that move what a tensor holds and do not look at it.
_MOVES = {f"tensor.{n}" for n in ("cast", "collapse_shape", "concat", "dim", "empty", "expand_shape", "extract_slice",
                                  "insert_slice")}  # fmt: skip
_LINALG_MOVES = {"linalg.broadcast", "linalg.copy", "linalg.transpose"}


def widen_booleans(function: ir.Operation, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rewrites `function`; returns the weights that are now of i32, by symbol."""
    kind = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
    for what, types in (("input", kind.inputs), ("result", kind.results)):
        for position, type_ in enumerate(types):
            if _is_boolean(type_):
                refuse(function, f"has the {what} {position} of type {type_}; for a GPU, integers are accepted")
    ops: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if any(_is_boolean(value.type) for value in (*op.operands, *op.results)):
            ops.append(op)
        return ir.WalkResult.ADVANCE

    function.walk(visit, ir.WalkOrder.PRE_ORDER)
    widened: dict[str, np.ndarray] = {}
    for op in ops:
        if op.name == "arith.constant":
            op.attributes["value"] = _constant(op)
        elif op.name == "sparsity.weight":
            widened.update(_weight(op, weights))
        elif op.name == "tensor.extract":
            _narrow_again(op.results[0], op)
        elif op.name.startswith("linalg."):
            _linalg(op)
        elif op.name not in _MOVES:
            refuse(op, "works on a tensor of booleans; for a GPU, linalg ops, shapes and slices of those are accepted")
    for op in ops:
        for value in op.results:
            if _is_boolean(value.type):
                value.set_type(_wide(value.type))
    return widened


def _is_boolean(type_: ir.Type) -> bool:
    return isinstance(type_, ir.RankedTensorType) and _is_bit(type_.element_type)


def _is_bit(type_: ir.Type) -> bool:
    return isinstance(type_, ir.IntegerType) and type_.width == 1


def _wide(type_: ir.RankedTensorType) -> ir.RankedTensorType:
    dynamic = ir.ShapedType.get_dynamic_size()
    sizes = [dynamic if type_.is_dynamic_dim(i) else type_.get_dim_size(i) for i in range(type_.rank)]
    return ir.RankedTensorType.get(sizes, ir.IntegerType.get_signless(32))


def _linalg(op: ir.Operation) -> None:
    """What the body sees of a tensor becomes a word, of which it takes the bit; what it yields becomes a word."""
    body, word = op.regions[0].blocks[0], ir.IntegerType.get_signless(32)
    if op.name == "linalg.fill":
        with op.location, ir.InsertionPoint(op):
            op.operands[0] = arith.extui(word, op.operands[0])
    moves = op.name in _LINALG_MOVES or op.name == "linalg.fill"
    for argument, operand in zip(body.arguments, op.operands, strict=True):
        if _is_bit(argument.type) and (moves or _is_boolean(operand.type)):
            argument.set_type(word)
            if not moves:
                _narrow_again(argument, op)
    if not moves:
        end = body.operations[len(body.operations) - 1].operation
        for position, result in enumerate(op.results):
            if _is_boolean(result.type):
                with op.location, ir.InsertionPoint(end):
                    end.operands[position] = arith.extui(word, end.operands[position])


def _narrow_again(value: ir.Value, op: ir.Operation) -> None:
    """Gives the users of `value`, a word from now on, its bit. It is an argument of the body of `op` or its result."""
    word = ir.IntegerType.get_signless(32)
    value.set_type(word)
    uses = list(value.uses)
    if not uses:
        return
    if isinstance(value, ir.BlockArgument):
        place = ir.InsertionPoint.at_block_begin(value.owner)
    else:
        place = ir.InsertionPoint.after(op)
    with op.location, place:
        bit = arith.trunci(ir.IntegerType.get_signless(1), value)
    for use in uses:
        use.owner.operands[use.operand_number] = bit


def _constant(op: ir.Operation) -> ir.Attribute:
    type_, dense = _wide(op.results[0].type), ir.DenseElementsAttr(op.attributes["value"])
    if dense.is_splat:
        bit = bool(ir.BoolAttr(dense.get_splat_value()).value)
        return ir.DenseElementsAttr.get_splat(type_, ir.IntegerAttr.get(type_.element_type, int(bit)))
    return ir.DenseElementsAttr.get(_bits(dense, type_))


def _bits(dense: ir.DenseElementsAttr, type_: ir.RankedTensorType) -> np.ndarray:
    return (np.array(list(ir.DenseIntElementsAttr(dense))) != 0).astype(np.int32).reshape(type_.shape)


def _weight(op: ir.Operation, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    source = op.attributes["source"]
    if isinstance(source, ir.StringAttr):
        return {source.value: weights[source.value].astype(np.int32)} if source.value in weights else {}
    type_ = _wide(op.results[0].type)
    op.attributes["source"] = ir.DenseElementsAttr.get(_bits(ir.DenseElementsAttr(source), type_))
    return {}
