"""The signature of a module, as an attribute of its function that IREE carries along."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch_mlir import ir

from ..interface import Interface, Signature, full_signature
from .kernels import refuse
from .module_file import SIGNATURE
from .weight_globals import DTYPES

if TYPE_CHECKING:
    from ..targets import Target as TargetMachine


def describe(
    function: ir.Operation,
    subgroup: int | None,
    interface: Interface | None,
    target: "TargetMachine | None",
    parameters: Mapping[str, np.ndarray],
) -> None:
    """Gives `function` its signature in a form that a session and a bundle read back (`Signature`).

    `subgroup`: the lanes that the target relies on. `interface`: how a bundle's model is called; with it, the signature
    tells `target` and `parameters` too.
    """
    kind = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value)
    signature = Signature(_specs(function, kind.inputs, "input"), _specs(function, kind.results, "output"))
    if interface is not None:
        try:
            signature = full_signature(signature, interface, target, parameters)
        except ValueError as error:
            refuse(function, f"is not the model's: {error}")
    signature = Signature(**{**vars(signature), "subgroup": subgroup})
    text = ir.StringAttr.get(signature.dumps())
    function.attributes["iree.reflection"] = ir.DictAttr.get({SIGNATURE: text})


def _specs(function: ir.Operation, types: list[ir.Type], what: str) -> tuple[dict, ...]:
    found = []
    for position, type_ in enumerate(types):
        element = str(type_.element_type) if isinstance(type_, ir.RankedTensorType) else ""
        if element not in DTYPES:
            refuse(function, f"has the {what} {position} of type {type_}; tensors of {', '.join(DTYPES)} are accepted")
        shape = [-1 if type_.is_dynamic_dim(i) else type_.get_dim_size(i) for i in range(type_.rank)]
        found.append({"dtype": DTYPES[element], "shape": shape})
    return tuple(found)
