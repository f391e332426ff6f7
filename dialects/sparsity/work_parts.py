"""What the counts of floating-point operations of ops share: real tokens, and operations of an activation.

An addition, multiplication, division, comparison for a maximum, square root, `exp`, `erf` or `tanh` counts as one
operation, a fused multiply-add as two. `Flops` are of the real tokens (those of the model) and of all that the kernel
computes: with packed zeros, repeated rows, and the tokens that fill the last panel.
"""

from collections.abc import Mapping

from torch_mlir import ir

from .rules import activation_of, features_of, layout_of

ACTIVATION_FLOPS = {"none": 0, "relu": 1, "tanh": 1, "sigmoid": 3, "silu": 4, "gelu": 5, "gelu_tanh": 9}
"""Operations of an activation per element, `exp`, `erf` and `tanh` as one each."""

Tokens = Mapping[tuple[int, int], int]
"""Real tokens of a sequence by (panels, tokens in a panel)."""

Flops = tuple[int, int]
"""Operations that the result needs, and those that a kernel computes."""


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


def elementwise_flops(op: ir.OpView, tokens: Tokens, flops: int) -> tuple[int, int]:
    real, padded = token_rows(op, op.result, tokens)
    features = features_of(op, op.result)
    return real * features * flops, padded * features * flops


def epilogue_flops(op: ir.OpView) -> int:
    """Operations per element of the result after the sums of a linear layer: its activation and residual."""
    return ACTIVATION_FLOPS[activation_of(op)] + (op.residual is not None)
