"""Linear layers that become fewer: distributivity and associativity of matrix products.

    linear(a, W) + linear(b, W)    -> linear(a + b, W)           half the multiplications, one addition per column more
    linear(x, W1) + linear(x, W2)  -> linear(x, W1 + W2)         where the sum keeps fewer weights than both
    linear(linear(x, W1), W2)      -> linear(x, W2 W1)           where the product keeps fewer weights than both

"Keeps" counts what the kernel multiplies with: the weights that the cheapest encoding of the new array keeps. So a
pruned pair is never made dense unless the dense one multiplies less. All of them change the last bits of the result.
"""

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.ops.add import AddOp
from secateur.dialects.sparsity.ops.weight import symbol_of, weight_behind
from secateur.dialects.sparsity.rules import layout_of
from secateur.passes.base import PassContext, walk

from .readers import (
    derived_weight,
    detected,
    fits_f32,
    is_plain,
    kept_weights,
    known_array,
    linear_behind,
    rebuild_linear,
    replace,
)


def _bias(linear: ir.OpView, context: PassContext) -> np.ndarray | None:
    """The bias in float64, zeros where there is none; None where it is no constant."""
    if linear.bias is None:
        return np.zeros(linear.weight.type.shape[0])
    found = known_array(linear.bias, context.weights)
    return None if found is None else found.astype(np.float64)


def _operands(linears: list[ir.OpView], context: PassContext) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """Weights and biases of the `linears` in float64; None where one is no constant."""
    weights = [known_array(linear.weight, context.weights) for linear in linears]
    biases = [_bias(linear, context) for linear in linears]
    if any(a is None for a in (*weights, *biases)):
        return None
    return [w.astype(np.float64) for w in weights if w is not None], [b for b in biases if b is not None]


def _kept(linears: list[ir.OpView], context: PassContext) -> int:
    weights = [weight_behind(linear.weight) for linear in linears]
    return sum(kept_weights(weight, context.array(weight)) for weight in weights)


def factor_sums(module: ir.Module, context: PassContext) -> int:
    """Sums of two linears that share their weight or their input -> one linear. Returns how many."""
    count = 0
    for op in walk(module, "sparsity.add"):
        linears = [linear_behind(op.lhs), linear_behind(op.rhs)]
        if layout_of(op) or op.lhs == op.rhs or any(linear is None or not is_plain(linear) for linear in linears):
            continue
        count += _share_weight(op, linears, context) or _share_input(op, linears, context)  # type: ignore[arg-type]
    return count


def _share_weight(op: ir.OpView, linears: list[ir.OpView], context: PassContext) -> bool:
    first, second = linears
    arrays = _operands(linears, context)
    if first.weight != second.weight or first.x.type != second.x.type or arrays is None:
        return False
    biases = arrays[1]
    # One addition per column and token against the multiplications of one layer.
    if _kept([first], context) <= first.weight.type.shape[1] or not fits_f32(biases[0] + biases[1]):
        return False
    with op.location, ir.InsertionPoint(op):
        x = AddOp.build(lhs=first.x, rhs=second.x).result
    changed: dict[str, ir.Value | None] = {"x": x}
    if any(linear.bias is not None for linear in linears):
        like = weight_behind(first.weight)
        changed["bias"] = derived_weight(biases[0] + biases[1], "bias", like, op, context, None)
    new = rebuild_linear(first, op, second, **changed)
    replace(op, new.result, *linears)
    return True


def _share_input(op: ir.OpView, linears: list[ir.OpView], context: PassContext) -> bool:
    arrays = _operands(linears, context)
    if linears[0].x != linears[1].x or arrays is None:
        return False
    weights, biases = arrays
    return _replace_by(op, linears, linears[0], weights[0] + weights[1], biases[0] + biases[1], "+", context)


def _replace_by(
    op: ir.OpView,
    linears: list[ir.OpView],
    model: ir.OpView,
    weight: np.ndarray,
    bias: np.ndarray,
    sign: str,
    context: PassContext,
) -> bool:
    """`op` -> one linear like `model` with this weight and bias, if it keeps fewer weights than the `linears`."""
    if not fits_f32(weight, bias):
        return False
    with op.context:
        encoding, kept = detected(weight)
    if kept >= _kept(linears, context):
        return False
    like = weight_behind(linears[0].weight)
    hint = sign.join(symbol_of(weight_behind(linear.weight)) or "literal" for linear in linears)
    changed: dict[str, ir.Value | None] = {
        "x": linears[0].x,
        "weight": derived_weight(weight, hint, like, op, context, encoding),
    }
    if any(linear.bias is not None for linear in linears):
        changed["bias"] = derived_weight(bias, f"{hint}:bias", like, op, context, None)
    new = rebuild_linear(model, op, *linears, **changed)
    replace(op, new.result, *(linear for linear in linears if linear.operation != op.operation))
    return True


def collapse_chains(module: ir.Module, context: PassContext) -> int:
    """Two linears in a row with nothing between -> one, where it multiplies less. Returns how many."""
    count = 0
    for op in walk(module, "sparsity.linear"):
        inner = linear_behind(op.x)
        if inner is None or not is_plain(inner):
            continue
        arrays = _operands([inner, op], context)
        if arrays is None:
            continue
        (first, second), (shift, bias) = arrays
        # The product has at least as many nonzero rows and columns as these: a cheap bound before multiplying.
        if _rows(second) + _rows(first.T) - 1 >= _kept([inner, op], context):
            continue
        count += _replace_by(op, [inner, op], op, second @ first, bias + second @ shift, "@", context)
    return count


def _rows(array: np.ndarray) -> int:
    return int((array != 0).any(axis=1).sum())
