"""Ops of decoders: the NumPy reference against PyTorch, and every lowering against the reference."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import SemanticsError, evaluate
from secateur.passes.base import PassContext

LOWERINGS = {
    "reference": "",
    "kernels": "sparsity-layout,convert-sparsity-to-kernels,convert-sparsity-to-linalg",
    "linalg": "convert-sparsity-to-linalg",
    "linalg-in-panels": "sparsity-layout,convert-sparsity-to-linalg",
}
TARGET = "sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>"
KINDS = {"float32": "f32", "float16": "f16", "int32": "i32"}
lowerings = pytest.mark.parametrize("lowering", LOWERINGS)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def run(name, operands, attributes, result, lowering, kernel=False):
    """One op on `operands`, after `lowering`."""
    types = [f"tensor<{''.join(f'{n}x' for n in o.shape)}{KINDS[o.dtype.name]}>" for o in operands]
    arguments = ", ".join(f"%a{i}: {kind}" for i, kind in enumerate(types))
    used = ", ".join(f"%a{i}" for i in range(len(operands)))
    kind = f"tensor<{'x'.join(map(str, result))}xf32>"
    text = f"""module attributes {{{TARGET}}} {{
      func.func @main({arguments}) -> {kind} {{
        %r = "sparsity.{name}"({used}) {{{attributes}}} : ({", ".join(types)}) -> {kind}
        return %r : {kind}
      }}
    }}"""
    context = PassContext()
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        if LOWERINGS[lowering]:
            run_pipeline(module, LOWERINGS[lowering], context)
            assert ("sparsity.dispatch" in str(module)) == (kernel and lowering == "kernels")
        return evaluate(module, list(operands), context.weights)[0]


def close(found, expected):
    np.testing.assert_allclose(found, expected.numpy(), rtol=2e-5, atol=2e-6)


@lowerings
@pytest.mark.parametrize("shape", [(1, 16, 8), (2, 33, 5), (7, 3), (1, 3, 2, 6)])
def test_rms_norm(lowering, shape):
    x, weight = 30 * normal(*shape), normal(shape[-1], seed=1)
    found = run("rms_norm", [x, weight], "epsilon = 1.0e-6 : f64", shape, lowering, kernel=len(shape) < 4)
    close(found, F.rms_norm(torch.tensor(x), shape[-1:], torch.tensor(weight), 1e-6))


@lowerings
@pytest.mark.parametrize("kind", ["silu", "gelu", "gelu_tanh", "relu", "tanh", "sigmoid"])
def test_gated(lowering, kind):
    gate, up = 3 * normal(2, 20, 7), normal(2, 20, 7, seed=1)
    active = {
        "silu": F.silu,
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "relu": F.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
    }[kind]
    found = run("gated", [gate, up], f'kind = "{kind}"', gate.shape, lowering, kernel=True)
    close(found, active(torch.tensor(gate)) * torch.tensor(up))


@lowerings
@pytest.mark.parametrize(("heads", "depth", "turned", "sequences"), [(3, 8, 8, 2), (2, 6, 4, 1), (1, 10, 2, 2)])
def test_rotary(lowering, heads, depth, turned, sequences):
    x, angles = normal(2, 5, heads * depth), normal(sequences, 5, turned, seed=2)
    cos, sin = np.cos(angles), np.sin(angles)
    found = run("rotary", [x, cos, sin], f"heads = {heads} : i64", x.shape, lowering)
    split = torch.tensor(x).unflatten(2, (heads, depth))
    first, rest = split[..., :turned], split[..., turned:]
    low, high = first.chunk(2, -1)
    c, s = (torch.tensor(a)[:, :, None] for a in (cos, sin))
    close(found, torch.cat([first * c + torch.cat([-high, low], -1) * s, rest], -1).flatten(2))


def attention(
    tokens,
    lengths,
    lowering,
    heads=4,
    kv_heads=2,
    causal=True,
    window=None,
    bias=None,
    dtype=np.float32,
    depths=(16, 8),
):
    """Attention on a cache of 40 rows beside PyTorch's, sequence by sequence, on the rows that count alone."""
    (depth, out_depth), batch = depths, len(lengths)
    query = normal(batch, tokens, heads * depth)
    keys, values = (normal(batch, 40, kv_heads * d, seed=d).astype(dtype) for d in (depth, out_depth))
    for sequence, length in enumerate(lengths):
        # What no query may see is no number.
        keys[sequence, length:] = values[sequence, length:] = np.nan
    operands = [query, keys, values, np.array(lengths, np.int32)]
    given = [normal(*bias, tokens, 40, seed=9)] if bias else []
    attributes = (
        f"heads = {heads} : i64, kv_heads = {kv_heads} : i64, scale = 0.4 : f64, causal = {str(causal).lower()}"
    )
    attributes += f", window = {window} : i64" if window else ""
    attributes += f", operandSegmentSizes = array<i32: 1, 1, 1, 1, {len(given)}>"
    result = [batch, tokens, heads * out_depth]
    found = run("cached_attention", [*operands, *given], attributes, result, lowering, kernel=not (bias or depth % 8))
    for sequence, length in enumerate(lengths):
        q, k, v = (
            torch.tensor(x[sequence, :length].astype(np.float32)).unflatten(1, (count, -1)).transpose(0, 1)
            for x, count in ((query, heads), (keys, kv_heads), (values, kv_heads))
        )
        k, v = (x.repeat_interleave(heads // kv_heads, 0) for x in (k, v))
        own, rows = torch.arange(length - tokens, length)[:, None], torch.arange(length)
        seen = (rows <= own) if causal else torch.ones(tokens, length, dtype=torch.bool)
        seen = seen & (rows > own - window) if window else seen
        mask = torch.where(seen, 0.0, -torch.inf)[None]
        if given:
            mask = mask + torch.tensor(given[0][sequence % given[0].shape[0], :, :, :length])
        expected = F.scaled_dot_product_attention(q, k, v, mask.expand(heads, -1, -1), scale=0.4)
        close(found[sequence], expected.transpose(0, 1).flatten(1))


@lowerings
@pytest.mark.parametrize(
    ("tokens", "lengths", "options"),
    [
        (1, [1], {}),
        (1, [40, 17], {}),
        (5, [5, 33], {}),
        (3, [20, 9], {"window": 4}),
        (3, [20], {"window": 1, "kv_heads": 4}),
        (2, [7, 25], {"causal": False, "kv_heads": 1}),
        (4, [30], {"bias": [1, 4]}),
        (4, [30, 12], {"bias": [2, 1], "window": 6}),
        (2, [11, 40], {"dtype": np.float16}),
        (2, [11], {"depths": (6, 4)}),
        (3, [40, 23], {"window": 20}),
    ],
)
def test_cached_attention(lowering, tokens, lengths, options):
    attention(tokens, lengths, lowering, **options)


@pytest.mark.parametrize("length", [1, 41])
def test_a_length_that_cannot_be_is_no_result(length):
    with pytest.raises(SemanticsError, match=f"has a length of {length}; accepted are 2 to 40"):
        attention(2, [length], "reference")
