"""Sites where a layer norm's gamma and beta may move into the linears that read it (distributivity).

    linear(layer_norm(x, gamma, beta), W, b) = linear(layer_norm(x, 1, 0), W * gamma, b + W @ beta)

A zero of W stays zero, so the encoding stays true. The kernel of `sparsity.layer_norm` multiplies and adds
its two vectors even where they are ones and zeros, so by bytes moved nothing is saved, and `separate` is the default;
a tuner may find otherwise on a target whose kernel skips them.
"""

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.ops.weight import encoding_of, symbol_of, weight_behind
from secateur.dialects.sparsity.rules import layout_of
from secateur.passes.base import PassContext

from .kinds import Found, Kind, Saving, describe
from .readers import derived_weight, fits_f32, known_array, label, readers, rebuild_linear, replace

SEPARATE, INTO_LINEARS = "separate", "into-linears"


def _linears(op: ir.OpView) -> list[ir.OpView]:
    """The ops that read the layer norm, in program order, each once."""
    seen: dict[ir.Operation, ir.OpView] = {}
    for reader in reversed(readers(op.result)):
        seen[reader.operation] = reader.operation.opview
    return list(seen.values())


def _not_foldable(op: ir.OpView, context: PassContext) -> str:
    found = readers(op.result)
    if not found:
        return "nothing reads the layer norm"
    others = sorted({r.operation.name for r in found if r.operation.name != "sparsity.linear"})
    if others:
        return f"{' and '.join(repr(o) for o in others)} {'reads' if len(others) == 1 else 'read'} the result too"
    gamma, beta = (known_array(v, context.weights) for v in (op.weight, op.bias))
    if gamma is None or beta is None:
        return "gamma or beta is no constant"
    if (gamma == 1).all() and (beta == 0).all():
        return "gamma is one and beta zero"
    if any(use.operand_number != 0 for use in op.result.uses):
        return "a linear reads the result as its residual or weight"
    for linear in _linears(op):
        weight = known_array(linear.weight, context.weights)
        bias = None if linear.bias is None else known_array(linear.bias, context.weights)
        if weight is None or (linear.bias is not None and bias is None):
            return "a linear's weight or bias is no constant"
        if not fits_f32(*_folded(weight, bias, gamma, beta)):
            return "a folded weight would overflow"
    return ""


def _folded(
    weight: np.ndarray, bias: np.ndarray | None, gamma: np.ndarray, beta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    wide = weight.astype(np.float64)
    shift = wide @ beta.astype(np.float64)
    return wide * gamma.astype(np.float64), shift if bias is None else bias + shift


def _affine(op: ir.OpView, context: PassContext) -> Found | None:
    if layout_of(op):
        return None
    why = _not_foldable(op, context)
    read = "; ".join(sorted(describe(r.operation.results[0], context) for r in _linears(op) if r.operation.results))
    return Found(
        legal={SEPARATE: Saving(), **({} if why else {INTO_LINEARS: Saving()})},
        refused={INTO_LINEARS: why} if why else {},
        shape=f"{op.result.type} read by {read}",
        name=label(op),
    )


def fold_affine(op: ir.OpView, variant: str, context: PassContext) -> bool:
    """gamma and beta of a layer norm -> weights and biases of the linears that read it."""
    if variant == SEPARATE:
        return True
    if layout_of(op) or _not_foldable(op, context):
        return False
    scale, shift = weight_behind(op.weight), weight_behind(op.bias)
    gamma, beta = context.array(scale), context.array(shift)
    by = f"{symbol_of(scale) or 'literal'}"
    for linear in _linears(op):
        old = weight_behind(linear.weight)
        before = weight_behind(linear.bias) if linear.bias is not None else None
        weight, bias = _folded(context.array(old), None if before is None else context.array(before), gamma, beta)
        name = symbol_of(old) or "literal"
        changed = {
            "weight": derived_weight(weight, f"{name}*{by}", old, linear, context, encoding_of(old)),
            "bias": derived_weight(bias, f"{name}@{by}", before or old, linear, context, None),
        }
        new = rebuild_linear(linear, linear, **changed)
        replace(linear, new.result)
    ones = derived_weight(np.ones_like(gamma), "ones", scale, op, context, None)
    zeros = derived_weight(np.zeros_like(beta), "zeros", shift, op, context, None)
    # By place: one weight may be gamma and beta at once.
    op.operation.operands[1] = ones
    op.operation.operands[2] = zeros
    return True


LAYER_NORM_AFFINE = Kind(
    "layer-norm-affine",
    "sparsity.layer_norm",
    (SEPARATE, INTO_LINEARS),
    "layer-norm-affines-folded",
    _affine,
    fold_affine,
)
