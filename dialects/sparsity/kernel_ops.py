"""Level 4: the call of a kernel from the tensor-level function."""

from collections.abc import Sequence
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

MOST_OPERANDS, MOST_RESULTS = 24, 8
"""The operands and results that a dispatch may have; together the buffers that IREE's runtime gives an executable."""

TIED_OPERANDS = "tied_operands"
UNTIED = -1


class DispatchOp(Sparsity.Operation, name="dispatch", traits=[ext.Pure]):
    """Runs a kernel once per point of a grid; the kernel writes the results.

    ```mlir
    %y, %new = "sparsity.dispatch"(%x, %w, %state) {kernel = @step_768, grid = array<i64: 8, 2, 1>,
         tied_operands = array<i64: -1, 2>,
         operandSegmentSizes = array<i32: 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0>,
         resultSegmentSizes = array<i32: 1, 1, 0, 0, 0, 0, 0, 0>}
         : (tensor<1x2x768x64xf32>, tensor<9216xf32>, tensor<768xf32>) -> (tensor<1x2x768x64xf32>, tensor<768xf32>)
    ```
    `tied_operands` has a number for every result: that of the operand whose storage it takes, or -1; without it, no
    result takes any. Such an operand is an *in-out*: the kernel finds its contents there, and what it leaves there is
    the result. `kernel` is a function of the module `(memrefs of the operands, memrefs of the results that take no
    operand's storage, index, index, index)`; the last three arguments are the workgroup's place in the grid (x, y, z).
    Workgroups run in any order, also at the same time; no workgroup touches what another one writes. Operands that are
    no in-outs are read only; a result that takes no storage starts undefined.

    Guaranteed are values, not addresses: an in-out keeps its value for all that reads it, be it the caller who gave it,
    a weight, or an op further down. Where nothing reads it any more, the kernel works in its storage; elsewhere in a
    copy. State is therefore threaded: later ops take the new value, and no op takes the old one.

    Operands: 1 to 24 tensors, in the order of the kernel's arguments; results: 1 to 8. They are declared one by one
    because IRDL gives all operands of a variadic segment one type. Rejected: a grid that is not three positive sizes,
    an operand or result without static shape, `tied_operands` that are not one number for every result, name no
    operand, an operand twice, or one of another type than the result.
    """

    result0: TensorResult
    input0: Tensor
    kernel: ir.FlatSymbolRefAttr
    grid: Any
    for _name in [f"input{i}" for i in range(1, MOST_OPERANDS)]:
        __annotations__[_name] = Tensor | None
        vars()[_name] = None
    for _name in [f"result{i}" for i in range(1, MOST_RESULTS)]:
        __annotations__[_name] = TensorResult | None
        vars()[_name] = None
    OPTIONAL = (TIED_OPERANDS,)

    @verifier
    def verify_invariants(op):
        is_array = isinstance(op.grid, ir.DenseI64ArrayAttr)
        expect(is_array, f"expected 'grid' to be an array<i64: ...>, found {op.grid}")
        grid = list(op.grid)
        expect(len(grid) == 3 and min(grid) > 0, f"expected a grid of three positive sizes, found {grid}")
        for value in (*op.operation.operands, *op.operation.results):
            expect(value.type.has_static_shape, f"expected static shapes, found {value.type}")
        if TIED_OPERANDS in op.attributes:
            _check_ties(op)


def _check_ties(op: ir.OpView) -> None:
    found = op.attributes[TIED_OPERANDS]
    operands, results = op.operation.operands, op.operation.results
    is_list = isinstance(found, ir.DenseI64ArrayAttr) and len(found) == len(results)
    wanted = f"expected '{TIED_OPERANDS}' to be an array<i64: ...>"
    expect(is_list, f"{wanted} of a number for each of {len(results)} results, found {found}")
    ties = list(found)
    for number, tie in enumerate(ties):
        known = UNTIED <= tie < len(operands)
        expect(known, f"{wanted} of operands, 0 to {len(operands) - 1}, or {UNTIED} for none, found {tie}")
        expect(tie == UNTIED or ties.count(tie) == 1, f"expected one result at most in operand {tie}, found {ties}")
        if tie != UNTIED:
            old, new = operands[tie].type, results[number].type
            expect(old == new, f"expected result {number} to have the type of operand {tie}, {old}, found {new}")


def ties_of(op: ir.OpView | ir.Operation) -> list[int | None]:
    """The operand whose storage each result of a dispatch takes, by its position; None for a result that takes none."""
    attributes, results = op.operation.attributes, op.operation.results
    if TIED_OPERANDS not in attributes:
        return [None] * len(results)
    return [None if tie == UNTIED else tie for tie in ir.DenseI64ArrayAttr(attributes[TIED_OPERANDS])]


def kernel_positions(op: ir.OpView | ir.Operation) -> list[int]:
    """Where the kernel of a dispatch has the memref of each result, among its arguments."""
    ties, free = ties_of(op), len(op.operation.operands)
    found = []
    for tie in ties:
        found.append(free if tie is None else tie)
        free += tie is None
    return found


def dispatch(
    results: Sequence[ir.Type],
    inputs: Sequence[ir.Value],
    kernel: str,
    grid: Sequence[int],
    ties: Sequence[int | None] = (),
) -> DispatchOp:
    """A `sparsity.dispatch` of `kernel` at the current insertion point, of 1 to 24 inputs and 1 to 8 results.

    `ties`: for every result, the position of the input whose storage it takes, or None; empty where none takes any.
    """
    op = DispatchOp(
        results[0],
        inputs[0],
        ir.FlatSymbolRefAttr.get(kernel),
        ir.DenseI64ArrayAttr.get(list(grid)),
        **{f"input{i}": value for i, value in enumerate(inputs[1:], start=1)},
        **{f"result{i}": type_ for i, type_ in enumerate(results[1:], start=1)},
    )
    if any(tie is not None for tie in ties):
        numbers = [UNTIED if tie is None else tie for tie in ties]
        op.operation.attributes[TIED_OPERANDS] = ir.DenseI64ArrayAttr.get(numbers)
    return op


def segment_sizes(operands: int, results: int = 1) -> str:
    """The attributes that say which operands and results a dispatch has, as text."""

    def sizes(given: int, most: int) -> str:
        return f"array<i32: {', '.join(['1'] * given + ['0'] * (most - given))}>"

    return (
        f"operandSegmentSizes = {sizes(operands, MOST_OPERANDS)}, resultSegmentSizes = {sizes(results, MOST_RESULTS)}"
    )
