"""State on its way out of the IR: mutable globals of IREE, an initializer, and the function that resets them.

before:
    ml_program.global private mutable @cache(dense<0.0> : tensor<2x8xf32>) : tensor<2x8xf32> {sparsity.state}
    %old = ml_program.global_load @cache : tensor<2x8xf32>
    ml_program.global_store @cache = %new : tensor<2x8xf32>
after:
    util.global private mutable @cache : tensor<2x8xf32>
    util.initializer { ... }                  // what @reset does, once, when the module is loaded
    func.func @reset() { %0 = arith.constant dense<0.0> : ...  util.global.store %0, @cache  return }
    %old = util.global.load @cache : tensor<2x8xf32>
    util.global.store %new, @cache : tensor<2x8xf32>
"""

from collections.abc import Sequence

from torch_mlir import ir

from secateur.dialects.entry_points import RESET
from secateur.dialects.sparsity.dialect import VerifyError
from secateur.dialects.sparsity.state import LOAD, STORE, State, state_of, state_read, states

from .kernels import refuse
from .weight_globals import DTYPES

_NOT_ON_GPU = ("i1", "i64")


def declared_states(module: ir.Operation, on_gpu: bool) -> dict[str, State]:
    """The state of a module by name, in its order. Raises `AssemblyError`."""
    found = {}
    for op in states(module):
        try:
            state = state_of(op)
        except VerifyError as error:
            refuse(op, str(error))
        element = str(state.type.element_type)
        accepted = [name for name in DTYPES if not (on_gpu and name in _NOT_ON_GPU)]
        if element not in accepted:
            refuse(op, f"is state of type {state.type}; tensors of {', '.join(accepted)} are accepted")
        same = next((o.name for o in found.values() if o.initial == state.initial and not _is_splat(o.initial)), None)
        if same is not None:
            refuse(op, f"begins as the array that the state '@{same}' begins as; each needs an array of its own")
        found[state.name] = state
    return found


def _is_splat(initial: ir.Attribute) -> bool:
    return isinstance(initial, ir.DenseElementsAttr) and initial.is_splat


def convert_states(module: ir.Operation, functions: Sequence[ir.Operation], found: dict[str, State]) -> ir.Operation:
    """Replaces the globals of state with their loads and stores; returns `@reset`, which reads `sparsity.weight`s.

    Raises `AssemblyError` where a function has its name.
    """
    for function in functions:
        if ir.StringAttr(function.attributes["sym_name"]).value == RESET:
            refuse(function, f"has the name '@{RESET}', which is that of the function that resets the module's state")
        _convert_accesses(function, found)
    for op in list(states(module)):
        with op.location, ir.InsertionPoint(op):
            attributes = {name: op.attributes[name] for name in ("sym_name", "sym_visibility", "type", "is_mutable")}
            ir.Operation.create("util.global", attributes=attributes)
        op.erase()
    nothing = ir.TypeAttr.get(ir.FunctionType.get([], []))
    with ir.InsertionPoint(module.regions[0].blocks[0]):
        reset = ir.Operation.create(
            "func.func", attributes={"sym_name": ir.StringAttr.get(RESET), "function_type": nothing}, regions=1
        )
    with ir.InsertionPoint(reset.regions[0].blocks.append()):
        _store_initial(found)
        ir.Operation.create("func.return")
    return reset


def add_initializer(reset: ir.Operation) -> None:
    """Has the module do what `reset` does when it is loaded. `reset` reads no `sparsity.weight` any more."""
    with ir.InsertionPoint(reset):
        made = ir.Operation.create(
            "util.initializer", attributes={"function_type": reset.attributes["function_type"]}, regions=1
        )
    with ir.InsertionPoint(made.regions[0].blocks.append()):
        copies: dict[ir.Value, ir.Value] = {}
        for op in list(reset.regions[0].blocks[0].operations)[:-1]:
            copy = op.operation.clone()
            for i, operand in enumerate(copy.operands):
                copy.operands[i] = copies[operand]
            copies.update(zip(op.operation.results, copy.results, strict=True))
        ir.Operation.create("util.return")


def _store_initial(found: dict[str, State]) -> None:
    for state in found.values():
        attributes = {"global": ir.FlatSymbolRefAttr.get(state.name)}
        ir.Operation.create("util.global.store", operands=[_initial(state)], attributes=attributes)


def _initial(state: State) -> ir.Value:
    """The first value, in memory of its own.

    Rationale: IREE keeps equal values once, and state that is only ever changed in place stays where it began: what
    one function writes to its state would be in another's.
    """
    if _is_splat(state.initial):
        element, number = state.type.element_type, {"value": state.initial.get_splat_value()}
        scalar = ir.Operation.create("arith.constant", [element], attributes=number).result
        own = ir.Operation.create("util.optimization_barrier", [element], [scalar]).result
        return ir.Operation.create("flow.tensor.splat", [state.type], [own]).result
    return ir.Operation.create("sparsity.weight", [state.type], attributes={"source": state.initial}).result


def _convert_accesses(function: ir.Operation, found: dict[str, State]) -> None:
    accesses: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name in (LOAD, STORE) and state_read(op) in found:
            accesses.append(op)
        return ir.WalkResult.ADVANCE

    function.walk(visit, ir.WalkOrder.PRE_ORDER)
    for op in accesses:
        state = found[state_read(op)]
        value = op.results[0] if op.name == LOAD else op.operands[0]
        if value.type != state.type:
            refuse(op, f"has the type {value.type}, and the state '@{state.name}' is {state.type}")
        attributes = {"global": ir.FlatSymbolRefAttr.get(state.name)}
        with op.location, ir.InsertionPoint(op):
            if op.name == LOAD:
                value.replace_all_uses_with(
                    ir.Operation.create("util.global.load", [value.type], attributes=attributes).result
                )
            else:
                ir.Operation.create("util.global.store", operands=[_not_as_loaded(value)], attributes=attributes)
        op.erase()


def _not_as_loaded(value: ir.Value) -> ir.Value:
    """`value`, in a form that IREE does not see to be loaded.

    Rationale: IREE drops the store of what was loaded from the same global, also where another store lies between.
    """
    if isinstance(value, ir.BlockArgument) or value.owner.name != "util.global.load":
        return value
    return ir.Operation.create("util.optimization_barrier", [value.type], [value]).result
