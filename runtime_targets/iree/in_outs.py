"""Storage that kernels write in place (`tied_operands`): what IREE is told of it, and what it may not take.

before:
    func.func @main(%x: tensor<4xf32>, %state: tensor<4xf32>) {
      %y, %new = "sparsity.dispatch"(%x, %state) {kernel = @k, tied_operands = array<i64: -1, 1>, ...}
      return %y, %new
after:
    func.func @main(%x: tensor<4xf32>, %state: tensor<4xf32>) {
      %y, %new = flow.dispatch @ex_k::@k[...](%x, %state) : ... -> (tensor<4xf32>, %state)
      %0:2 = util.optimization_barrier %x, %state   // the caller's: read to the end of the function
      return %y, %new

IREE copies what a dispatch writes where something reads it later on, and gives the dispatch the storage itself
elsewhere. It takes two readers for none, which barriers tell it of at no cost: the caller, whose arrays the arguments
are, and the dispatch itself, where it reads a tensor as one operand and writes it as another.
"""

from collections.abc import Sequence

from torch_mlir import ir

_VIEWS = (
    "memref.cast",
    "memref.collapse_shape",
    "memref.expand_shape",
    "memref.reinterpret_cast",
    "memref.subview",
    "memref.view",
)
_SAME_STORAGE = ("tensor.cast", "tensor.collapse_shape", "tensor.expand_shape", "tensor.extract_slice")
_WRITES = {"memref.store": 1, "vector.store": 1, "vector.maskedstore": 0, "vector.transfer_write": 1}
_BARRIER = "util.optimization_barrier"


def tied_operands(ties: Sequence[int | None], sizes: int) -> dict[str, ir.Attribute]:
    """The attribute of a `flow.dispatch`; `sizes`: the numbers that stand before its tensors."""
    if all(tie is None for tie in ties):
        return {}
    numbers = [-1 if tie is None else sizes + tie for tie in ties]
    return {"tied_operands": ir.ArrayAttr.get([ir.IntegerAttr.get(ir.IndexType.get(), n) for n in numbers])}


def apart(inputs: Sequence[ir.Value], ties: Sequence[int | None]) -> tuple[list[ir.Value], list[ir.Value]]:
    """The inputs of a dispatch, each storage under one name once, and those of them that `keep` has to follow.

    Rationale: where IREE copies an operand that is written, it gives the copy to all operands that are the same tensor.
    """
    places, found = [_storage(value) for value in inputs], list(inputs)
    written = {tie for tie in ties if tie is not None and places.count(places[tie]) > 1}
    for i in range(len(inputs)):
        if any(places[i] == places[tie] for tie in written) and places[i] in places[:i]:
            found[i] = ir.Operation.create(_BARRIER, [inputs[i].type], [inputs[i]]).result
    return found, [found[tie] for tie in sorted(written)]


def keep(values: Sequence[ir.Value]) -> None:
    """Has IREE leave `values` as they are up to the insertion point."""
    if values:
        ir.Operation.create(_BARRIER, [v.type for v in values], list(values))


def _storage(value: ir.Value) -> ir.Value:
    """The tensor of which `value` may be a part, or another shape, in the same memory."""
    while not isinstance(value, ir.BlockArgument) and value.owner.name in _SAME_STORAGE:
        value = value.owner.operands[0]
    return value


def keep_arguments(function: ir.Operation) -> None:
    """Has IREE leave the arrays that a caller gives to `function` as they are."""
    for block in function.regions[0].blocks:
        end = block.operations[len(block.operations) - 1].operation
        given = [a for a in function.regions[0].blocks[0].arguments if isinstance(a.type, ir.RankedTensorType)]
        if end.name == "func.return":
            with end.location, ir.InsertionPoint(end):
                keep(given)


def first_write(argument: ir.Value) -> ir.Operation | None:
    """The first store of a kernel to what `argument`, a memref, or a view of it names; None where it only reads."""
    for use in argument.uses:
        user = use.owner.operation
        if _WRITES.get(user.name) == use.operand_number:
            return user
        if user.name in _VIEWS and use.operand_number == 0:
            found = first_write(user.results[0])
            if found is not None:
                return found
    return None
