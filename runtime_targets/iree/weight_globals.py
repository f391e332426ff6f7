"""Weights on their way out of the IR: globals that IREE reads from an archive of parameters."""

import json
from collections.abc import Mapping

import numpy as np
from torch_mlir import ir

from .kernels import refuse

SCOPE = "model"
"""The scope under which a parameter archive is given to the module."""
_INLINE_BYTES = 64

DTYPES = {
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "i1": "bool",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
}
"""MLIR's names of element types, and NumPy's."""


class WeightGlobals:
    """Weights on their way out: one global per array, tiny ones as constants in the code."""

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        self.weights = weights
        self.used: dict[str, np.ndarray] = {}
        self._globals: dict[tuple, tuple[str, str, ir.Type]] = {}

    def replace(self, op: ir.Operation) -> None:
        """Replaces a `sparsity.weight` that has uses by a load of its global, or by a constant."""
        result = op.results[0]
        if not list(result.uses):
            op.erase()
            return
        source = op.attributes["source"]
        literal, name = source, ""
        if isinstance(source, ir.StringAttr):
            array = self._array(op, source.value, result.type)
            # A constant can be folded into the ops that use it, but a kernel would get it from a buffer anyway.
            dispatched = any(use.owner.operation.name == "flow.dispatch" for use in result.uses)
            if array.nbytes <= _INLINE_BYTES and not dispatched:
                literal = _literal(array, result.type)
            else:
                literal, name = None, self._global(source.value, array, result.type)
        with op.location, ir.InsertionPoint(op):
            if literal is not None:
                attributes = {"value": literal}
                new = ir.Operation.create("arith.constant", [result.type], attributes=attributes)
            else:
                attributes = {"global": ir.FlatSymbolRefAttr.get(name), "is_immutable": ir.UnitAttr.get()}
                new = ir.Operation.create("util.global.load", [result.type], attributes=attributes)
        result.replace_all_uses_with(new.result)
        op.erase()

    def _array(self, op: ir.Operation, symbol: str, type_: ir.Type) -> np.ndarray:
        if symbol not in self.weights:
            refuse(op, f"names the weight '{symbol}', which the weight store does not hold")
        array = self.weights[symbol]
        wanted = DTYPES.get(str(type_.element_type))
        if list(array.shape) != list(type_.shape) or array.dtype.name != wanted:
            found = f"{array.dtype.name} of shape {list(array.shape)}"
            refuse(op, f"has the type {type_}, but the weight store holds '{symbol}' as {found}")
        return array

    def _global(self, symbol: str, array: np.ndarray, type_: ir.Type) -> str:
        # Tied weights are one array under two symbols: they leave as one parameter.
        place = array.__array_interface__["data"][0]
        key = (place, array.dtype.str, array.shape, array.strides) if array.size else (symbol,)
        if key not in self._globals:
            self.used[symbol] = array
            self._globals[key] = (f"weight_{len(self._globals)}", symbol, type_)
        return self._globals[key][0]

    def declare(self, body: ir.Block) -> None:
        """Adds the globals at the top of the module."""
        with ir.InsertionPoint.at_block_begin(body):
            for name, symbol, type_ in self._globals.values():
                source = f"#flow.parameter.named<{json.dumps(SCOPE)}::{_quote(symbol)}> : {type_}"
                attributes = {
                    "sym_name": ir.StringAttr.get(name),
                    "sym_visibility": ir.StringAttr.get("private"),
                    "type": ir.TypeAttr.get(type_),
                    "initial_value": ir.Attribute.parse(source),
                }
                ir.Operation.create("util.global", attributes=attributes)


def _literal(array: np.ndarray, type_: ir.Type) -> ir.Attribute:
    contiguous = np.asarray(array, order="C")
    if contiguous.dtype == np.bool_:
        values = [ir.BoolAttr.get(bool(v)) for v in contiguous.reshape(-1)]
        return ir.DenseElementsAttr.get(values, type_)
    return ir.DenseElementsAttr.get(contiguous, type=type_.element_type, shape=list(type_.shape))


def _quote(text: str) -> str:
    """A string as MLIR's lexer reads it back."""
    return str(ir.StringAttr.get(text))
