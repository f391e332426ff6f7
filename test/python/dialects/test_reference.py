"""The NumPy reference of the structural ops against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_mlir import ir

from secateur.dialects.sparsity.reference import EvaluationError, evaluate, from_panels, to_panels
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
    close(run("embedding", [ids, table], "", "tensor<1x3x4xf32>"), torch.from_numpy(table)[torch.from_numpy(ids)])
    with pytest.raises(EvaluationError, match="indices from 0 to 5, found 6"):
        run("embedding", [ids + 1, table], "", "tensor<1x3x4xf32>")


def test_add_does_not_round_integers(context: ir.Context) -> None:
    large = np.array([2**53 + 1])
    assert run("add", [large, large], "", "tensor<1xi64>").tolist() == [2**54 + 2]


def test_rounds_once_to_the_result_type(context: ir.Context) -> None:
    # In f16 the partial sum 2048 + 1 would round back to 2048, three times.
    x, w = np.array([[2048, 1, 1, 1]], np.float16), np.ones((1, 4), np.float16)
    found = run("linear", [x, w, None, None], "", "tensor<1x1xf16>", segments=True)
    assert found.dtype == np.float16
    assert found[0, 0] == np.float16(2051)


def attention(
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    key_bias: np.ndarray | None,
    bias: np.ndarray | None,
    kv_heads: int = 4,
    causal: bool = False,
    extra: str = "",
) -> np.ndarray:
    attributes = f"heads = 4, kv_heads = {kv_heads}, scale = 0.3 : f64, causal = {str(causal).lower()}{extra}"
    attributes = attributes.replace("heads = 4", "heads = 4 : i64").replace("i64: i64", "i64")
    attributes = attributes.replace(f"kv_heads = {kv_heads},", f"kv_heads = {kv_heads} : i64,")
    result = tensor_type(q if v.shape[-1] == k.shape[-1] else np.empty((*q.shape[:2], v.shape[2] * 4 // kv_heads), q.dtype))
    return run("attention", [q, k, v, key_bias, bias], attributes, result, segments=True)
