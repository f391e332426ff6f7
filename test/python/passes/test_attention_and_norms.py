"""Attention, layer norm and element-wise kernels and their linalg lowerings against the NumPy reference."""

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.passes.base import PassContext

LOWERINGS = {
    "kernels": "sparsity-layout,convert-sparsity-to-kernels,convert-sparsity-to-linalg",
    "gpu-kernels": "sparsity-layout,convert-sparsity-to-gpu-kernels,convert-sparsity-to-linalg",
    "linalg": "convert-sparsity-to-linalg",
    "linalg-in-panels": "sparsity-layout,convert-sparsity-to-linalg",
}
# Of a head: two pieces for threads of a GPU, which share their scores.
DEPTH = 12
TARGET = "sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>"


def compare(text: str, inputs: list[np.ndarray], pipeline: str) -> None:
    """Evaluates `text` before and after `pipeline`; NaN must stay NaN."""
    context = PassContext()
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        expected = evaluate(module, inputs, context.weights)
        run_pipeline(module, pipeline, context)
        found = evaluate(module, inputs, context.weights)
        # On a GPU, element-wise ops alone are left to IREE.
        if "to-kernels" in pipeline or ("to-gpu" in pipeline and "sparsity.attention" in text):
            assert "sparsity.dispatch" in str(module)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def attention(tokens: int, heads: int, kv_heads: int, causal: bool, key_bias: bool, bias: list[int] | None) -> str:
    """An attention of batch 2 as text; `bias` gives its first two dimensions."""
    q, k = f"tensor<2x{tokens}x{heads * DEPTH}xf32>", f"tensor<2x{tokens}x{kv_heads * DEPTH}xf32>"
    types, names = [q, k, k], ["%q", "%k", "%v"]
    if key_bias:
        types, names = [*types, f"tensor<2x{tokens}xf32>"], [*names, "%m"]
    if bias:
        types, names = [*types, f"tensor<{bias[0]}x{bias[1]}x{tokens}x{tokens}xf32>"], [*names, "%b"]
    arguments = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))
    sizes = f"array<i32: 1, 1, 1, {int(key_bias)}, {int(bool(bias))}>"
    return f"""
    module attributes {{{TARGET}}} {{
      func.func @main({arguments}) -> {q} {{
        %y = "sparsity.attention"({", ".join(names)}) {{heads = {heads} : i64, kv_heads = {kv_heads} : i64,
          scale = 0.4 : f64, causal = {str(causal).lower()}, operandSegmentSizes = {sizes}}}
          : ({", ".join(types)}) -> {q}
        return %y : {q}
      }}
    }}"""


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize(
    ("tokens", "heads", "kv_heads", "causal", "key_bias", "bias"),
    [
        (16, 2, 2, False, False, None),
        (37, 3, 3, False, True, None),
        (13, 4, 2, True, True, None),
        (9, 2, 1, False, True, [1, 2]),
        (20, 2, 2, True, False, [2, 1]),
        # More keys than scores fit the scratch memory: block by block.
        (400, 2, 1, True, True, None),
        (300, 2, 1, False, False, None),
        (520, 2, 2, False, True, [1, 2]),
        # On a GPU, so many tiles are a loop.
        (600, 2, 1, False, False, None),
    ],
)
def test_attention(lowering, tokens, heads, kv_heads, causal, key_bias, bias):
    rng = np.random.default_rng(tokens)

    def draw(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    inputs = [draw(2, tokens, n * DEPTH) for n in (heads, kv_heads, kv_heads)]
    if key_bias:
        mask = np.zeros((2, tokens), dtype=np.float32)
        mask[0, tokens // 2 :] = -np.inf
        # The whole second sequence is masked: zeros are expected, not NaN.
        mask[1] = -np.inf
        inputs.append(mask)
    if bias:
        inputs.append(draw(*bias, tokens, tokens))
    compare(attention(tokens, heads, kv_heads, causal, key_bias, bias), inputs, LOWERINGS[lowering])


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_a_nan_reaches_the_result(lowering):
    inputs = [np.ones((2, 16, 2 * DEPTH), dtype=np.float32) for _ in range(3)]
    inputs[0][1, 3, 2] = np.nan
    compare(attention(16, 2, 2, False, False, None), inputs, LOWERINGS[lowering])


def layer_norm(shape: tuple[int, ...], residual: bool, epsilon: float = 1e-5) -> str:
    """A layer norm as text."""
    kind, feature = "tensor<" + "x".join(map(str, shape)) + "xf32>", f"tensor<{shape[-1]}xf32>"
    types = [kind, feature, feature, *([kind] if residual else [])]
    names = ["%x", "%w", "%b", *(["%r"] if residual else [])]
    arguments = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))
    return f"""
    module attributes {{{TARGET}}} {{
      func.func @main({arguments}) -> {kind} {{
        %y = "sparsity.layer_norm"({", ".join(names)}) {{epsilon = {epsilon:e} : f64,
          operandSegmentSizes = array<i32: 1, 1, 1, {int(residual)}>}} : ({", ".join(types)}) -> {kind}
        return %y : {kind}
      }}
    }}"""


def lowered(text: str, inputs: list[np.ndarray], lowering: str) -> tuple[np.ndarray, np.ndarray]:
    """The result before and after lowering."""
    context = PassContext()
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        (expected,) = evaluate(module, inputs, context.weights)
        run_pipeline(module, LOWERINGS[lowering], context)
        (found,) = evaluate(module, inputs, context.weights)
    return expected, found


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("shape", [(1, 16, 8), (2, 33, 5), (7, 3)])
@pytest.mark.parametrize("residual", [False, True])
def test_layer_norm(lowering, shape, residual):
    rng = np.random.default_rng(0)
    # A large mean shows a variance that is computed from sums of squares.
    inputs = [(rng.standard_normal(shape) + 100).astype(np.float32)]
    inputs += [rng.standard_normal(shape[-1]).astype(np.float32) for _ in range(2)]
    inputs += [rng.standard_normal(shape).astype(np.float32)] if residual else []
    expected, found = lowered(layer_norm(shape, residual), inputs, lowering)
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("features", [1, 49, 50])
@pytest.mark.parametrize("residual", [False, True])
def test_a_layer_norm_of_equal_features_is_exactly_its_bias(lowering, features, residual):
    rng = np.random.default_rng(0)
    constants = np.array([0.7, -1234.6, 1e-3, 3e4, 1 / 3, 3e38, 1e-38, 0.0], np.float32)
    x = np.repeat(constants, 2)[None, :, None] * np.ones(features, np.float32)
    weight, bias = rng.standard_normal((2, features)).astype(np.float32)
    inputs = [x, weight, bias, *([x * np.float32(0.1)] if residual else [])]
    expected, found = lowered(layer_norm(x.shape, residual, 1e-12), inputs, lowering)
    np.testing.assert_array_equal(expected, np.broadcast_to(bias, x.shape))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_a_layer_norm_far_from_zero_errs_by_the_rounding_of_the_mean_at_most(lowering):
    rng = np.random.default_rng(0)
    x = (1e4 + 1e-2 * rng.standard_normal((1, 16, 50))).astype(np.float32)
    inputs = [x, np.ones(50, np.float32), np.zeros(50, np.float32)]
    expected, found = lowered(layer_norm(x.shape, False, 1e-12), inputs, lowering)
    spread = x.astype(np.float64).std(axis=-1).min()
    assert np.abs(found - expected).max() < 0.55 * np.spacing(np.float32(1e4)) / spread


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("kind", ["gelu", "gelu_tanh", "relu", "silu", "tanh", "sigmoid"])
def test_activations(lowering, kind):
    text = f"""
    module attributes {{{TARGET}}} {{
      func.func @main(%x: tensor<3x40x5xf32>) -> tensor<3x40x5xf32> {{
        %y = "sparsity.activation"(%x) {{kind = "{kind}"}} : (tensor<3x40x5xf32>) -> tensor<3x40x5xf32>
        %z = "sparsity.add"(%x, %y) : (tensor<3x40x5xf32>, tensor<3x40x5xf32>) -> tensor<3x40x5xf32>
        return %z : tensor<3x40x5xf32>
      }}
    }}"""
    x = np.linspace(-30, 30, 600, dtype=np.float32).reshape(3, 40, 5)
    compare(text, [x], LOWERINGS[lowering])
