"""Activations in level 1, as one op or spelled out, by the kind that `sparsity.activation` gives them."""

import math

from torch_mlir import ir

from .torch_values import constant, defined_by, is_f32, number

_SINGLE = {"relu": "relu", "tanh": "tanh", "silu": "silu", "sigmoid": "sigmoid"}
_GELU = {"none": "gelu", "tanh": "gelu_tanh"}


def match_single(op: ir.Operation) -> tuple[str, ir.Value] | None:
    """Kind and operand of an op that is an activation by itself, on f32."""
    name = op.name.removeprefix("torch.aten.")
    kind = _SINGLE.get(name)
    if name == "gelu":
        kind = _GELU.get(str(constant(op.operands[1])))
    return (kind, op.operands[0]) if kind is not None and is_f32(op.operands[0]) else None


def match_spelled_out(op: ir.Operation) -> tuple[str, ir.Value] | None:
    """Kind and operand of a product that ends an activation written in arithmetic.

    `0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))` is `gelu_tanh`, `0.5 * x * (1 + erf(x / sqrt(2)))` is
    `gelu`, `x * sigmoid(x)` is `silu`.
    """
    if op.name != "torch.aten.mul.Tensor" or not is_f32(op.results[0]):
        return None
    for left, right in ((op.operands[0], op.operands[1]), (op.operands[1], op.operands[0])):
        sigmoid = defined_by(right, "sigmoid")
        if sigmoid is not None and sigmoid.operands[0] == left:
            return "silu", left
        half = _factor(left)
        shifted = _shift(right)
        if half is None or shifted is None or half[1] != 0.5 or shifted[1] != 1.0:
            continue
        x = half[0]
        if _is_cubic_tanh(shifted[0], x):
            return "gelu_tanh", x
        if _is_scaled_erf(shifted[0], x):
            return "gelu", x
    return None


def _is_cubic_tanh(value: ir.Value, x: ir.Value) -> bool:
    """Whether `value` is `tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))`."""
    tanh = defined_by(value, "tanh")
    scaled = _factor(tanh.operands[0]) if tanh is not None else None
    if scaled is None or not math.isclose(scaled[1], math.sqrt(2 / math.pi), rel_tol=1e-7):
        return False
    total = defined_by(scaled[0], "add.Tensor")
    if total is None or number(total.operands[2]) != 1.0:
        return False
    for first, second in ((total.operands[0], total.operands[1]), (total.operands[1], total.operands[0])):
        cubic = _factor(second)
        if first == x and cubic is not None and math.isclose(cubic[1], 0.044715, rel_tol=1e-7):
            power = defined_by(cubic[0], "pow.Tensor_Scalar")
            if power is not None and power.operands[0] == x and number(power.operands[1]) == 3.0:
                return True
    return False


def _is_scaled_erf(value: ir.Value, x: ir.Value) -> bool:
    """Whether `value` is `erf(x / sqrt(2))`."""
    erf = defined_by(value, "erf")
    scaled = _factor(erf.operands[0]) if erf is not None else None
    return scaled is not None and scaled[0] == x and math.isclose(scaled[1], math.sqrt(0.5), rel_tol=1e-7)


def _factor(value: ir.Value) -> tuple[ir.Value, float] | None:
    """(y, c) where `value` is c * y."""
    op = defined_by(value, "mul.Scalar", "div.Scalar")
    factor = number(op.operands[1]) if op is not None else None
    if op is None or not factor:
        return None
    return op.operands[0], factor if op.name.endswith("mul.Scalar") else 1 / factor


def _shift(value: ir.Value) -> tuple[ir.Value, float] | None:
    """(y, c) where `value` is y + c."""
    op = defined_by(value, "add.Scalar")
    shift = number(op.operands[1]) if op is not None else None
    if op is None or shift is None or number(op.operands[2]) != 1.0:
        return None
    return op.operands[0], shift
