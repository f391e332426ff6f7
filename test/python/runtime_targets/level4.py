"""Dispatches of 8 workgroups on tensors of 8 rows, as text, and their results beside NumPy's."""

import numpy as np
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.dialects.sparsity.kernel_ops import segment_sizes

ROWS, WIDTH = 8, 16
KIND = f"tensor<{ROWS}x{WIDTH}xf32>"
ROW = f"memref<{ROWS}x{WIDTH}xf32>, vector<{WIDTH}xf32>"
PLACE = "%i: index, %j: index, %l: index"


def parse(text: str) -> ir.Module:
    """The module in a context of its own."""
    with make_context():
        return ir.Module.parse(text)


def call(
    results: str, kernel: str, operands: list[str], ties: list[int] | None = None, kinds=None, made=None, more=""
) -> str:
    """A dispatch on 8 workgroups. `kinds`: types of operands that are not `KIND`, by position; `made`: of results."""
    count = results.count(",") + 1
    types = [(kinds or {}).get(i, KIND) for i in range(len(operands))]
    mark = "" if ties is None else f"tied_operands = array<i64: {', '.join(map(str, ties))}>, "
    return (
        f'{results} = "sparsity.dispatch"({", ".join(operands)}) {{kernel = @{kernel}, grid = array<i64: {ROWS}, 1, 1>,'
        f" {mark}{more}{segment_sizes(len(operands), count)}}} : ({', '.join(types)}) -> "
        f"({', '.join(made or [KIND] * count)})\n"
    )


def rows(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((ROWS, WIDTH)).astype(np.float32)


def check(found, wanted):
    for results in found:
        assert len(results) == len(wanted)
        for result, expected in zip(results, wanted, strict=True):
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-4)
