"""Any zero mask, any shape: detect, reorder, pack and both lowerings compute x @ W.T + b."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.passes.base import PassContext

SCHEDULED = "sparsity-detect,sparsity-schedule{SCHEDULE},sparsity-reorder,sparsity-pack"
STAGES = {
    "packed": SCHEDULED,
    "panels": f"{SCHEDULED},sparsity-layout,sparsity-tile",
    "joined": f"{SCHEDULED},sparsity-layout,sparsity-tile,sparsity-eliminate-loads",
    "joined-token-major": f"{SCHEDULED},sparsity-tile,sparsity-eliminate-loads",
}
LOWERINGS = {
    "kernels": f"{STAGES['joined']},convert-sparsity-to-kernels,convert-sparsity-to-linalg",
    "kernels-one-list-per-row": f"{STAGES['panels']},convert-sparsity-to-kernels,convert-sparsity-to-linalg",
    "linalg": f"{STAGES['packed']},convert-sparsity-to-linalg",
    "linalg-joined": f"{STAGES['joined']},convert-sparsity-to-linalg",
}


def prune(weight: np.ndarray, scheme: str, rng: np.random.Generator) -> np.ndarray:
    """A mask of each scheme, drawn at random; blocks at the edges are smaller."""
    rows, columns = weight.shape
    if scheme == "dense":
        return weight
    if scheme == "zero":
        return weight * 0
    if scheme == "unstructured":
        return weight * (rng.random(weight.shape) < 0.3)
    if scheme == "rows":
        return weight * (rng.random((rows, 1)) < 0.5)
    if scheme == "nm":
        return weight * (np.argsort(rng.random(weight.shape), axis=1) % 4 == 0)
    height, width = {"band": (4, 1), "bcr": (4, 8), "tall": (16, 3), "block": (1, 8)}[scheme]
    keep = np.ones(weight.shape, dtype=bool)
    for i in range(0, rows, height):
        for j in range(0, columns, width):
            block = keep[i : i + height, j : j + width]
            block[:, rng.random(block.shape[1]) < 0.5] = False
            if width > 1:
                block[rng.random(block.shape[0]) < 0.5] = False
    return weight * keep


def layer(tokens: int, rows: int, columns: int, activation: str) -> str:
    """One linear layer with bias and residual as text."""
    x, y, sizes = f"tensor<2x{tokens}x{columns}xf32>", f"tensor<2x{tokens}x{rows}xf32>", "array<i32: 1, 1, 1, 1>"
    return f"""
    module attributes {{sparsity.target = #sparsity.target<{{vector_bytes = 32 : i64, registers = 16 : i64}}>}} {{
      func.func @main(%x: {x}, %r: {y}) -> {y} {{
        %w = "sparsity.weight"() {{source = "w"}} : () -> tensor<{rows}x{columns}xf32>
        %b = "sparsity.weight"() {{source = "b"}} : () -> tensor<{rows}xf32>
        %y = "sparsity.linear"(%x, %w, %b, %r) {{activation = "{activation}", operandSegmentSizes = {sizes}}}
          : ({x}, tensor<{rows}x{columns}xf32>, tensor<{rows}xf32>, {y}) -> {y}
        return %y : {y}
      }}
    }}"""


def check(
    pipeline: str, scheme: str, rows: int, columns: int, tokens: int, row_tile: int, seed: int, options: str = ""
) -> None:
    """Runs `pipeline` on one layer and compares with NumPy. `options` of the schedule are added to the others."""
    rng = np.random.default_rng(seed)
    weight = prune(rng.standard_normal((rows, columns)).astype(np.float32), scheme, rng)
    bias = rng.standard_normal(rows).astype(np.float32)
    x = rng.standard_normal((2, tokens, columns)).astype(np.float32)
    residual = rng.standard_normal((2, tokens, rows)).astype(np.float32)
    context = PassContext()
    context.weights["w"], context.weights["b"] = weight, bias
    schedule = (f"row-tile={row_tile} workgroups=3" if row_tile else "workgroups=2") + options
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(layer(tokens, rows, columns, "relu"))
        run_pipeline(module, pipeline.replace("SCHEDULE", schedule), context)
        (found,) = evaluate(module, [x, residual], context.weights)
    expected = np.maximum(x.astype(np.float64) @ weight.T.astype(np.float64) + bias, 0) + residual
    assert np.abs(found - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())
    # What is multiplied was counted. Zeros are stored in repeated rows, and where a unit was kept as a whole: a quarter
    # of what is not zero at most.
    repeated = context.statistics["repeated-rows"] * columns
    assert context.statistics["packed-values"] <= 1.25 * np.count_nonzero(weight) + repeated


MASKS = st.sampled_from(["dense", "zero", "unstructured", "rows", "nm", "band", "bcr", "tall", "block"])
SIZES = st.integers(1, 40)


@pytest.mark.parametrize("stage", STAGES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MASKS, SIZES, SIZES, st.integers(1, 20), st.integers(0, 7), st.integers(0, 99))
def test_scheduled_levels(stage, scheme, rows, columns, tokens, row_tile, seed):
    check(STAGES[stage], scheme, rows, columns, tokens, row_tile, seed)


@pytest.mark.parametrize("lowering", LOWERINGS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MASKS, SIZES, SIZES, st.integers(1, 20), st.integers(0, 7), st.integers(0, 99))
def test_lowerings(lowering, scheme, rows, columns, tokens, row_tile, seed):
    check(LOWERINGS[lowering], scheme, rows, columns, tokens, row_tile, seed)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize(
    ("scheme", "rows", "columns"), [("bcr", 1, 40), ("unstructured", 33, 1), ("tall", 37, 29), ("zero", 5, 7)]
)
def test_odd_shapes(lowering, scheme, rows, columns):
    check(LOWERINGS[lowering], scheme, rows, columns, tokens=17, row_tile=0, seed=1)


@pytest.mark.parametrize("scheme", ["bcr", "tall", "dense"])
@pytest.mark.parametrize(("unroll", "tile_group"), [(2, 1), (4, 2), (3, 5), (1, 100)])
def test_orders_of_loops(scheme, unroll, tile_group):
    # 45 tokens are a panel of 48 in vectors of 8: six blocks; 3 rows a tile leave a workgroup four tiles or five.
    options = f" token-vectors=1 unroll={unroll} tile-group={tile_group}"
    check(LOWERINGS["kernels"], scheme, 37, 29, tokens=45, row_tile=3, seed=2, options=options)
