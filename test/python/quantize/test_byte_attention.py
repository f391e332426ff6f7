"""Attention on bytes: kernels on every instruction, the portable lowering and the reference, beside PyTorch."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.passes.base import PassContext, walk
from secateur.runtime_targets import get_target, iree

from .test_bytes import DOTS, runs_here

KERNELS = ",convert-sparsity-to-kernels,convert-sparsity-to-linalg"
LOWERINGS = {"reference": "", "kernels": KERNELS, "linalg": ",convert-sparsity-to-linalg"}
UNSIGNED, SIGNED = DOTS[0], DOTS[4]


class Case:
    """Inputs of an attention; `merged`: query, key and value are one tensor, with a feature between them."""

    def __init__(
        self, tokens, heads=2, sharing=1, depth=8, batch=1, keys=None, masks="", merged=False, seed=0, value_depth=None
    ):
        rng = np.random.default_rng(seed)
        self.heads, self.sharing, self.depth, self.masks, self.merged = heads, sharing, depth, masks, merged
        self.scale, keys = depth**-0.5, keys or tokens
        self.value_depth = value_depth or depth
        shapes = [(tokens, heads, depth), *((keys, heads // sharing, d) for d in (depth, self.value_depth))]
        self.qkv = [
            (rng.standard_normal((batch, n, h, d)) * 10.0 ** rng.uniform(-0.5, 0.5, (1, n, 1, 1))).astype("f4")
            for n, h, d in shapes
        ]
        self.key_bias = np.where(rng.random((batch, keys)) < 0.2, -np.inf, rng.standard_normal((batch, keys)))
        self.key_bias = self.key_bias.astype("f4")
        # Of each sequence its own, or one for all.
        self.bias = rng.standard_normal((batch if seed % 2 else 1, heads, tokens, keys)).astype("f4")

    def inputs(self) -> list[np.ndarray]:
        flat = [np.ascontiguousarray(x.reshape(*x.shape[:2], -1)) for x in self.qkv]
        if self.merged:
            flat = [np.concatenate([np.pad(x, [(0, 0), (0, 0), (1, 0)], constant_values=99.0) for x in flat], axis=2)]
        extra = [x for name, x in (("k", self.key_bias), ("b", self.bias)) if name in self.masks]
        return [*flat, *extra]

    def text(self, dot: str, vector_bytes: int, registers: int) -> str:
        types = [f"tensor<{'x'.join(map(str, x.shape))}xf32>" for x in self.inputs()]
        names = [f"%a{i}" for i in range(len(types))]
        arguments = ", ".join(f"{n}: {t}" for n, t in zip(names, types, strict=True))
        more = ""
        if self.merged:
            ends = np.cumsum([x.shape[2] * x.shape[3] + 1 for x in self.qkv])
            more = f"offsets = [1, {ends[0] + 1}, {ends[1] + 1}], depth = {self.depth} : i64,"
            names, types = [names[0]] * 2 + names, [types[0]] * 2 + types
        segments = [1, 1, 1, int("k" in self.masks), int("b" in self.masks)]
        query = self.qkv[0].shape
        result = f"tensor<{query[0]}x{query[1]}x{self.heads * self.value_depth}xf32>"
        given = f', dot = "{dot}"' if dot else ""
        return f"""
        module attributes {{sparsity.target = #sparsity.target<{{vector_bytes = {vector_bytes} : i64,
                            registers = {registers} : i64{given}}}>}} {{
          func.func @main({arguments}) -> {result} {{
            %y = "sparsity.attention"({", ".join(names)}) {{heads = {self.heads} : i64, {more}
              kv_heads = {self.heads // self.sharing} : i64, scale = {self.scale} : f64,
              causal = {str("c" in self.masks).lower()}, operandSegmentSizes = array<i32: {str(segments)[1:-1]}>,
              sparsity.numbers = #sparsity.numbers<{{weights = "int8", arithmetic = "int8"}}>}}
              : ({", ".join(types)}) -> {result}
            return %y : {result}
          }}
        }}"""

    def lowered(self, more: str, dot: tuple[str, int, int]):
        context, module = PassContext(), ir.Module.parse(self.text(*dot))
        run_pipeline(module, "sparsity-layout,sparsity-quantize-attention" + more, context)
        return module, context

    def run(self, more: str, dot: tuple[str, int, int]) -> np.ndarray:
        with make_context(), ir.Location.unknown():
            module, context = self.lowered(more, dot)
            assert len(walk(module, "sparsity.dispatch")) == (more == KERNELS) * (1 + runnable(dot))
            assert context.statistics["attentions"] == 1
            (found,) = evaluate(module, self.inputs(), context.weights)
        return found

    def exact(self) -> np.ndarray:
        """PyTorch's attention in float64; zeros for a query that sees no key."""
        import torch

        q, k, v = (torch.from_numpy(x.astype(np.float64)).transpose(1, 2) for x in self.qkv)
        k, v = (x.repeat_interleave(self.sharing, dim=1) for x in (k, v))
        mask = torch.zeros(1, 1, q.shape[2], k.shape[2], dtype=torch.float64)
        if "k" in self.masks:
            mask = mask + torch.from_numpy(self.key_bias.astype(np.float64))[:, None, None]
        if "b" in self.masks:
            mask = mask + torch.from_numpy(self.bias.astype(np.float64))
        if "c" in self.masks:
            mask = mask + torch.full(mask.shape[-2:], -torch.inf, dtype=torch.float64).triu(1)
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=self.scale)
        y = torch.where(torch.isneginf(mask).all(-1, keepdim=True), 0.0, y)
        return y.transpose(1, 2).flatten(2).numpy()

    def largest(self) -> float:
        return float(np.abs(self.qkv[2]).max())


def runnable(dot: tuple[str, int, int]) -> bool:
    """Whether attention has a kernel, as rounding keys and values always has.

    An instruction that takes unsigned bytes exists for some lengths of vectors only.
    """
    return dot != ("vpdpbusd", 8, 16)


def units(dot: tuple[str, int, int]) -> float:
    """One over the largest weight."""
    return 1 / (254 if dot[0] == "vpdpbusd" else 126)


@pytest.mark.parametrize("lowering", LOWERINGS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([dot for dot in DOTS if dot[0]]),
    st.sampled_from([(1, 1), (2, 1), (4, 2), (3, 3), (12, 1)]),
    st.sampled_from([4, 8, 20, 64]),
    st.sampled_from([(3, None), (16, None), (40, None), (17, 30), (130, None)]),
    st.sampled_from(["", "k", "b", "c", "kc", "kbc"]),
    st.booleans(),
    st.integers(1, 2),
    st.sampled_from([None, 3, 10]),
    st.integers(0, 99),
)
def test_attention_is_near_pytorch(lowering, dot, heads, depth, lengths, masks, merged, batch, value_depth, seed):
    tokens, keys = lengths
    case = Case(tokens, *heads, depth, batch, keys, masks, merged and keys is None, seed, value_depth)
    found, expected = case.run(LOWERINGS[lowering], dot), case.exact()
    # The parts: a byte of each of q, k and v, and the roundings of weights, whose errors mostly cancel.
    assert np.abs(found - expected).max() <= (0.04 + 4 * units(dot)) * case.largest()
    assert np.linalg.norm(found - expected) <= 0.06 * np.linalg.norm(expected) + 1e-6


@pytest.mark.parametrize("lowering", ["kernels", "linalg"])
@pytest.mark.parametrize("dot", [dot for dot in DOTS if dot[0]], ids=str)
@pytest.mark.parametrize(("masks", "tokens"), [("", 70), ("kbc", 70), ("k", 250)])
def test_lowerings_compute_the_reference(lowering, dot, masks, tokens):
    if tokens > 128 and (lowering == "linalg" or not runnable(dot)):
        pytest.skip("plain linalg has no blocks of keys")
    case = Case(tokens, 4, 2, 16, 2, masks=masks, seed=1)
    found, expected = case.run(LOWERINGS[lowering], dot), case.run("", dot)
    apart = np.abs(found - expected) / case.largest()
    # A sum that is rounded the other way moves one unit from a key to the next: some queries may have that.
    assert apart.max() <= 4 * units(dot)
    assert (apart.max(axis=-1) < 1e-5).mean() > 0.5


@pytest.mark.parametrize("dot", [dot for dot in DOTS if dot[0] and runnable(dot)], ids=str)
def test_a_query_that_sees_one_key_gets_the_bytes_of_its_value(dot):
    # Far apart scores: sums of the largest products, and every key and feature in its place.
    case = Case(130, 2, 1, 64)
    rng = np.random.default_rng(1)
    case.qkv[1] = np.where(rng.random((1, 130, 2, 64)) < 0.5, -1.0, 1.0).astype("f4") * np.float32(50.0)
    case.qkv[0] = case.qkv[1][:, rng.permutation(130)].copy()
    found, expected = case.run(KERNELS, dot), case.exact()
    v = case.qkv[2]
    step = np.abs(v).max(axis=-1).max() / 127
    np.testing.assert_allclose(found, expected, atol=0.51 * step)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("dot", [UNSIGNED, SIGNED], ids=str)
@pytest.mark.parametrize("tail", [2e-4, 1e-3, 4e-3])
def test_a_long_tail_of_small_weights_keeps_its_mass(lowering, dot, tail):
    # Rounded one by one, weights below half a unit vanish: a third of the result here.
    case = Case(128 if lowering == "linalg" else 500, 1, 1, 16, masks="k")
    case.qkv[1] *= 1e-6
    case.qkv[2] += 2.0
    case.key_bias[:] = np.log(tail)
    case.key_bias[0, 7] = 0.0
    found, expected = case.run(LOWERINGS[lowering], dot), case.exact()
    assert np.linalg.norm(found - expected) <= 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("dot", [UNSIGNED, SIGNED], ids=str)
def test_a_large_value_that_no_query_looks_at_costs_no_bits(lowering, dot):
    case = Case(64, 1, 1, 32, masks="k")
    case.key_bias[:] = 0.0
    case.key_bias[0, 3] = -25.0
    case.qkv[2][:, 3] *= 1000.0
    found, expected = case.run(LOWERINGS[lowering], dot), case.exact()
    assert np.linalg.norm(found - expected) <= 0.05 * np.linalg.norm(expected)


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("dot", [UNSIGNED, SIGNED], ids=str)
def test_masked_queries_and_values_of_zeros(lowering, dot):
    case = Case(40, 2, masks="kb")
    case.key_bias[:] = 0.0
    case.bias[:, 1, 5] = -np.inf
    case.qkv[2][:, :, 1] = 0.0
    case.qkv[2][:, 9] = 0.0
    found, expected = case.run(LOWERINGS[lowering], dot), case.exact()
    assert not found[0, :, 8:].any() and not found[0, 5, 8:].any()
    assert np.abs(found - expected).max() <= 0.06 * case.largest()


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_no_number_is_never_silent(lowering, which, value):
    case = Case(24, 2)
    case.qkv[which][0, 3, 1, 2] = value
    found = case.run(LOWERINGS[lowering], UNSIGNED).reshape(24, 2, 8)
    assert np.isnan(found[3, 1] if which == 0 else found[:, 1]).all()
    assert np.isfinite(found[:, 0]).all() and (which > 0 or np.isfinite(np.delete(found, 3, axis=0)).all())


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("factors", [(1e18, 1e-18, 1e30), (1e-20, 1e20, 1e-30), (1.0, 1e-40, 1e-35)], ids=str)
def test_very_large_and_very_small_numbers(lowering, factors):
    case = Case(24, 2)
    case.qkv = [(x * np.float64(f)).astype("f4") for x, f in zip(case.qkv, factors, strict=True)]
    found = case.run(LOWERINGS[lowering], UNSIGNED)
    assert np.abs(found - case.exact()).max() <= 0.06 * case.largest()


@pytest.mark.parametrize("dot", [dot for dot in DOTS if dot[0] and runnable(dot)], ids=str)
@pytest.mark.parametrize(("tokens", "masks"), [(40, "k"), (512, "c")])
def test_through_iree(tmp_path, dot, tokens, masks):
    if not runs_here(*dot[:2]):
        pytest.skip(f"this CPU has no {dot[0]} on {dot[1]} bytes")
    case = Case(tokens, 2, 1, 32, masks=masks)
    with make_context(), ir.Location.unknown():
        module, context = case.lowered(f"{KERNELS},canonicalize,cse", dot)
        assert len({str(op.attributes["intrin"]) for op in walk(module, "llvm.call_intrinsic")}) == 1
        assembly = iree.assemble(module, context.weights)
    code = iree.compile_assembly(assembly, get_target("host-cpu", workers=1))
    iree.write_parameters(tmp_path / "weights.irpa", assembly.parameters)
    (found,) = iree.Session(code, tmp_path / "weights.irpa").run(case.inputs())
    expected = case.exact()
    assert np.linalg.norm(found - expected) <= 0.06 * np.linalg.norm(expected)


def test_what_no_instruction_takes_stays_in_f32():
    for case, dot in ((Case(16, depth=6), UNSIGNED), (Case(16, depth=260), UNSIGNED), (Case(16), ("", 16, 32))):
        with make_context(), ir.Location.unknown():
            module, context = case.lowered("", dot)
            assert walk(module, "sparsity.attention") and not walk(module, "sparsity.quantized_attention")
            assert "sparsity.numbers" not in str(module)
        assert context.statistics["left-in-f32"] == 1
