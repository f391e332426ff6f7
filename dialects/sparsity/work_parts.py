"""What the counts of floating-point operations of ops share: real tokens, and operations of an activation.

An addition, multiplication, division, comparison for a maximum, square root, `exp`, `erf` or `tanh` counts as one
operation, a fused multiply-add as two, and so does a product of bytes with its sum.
"""

from collections.abc import Mapping
from typing import NamedTuple

from torch_mlir import ir

from .rules import activation_of, features_of, layout_of

ACTIVATION_FLOPS = {"none": 0, "relu": 1, "tanh": 1, "sigmoid": 3, "silu": 4, "gelu": 5, "gelu_tanh": 9}
"""Operations of an activation per element, `exp`, `erf` and `tanh` as one each."""

Tokens = Mapping[tuple[int, int], int]
"""Real tokens of a sequence by (panels, tokens in a panel)."""


class Flops(NamedTuple):
    """Operations of an op: `needed` for its result, of the real tokens (those of the model); `computed` by a kernel,
    with packed zeros, repeated rows, and tokens that fill the last panel. `on_bytes`: those among the needed that
    multiply bytes and sum the products; all others are in floats.
    """

    needed: int
    computed: int
    on_bytes: int = 0


def token_rows(op: ir.OpView, value: ir.Value, tokens: Tokens) -> tuple[int, int]:
    """Rows of all sequences of `value`: real ones and with padding."""
    shape = list(value.type.shape)
    layout = layout_of(op)
    if layout is None:
        count = 1
        for size in shape[:-1]:
            count *= size
        return count, count
    batch, panels, _, panel = layout.sizes(shape)
    return batch * tokens.get((panels, panel), panels * panel), batch * panels * panel


def elementwise_flops(op: ir.OpView, tokens: Tokens, flops: int) -> Flops:
    real, padded = token_rows(op, op.result, tokens)
    features = features_of(op, op.result)
    return Flops(real * features * flops, padded * features * flops)


def epilogue_flops(op: ir.OpView) -> int:
    """Operations per element of the result after the sums of a linear layer: its activation and residual."""
    return ACTIVATION_FLOPS[activation_of(op)] + (op.residual is not None)
