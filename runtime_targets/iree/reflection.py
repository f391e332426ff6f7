"""The signatures of a module, as attributes of its functions that IREE carries along."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch_mlir import ir

from secateur.dialects.entry_points import RESET
from secateur.dialects.sparsity.state import State

from ..interface import Signature, full_signature
from ..manifest import NOTHING, Function
from .kernels import refuse
from .module_file import SIGNATURE
from .weight_globals import DTYPES

if TYPE_CHECKING:
    from ..targets import Target as TargetMachine


@dataclasses.dataclass(frozen=True)
class ModuleFacts:
    """What is one for all functions of a module. `subgroup` and `activations` as in `Signature`."""

    subgroup: int | None
    activations: str | None
    target: "TargetMachine | None"
    parameters: Mapping[str, np.ndarray]
    state: Mapping[str, State]


def describe(
    entries: Sequence[ir.Operation], facts: ModuleFacts, functions: "Mapping[str, Function] | None" = None
) -> None:
    """Gives each of `entries` its signature in a form that a session and a bundle read back (`Signature`).

    `functions`: how those of a bundle are called, by name; with them, signatures tell target and parameters too. Raises
    `AssemblyError` where they are others than the entries.
    """
    state = {
        name: {"dtype": DTYPES[str(s.type.element_type)], "shape": s.type.shape} for name, s in facts.state.items()
    }
    known = {RESET: NOTHING, **(functions or {})}
    for entry in entries:
        name = ir.StringAttr(entry.attributes["sym_name"]).value
        kind = ir.FunctionType(ir.TypeAttr(entry.attributes["function_type"]).value)
        signature = Signature(_specs(entry, kind.inputs, "input"), _specs(entry, kind.results, "output"))
        if functions is not None:
            if name not in known:
                refuse(entry, f"has the name '@{name}'; the model's functions are {', '.join(functions)}")
            try:
                signature = full_signature(signature, known[name], facts.target, facts.parameters)
            except ValueError as error:
                refuse(entry, f"is not the model's: {error}")
        signature = dataclasses.replace(signature, subgroup=facts.subgroup, activations=facts.activations, state=state)
        text = ir.StringAttr.get(signature.dumps())
        entry.attributes["iree.reflection"] = ir.DictAttr.get({SIGNATURE: text})


def _specs(function: ir.Operation, types: list[ir.Type], what: str) -> tuple[dict, ...]:
    found = []
    for position, type_ in enumerate(types):
        element = str(type_.element_type) if isinstance(type_, ir.RankedTensorType) else ""
        if element not in DTYPES:
            refuse(function, f"has the {what} {position} of type {type_}; tensors of {', '.join(DTYPES)} are accepted")
        shape = [-1 if type_.is_dynamic_dim(i) else type_.get_dim_size(i) for i in range(type_.rank)]
        found.append({"dtype": DTYPES[element], "shape": shape})
    return tuple(found)
