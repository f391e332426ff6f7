"""The NumPy reference of the structural ops against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_mlir import ir

from secateur.dialects.sparsity.reference import evaluate
from secateur.dialects.sparsity.reference_parts import EvaluationError, from_panels, to_panels
from secateur.dialects.weight_store import WeightStore

NAMES = {"float32": "f32", "float64": "f64", "float16": "f16", "int64": "i64", "int32": "i32", "bool": "i1"}


def tensor_type(array: np.ndarray) -> str:
    return f"tensor<{''.join(f'{n}x' for n in array.shape)}{NAMES[array.dtype.name]}>"


def run(
    name: str, operands: list[np.ndarray | None], attributes: str, result: str, segments: bool = False
) -> np.ndarray:
    """Evaluates one op on `operands`; None stands for one that is absent."""
    present = [o for o in operands if o is not None]
    arguments = ", ".join(f"%a{i}: {tensor_type(o)}" for i, o in enumerate(present))
    if segments:
        attributes += f", operandSegmentSizes = array<i32: {', '.join(str(int(o is not None)) for o in operands)}>"
    used = ", ".join(f"%a{i}" for i in range(len(present)))
    module = ir.Module.parse(f"""
      func.func @main({arguments}) -> {result} {{
        %r = "sparsity.{name}"({used}) {{{attributes.lstrip(", ")}}}
          : ({", ".join(map(tensor_type, present))}) -> {result}
        return %r : {result}
      }}""")
    op = module.body.operations[0].regions[0].blocks[0].operations[0]
    return evaluate(op, present, WeightStore())[0]


def normal(*shape: int, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def close(found: np.ndarray, expected: torch.Tensor, tolerance: float = 2e-6) -> None:
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.numpy(), rtol=tolerance, atol=tolerance)


TORCH_ACTIVATIONS = {
    "none": lambda x: x,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


@pytest.mark.parametrize("kind", TORCH_ACTIVATIONS)
@pytest.mark.parametrize(("bias", "residual"), [(True, True), (True, False), (False, False)])
def test_linear(context: ir.Context, kind: str, bias: bool, residual: bool) -> None:
    x, w = normal(2, 5, 7), normal(3, 7)
    b = normal(3) if bias else None
    r = normal(2, 5, 3, seed=1) if residual else None
    found = run("linear", [x, w, b, r], f'activation = "{kind}"', "tensor<2x5x3xf32>", segments=True)
    t = [None if a is None else torch.from_numpy(a).double() for a in (x, w, b, r)]
    expected = TORCH_ACTIVATIONS[kind](F.linear(*t[:3]))
    close(found, expected if t[3] is None else expected + t[3])


@pytest.mark.parametrize("kind", [k for k in TORCH_ACTIVATIONS if k != "none"])
def test_activation(context: ir.Context, kind: str) -> None:
    x = np.concatenate([normal(50), [-1e4, -90, -5, 0, 5, 90, 1e4]]).astype(np.float32)
    found = run("activation", [x], f'kind = "{kind}"', tensor_type(x))
    close(found, TORCH_ACTIVATIONS[kind](torch.from_numpy(x).double()).float())


@pytest.mark.parametrize("residual", [True, False])
def test_layer_norm(context: ir.Context, residual: bool) -> None:
    x, w, b = normal(2, 3, 8), normal(8, seed=1), normal(8, seed=2)
    r = normal(2, 3, 8, seed=3) if residual else None
    found = run("layer_norm", [x, w, b, r], "epsilon = 1.0e-5 : f64", tensor_type(x), segments=True)
    h = torch.from_numpy(x if r is None else x + r)
    close(found, F.layer_norm(h, [8], torch.from_numpy(w), torch.from_numpy(b), 1e-5), 1e-5)


def test_embedding_and_its_bounds(context: ir.Context) -> None:
    table, ids = normal(6, 4), np.array([[0, 5, 2]])
    found = run("embedding", [ids, table, None], "", "tensor<1x3x4xf32>", segments=True)
    close(found, torch.from_numpy(table)[torch.from_numpy(ids)])
    with pytest.raises(EvaluationError, match="indices from 0 to 5, found 6"):
        run("embedding", [ids + 1, table, None], "", "tensor<1x3x4xf32>", segments=True)


def test_add_does_not_round_integers(context: ir.Context) -> None:
    large = np.array([2**53 + 1])
    assert run("add", [large, large], "", "tensor<1xi64>").tolist() == [2**54 + 2]


def test_rounds_once_to_the_result_type(context: ir.Context) -> None:
    # In f16 the partial sum 2048 + 1 would round back to 2048, three times.
    x, w = np.array([[2048, 1, 1, 1]], np.float16), np.ones((1, 4), np.float16)
    found = run("linear", [x, w, None, None], "", "tensor<1x1xf16>", segments=True)
    assert found.dtype == np.float16
    assert found[0, 0] == np.float16(2051)


HEADS = 4


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    key_bias: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    kv_heads: int = HEADS,
    causal: bool = False,
    extra: str = "",
    result: np.ndarray | None = None,
) -> np.ndarray:
    attributes = (
        f"heads = {HEADS} : i64, kv_heads = {kv_heads} : i64, scale = 0.3 : f64, causal = {str(causal).lower()}{extra}"
    )
    kind = tensor_type(q if result is None else result)
    return run("attention", [q, k, v, key_bias, bias], attributes, kind, segments=True)


def torch_attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: torch.Tensor | None = None,
    kv_heads: int = HEADS,
    causal: bool = False,
) -> torch.Tensor:
    def split(x: np.ndarray, heads: int) -> torch.Tensor:
        t = torch.from_numpy(x).double()
        return t.view(*t.shape[:2], heads, -1).transpose(1, 2)

    y = F.scaled_dot_product_attention(
        split(q, HEADS),
        split(k, kv_heads),
        split(v, kv_heads),
        None if mask is None else mask.double(),
        is_causal=causal,
        scale=0.3,
        enable_gqa=True,
    )
    return y.transpose(1, 2).flatten(2)


@pytest.mark.parametrize("kv_heads", [1, 2, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_of_shared_heads(context: ir.Context, kv_heads: int, causal: bool) -> None:
    q, k, v = normal(2, 5, 12), normal(2, 7, 3 * kv_heads, seed=1), normal(2, 7, 2 * kv_heads, seed=2)
    found = attention(q, k, v, kv_heads=kv_heads, causal=causal, result=np.empty((2, 5, 8), np.float32))
    close(found, torch_attention(q, k, v, None, kv_heads, causal))


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("heads", [1, HEADS])
def test_attention_biases_broadcast(context: ir.Context, batch: int, heads: int) -> None:
    q, k, v = (normal(2, 5, 12, seed=s) for s in range(3))
    key_bias, bias = normal(2, 5), normal(batch, heads, 5, 5)
    key_bias[0, 3:] = -np.inf
    mask = torch.from_numpy(bias) + torch.from_numpy(key_bias)[:, None, None, :]
    close(attention(q, k, v, key_bias, bias), torch_attention(q, k, v, mask))


def test_attention_without_keys_gives_zeros(context: ir.Context) -> None:
    q, k, v = (normal(2, 3, 8, seed=s) for s in range(3))
    key_bias = np.zeros((2, 3), np.float32)
    key_bias[0] = -np.inf
    found = attention(q, k, v, key_bias)
    assert (found[0] == 0).all()
    close(found, torch_attention(q, k, v, torch.from_numpy(key_bias)[:, None, None, :]))


def test_attention_of_one_merged_tensor(context: ir.Context) -> None:
    merged = normal(1, 3, 24)
    extra = ", offsets = [0, 8, 16], depth = 2 : i64"
    found = attention(merged, merged, merged, extra=extra, result=np.empty((1, 3, 8), np.float32))
    close(found, torch_attention(merged[..., :8].copy(), merged[..., 8:16].copy(), merged[..., 16:].copy()))


def test_panels_there_and_back() -> None:
    x = normal(2, 5, 3)
    panels = to_panels(x, 4)
    assert panels.shape == (2, 2, 3, 4)
    assert panels[1, 1, 2, 0] == x[1, 4, 2]
    assert (panels[:, 1, :, 1:] == 0).all()
    np.testing.assert_array_equal(from_panels(panels, 5), x)


def test_panels_of_neighbouring_features(context: ir.Context) -> None:
    x = normal(2, 5, 8)
    panels = run("to_panels", [x], layout(4), "tensor<2x2x2x4x4xf32>")
    assert panels[1, 1, 1, 0, 3] == x[1, 4, 7]
    assert (panels[:, 1, :, 1:] == 0).all()
    np.testing.assert_array_equal(run("from_panels", [panels], layout(4), "tensor<2x5x8xf32>"), x)


def layout(inner: int) -> str:
    return f", layout = #sparsity.layout<{{panel = 4 : i64, inner = {inner} : i64}}>"


@pytest.mark.parametrize("inner", [1, 4, 8])
def test_attention_in_panels_is_attention(context: ir.Context, inner: int) -> None:
    q, k, v = (normal(2, 8, 8, seed=s) for s in range(3))
    key_bias, bias = normal(2, 8), normal(1, HEADS, 8, 8)
    expected = attention(q, k, v, key_bias, bias)
    panels = [to_panels(x, 4, inner) for x in (q, k, v)]
    found = attention(*panels, key_bias, np.ascontiguousarray(bias.swapaxes(2, 3)), extra=layout(inner))
    np.testing.assert_array_equal(from_panels(found), expected)


@pytest.mark.parametrize("inner", [1, 4, 8])
def test_layer_norm_in_panels_is_layer_norm(context: ir.Context, inner: int) -> None:
    x, w, b = normal(1, 8, 16), normal(16, seed=1), normal(16, seed=2)
    epsilon = "epsilon = 1.0e-5 : f64"
    expected = run("layer_norm", [x, w, b, None], epsilon, tensor_type(x), segments=True)
    panels = to_panels(x, 4, inner)
    found = run("layer_norm", [panels, w, b, None], epsilon + layout(inner), tensor_type(panels), segments=True)
    np.testing.assert_array_equal(from_panels(found), expected)


def test_operands_must_have_their_types(context: ir.Context) -> None:
    module = ir.Module.parse("""
      func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> {
        %r = "sparsity.add"(%a, %a) : (tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
        return %r : tensor<2xf32>
      }""")
    op = module.body.operations[0].regions[0].blocks[0].operations[0]
    with pytest.raises(EvaluationError, match="expected operand 1 to be float32"):
        evaluate(op, [np.zeros(2, np.float32), np.zeros(2)], WeightStore())
