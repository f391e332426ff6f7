"""The dialect object, and what every op and attribute of the dialect is built with.

Annotations must stay objects here (`from __future__ import annotations` turns them into strings,
which `torch_mlir.dialects.ext` cannot read).
"""

import functools
from collections.abc import Callable

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


def verifier(rule: Callable[[ir.OpView], None]) -> staticmethod:
    """Turns a function that raises `VerifyError` into the hook that MLIR calls.

    The message is emitted at the op as `'sparsity.x' op <message>`. An op whose operand segments are
    malformed is left to the structural verifier, which runs after this hook and names the fault.
    """

    @functools.wraps(rule)
    def verify_invariants(op: ir.OpView) -> bool:
        try:
            rule(op)
        except VerifyError as error:
            op.location.emit_error(f"'{op.operation.name}' op {error}")
            return False
        except (IndexError, KeyError):
            return True
        return True

    return staticmethod(verify_invariants)
