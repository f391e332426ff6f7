"""State of a program: tensors that its functions find as the last call left them (KV caches, recurrent cells, masks).

    ml_program.global private mutable @cache(dense<0.0> : tensor<2x8xf32>) : tensor<2x8xf32> {sparsity.state}
    ml_program.global private mutable @columns : tensor<40xi32> {sparsity.state = "level0.columns"}

    func.func @decode(%row: tensor<1x8xf32>) -> tensor<2x8xf32> {
      %old = ml_program.global_load @cache : tensor<2x8xf32>
      %new = ...
      ml_program.global_store @cache = %new : tensor<2x8xf32>

State is a mutable global of upstream's `ml_program` with the attribute `sparsity.state`. It begins as the global's own
value, or as the weight that the attribute names. Loads and stores are in the order of the program; what was loaded
keeps its value when the global is stored to.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from torch_mlir import ir

from ..weight_store import WeightStore
from .dialect import expect
from .ops.weight import WeightOp, array_of

STATE = "sparsity.state"
LOAD, STORE, GLOBAL = "ml_program.global_load", "ml_program.global_store", "ml_program.global"


@dataclasses.dataclass(frozen=True)
class State:
    """One tensor of state. `initial`: its first value, a dense attribute or the symbol of a weight."""

    name: str
    type: ir.RankedTensorType
    initial: ir.Attribute


def states(module: ir.Module | ir.Operation) -> Iterator[ir.Operation]:
    """The globals of `module` that are marked as state."""
    for op in module.operation.regions[0].blocks[0].operations:
        if op.operation.name == GLOBAL and STATE in op.operation.attributes:
            yield op.operation


def state_of(op: ir.Operation) -> State:
    """What a global that is marked as state declares. Raises `VerifyError`."""
    type_, mark = ir.TypeAttr(op.attributes["type"]).value, op.attributes[STATE]
    fixed = isinstance(type_, ir.RankedTensorType) and type_.has_static_shape
    expect(fixed, f"expected state to be a tensor of static shape, found {type_}")
    expect("is_mutable" in op.attributes, "expected state to be 'mutable'")
    initial = mark if isinstance(mark, ir.StringAttr) else op.attributes.get("value", None)
    is_mark = isinstance(mark, ir.UnitAttr | ir.StringAttr)
    expect(is_mark, f"expected '{STATE}' to be empty or the name of a weight, found {mark}")
    expect(
        isinstance(initial, ir.StringAttr | ir.DenseElementsAttr),
        f"expected state to begin as a dense value of its own or as the weight that '{STATE}' names, found {initial}",
    )
    return State(ir.StringAttr(op.attributes["sym_name"]).value, type_, initial)


def state_read(op: ir.Operation) -> str:
    """The name of the global that a load or store names."""
    return ir.SymbolRefAttr(op.attributes["global"]).value[0]


def initial_array(state: State, weights: WeightStore) -> np.ndarray:
    """The first value of `state`; call it in its context, and never write to it. Raises `WeightError`."""
    module = ir.Module.create(ir.Location.unknown())
    with ir.Location.unknown(), ir.InsertionPoint(module.body):
        return array_of(WeightOp(state.type, state.initial), weights)
