"""Products of matrices of bytes: `smmla` multiplies eight weights of two rows with eight features of two tokens.

A vector of sums holds those of row 0 and the first and the second token, then of row 1. Weights need no broadcast:
the sixteen of two rows are a vector as they are stored. An instruction does twice the products of `sdot`, and sums take
as many registers.
"""

from torch_mlir.dialects import llvm, vector

from .build import Value
from .byte_products import integers

_SMMLA = "llvm.aarch64.neon.smmla.v4i32.v16i8"


def multiply(total: Value, weights: Value, x: Value) -> Value:
    """`total` and the products of two rows of weights with two tokens."""
    return llvm.call_intrinsic(integers(32, 4), _SMMLA, [total, weights, x], [], [])


def joined(low: Value, high: Value) -> list[Value]:
    """Eight features of two tokens each, out of two vectors with four features of four tokens."""
    words = [vector.bitcast(integers(32, 4), x) for x in (low, high)]
    shuffled = [vector.shuffle(*words, places) for places in ([0, 4, 1, 5], [2, 6, 3, 7])]
    return [vector.bitcast(integers(8, 16), x) for x in shuffled]


def rows(sums: list[Value]) -> list[list[Value]]:
    """The sums of two rows, in vectors of four tokens, out of those of two rows and two tokens."""
    pairs = list(zip(sums[::2], sums[1::2], strict=True))
    return [[vector.shuffle(a, b, places) for a, b in pairs] for places in ([0, 1, 4, 5], [2, 3, 6, 7])]
