"""The dialect object, and what every op and attribute of the dialect is built with.

Annotations must stay objects here (`from __future__ import annotations` turns them into strings,
which `torch_mlir.dialects.ext` cannot read).
"""

import difflib
import functools
from collections.abc import Callable
from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext


class Sparsity(ext.Dialect, name="sparsity"):
    """Pruned transformers: structural ops, packed ops and the dispatch of kernels."""


Tensor = ext.Operand[ir.RankedTensorType]
TensorResult = ext.Result[ir.RankedTensorType]


class VerifyError(Exception):
    """A rule of an op or attribute is broken; the text says what was found and what is expected."""


def expect(condition: bool, message: str) -> None:
    """Raises `VerifyError(message)` unless `condition` holds."""
    if not condition:
        raise VerifyError(message)


NOTES: dict[str, Callable[[ir.Attribute], None]] = {}
"""The attributes that any op of the dialect may carry beside its own, by name, each with its rule."""


def note(name: str, rule: Callable[[ir.Attribute], None]) -> str:
    """Makes `name` known as a discardable attribute; `rule` raises `VerifyError` for a wrong value. Returns `name`."""
    NOTES[name] = rule
    return name


def verifier(rule: Callable[[ir.OpView], None]) -> staticmethod:
    """Turns a function that raises `VerifyError` into the hook that MLIR calls.

    The message is emitted at the op as `'sparsity.x' op <message>`. After the rule, the names of the op's attributes
    are checked: its fields, the names in `OPTIONAL` of its class, `NOTES`, and what another dialect's prefix stands
    before. An op with other types, results or attributes than its class declares is left to the structural
    verifier, which runs after this hook and names the fault. Rationale: rules may then read every field. Another
    exception is a fault of the rule; it is emitted too, never taken for "valid".
    """

    @functools.wraps(rule)
    def verify_invariants(op: ir.OpView) -> bool:
        if not _has_declared_form(op):
            return True
        try:
            _check_segments(op)
            rule(op)
            _check_names(op)
        except VerifyError as error:
            op.location.emit_error(f"'{op.operation.name}' op {error}")
            return False
        except Exception as error:
            place = f"{type(error).__name__}: {error}"
            op.location.emit_error(f"'{op.operation.name}' op cannot be verified, its rule fails with {place}")
            return False
        return True

    return staticmethod(verify_invariants)


def _has_declared_form(op: ir.OpView) -> bool:
    """Whether operands, results and attributes of `op` are those that its class declares."""
    operands, attributes, results, _ = ext.partition_fields(type(op)._fields)
    for field in attributes:
        if field.name not in op.attributes:
            return False
        kinds = () if field.constraint is Any else (field.constraint,)
        if not all(isinstance(op.attributes[field.name], kind) for kind in kinds):
            return False
    values = [*op.operation.operands, *op.operation.results]
    ranked = all(isinstance(value.type, ir.RankedTensorType) for value in values)
    counted = op._ODS_OPERAND_SEGMENTS is not None or len(op.operation.operands) == len(operands)
    counted = counted and (op._ODS_RESULT_SEGMENTS is not None or len(op.operation.results) == len(results))
    return counted and ranked


def _segments(op: ir.OpView) -> list[tuple[str, str, list[int], int]]:
    """For operands and results that may be absent: the attribute of their sizes, a name, the least sizes, how many."""
    found = [
        ("operandSegmentSizes", "an operand", op._ODS_OPERAND_SEGMENTS, len(op.operation.operands)),
        ("resultSegmentSizes", "a result", op._ODS_RESULT_SEGMENTS, len(op.operation.results)),
    ]
    return [(name, what, list(least), given) for name, what, least, given in found if least is not None]


def _check_segments(op: ir.OpView) -> None:
    """Which optional operands and results there are; the structural verifier takes sizes of any number and sum."""
    for name, what, declared, given in _segments(op):
        found = op.attributes.get(name, None)
        sizes = list(found) if isinstance(found, ir.DenseI32ArrayAttr) else []
        fits = [size == 1 or (size == 0 and least == 0) for size, least in zip(sizes, declared, strict=False)]
        expect(
            len(sizes) == len(declared) and all(fits) and sum(sizes) == given,
            f"expected '{name}' to be array<i32: ...> of {len(declared)} sizes with the sum {given}, "
            f"1 where {what} is given and 0 where an optional one is not, found {found}",
        )


def _check_names(op: ir.OpView) -> None:
    own = [field.name for field in ext.partition_fields(type(op)._fields)[1]] + list(getattr(type(op), "OPTIONAL", ()))
    own += [name for name, *_ in _segments(op)]
    prefix = f"{Sparsity.DIALECT_NAMESPACE}."
    for name in op.attributes:
        if name in NOTES:
            NOTES[name](op.attributes[name])
        elif name not in own and ("." not in name or name.startswith(prefix)):
            known = [*own, *sorted(NOTES)] if name.startswith(prefix) or not own else own
            nearest = difflib.get_close_matches(name, [*own, *NOTES], 1)
            hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
            raise VerifyError(f"has the unknown attribute '{name}'; accepted: {', '.join(known)}{hint}")
