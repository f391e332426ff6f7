"""Rewrites from mathematical properties: what each does, when it must not, and that none changes a result."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.dialects import schemes
from secateur.dialects.sparsity.attributes import ENCODINGS
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext, walk
from secateur.passes.structural.fusion import KINDS

X = "tensor<1x3x4xf32>"
MAPS = {"features": "affine_map<(d0, d1, d2) -> (d2)>", "tokens": "affine_map<(d0, d1, d2) -> (0, d1, d2)>"}
SHAPES = {"features": "tensor<4xf32>", "tokens": "tensor<1x3x4xf32>"}
SAME = "affine_map<(d0, d1, d2) -> (d0, d1, d2)>"


class Builder:
    """The text of a module, op by op. Every method returns the name of its result."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.weights = WeightStore()
        self.random = np.random.default_rng(7)

    def _add(self, text: str) -> str:
        name = f"%v{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return name

    def weight(self, name: str, *shape: int, zeros: float = 0.0) -> str:
        """A symbol of the store; the same name is the same array."""
        if name not in self.weights:
            array = self.random.standard_normal(shape) * (self.random.random(shape) >= zeros)
            self.weights[name] = array.astype(np.float32)
        kind = "x".join(map(str, self.weights[name].shape))
        return self._add(f'"sparsity.weight"() {{source = "{name}"}} : () -> tensor<{kind}xf32>')

    def linear(self, x: str, weight: str, bias: str = "", kind: str = X) -> str:
        """A linear of 4 columns whose weight has 4 rows; `weight` and `bias` are symbols."""
        w = self.weight(weight, 4, 4)
        operands, types = [x, w], [kind, "tensor<4x4xf32>"]
        if bias:
            operands, types = [*operands, self.weight(bias, 4)], [*types, "tensor<4xf32>"]
        return self.op("linear", operands, types, f"operandSegmentSizes = array<i32: 1, 1, {int(bool(bias))}, 0>")

    def op(self, name: str, operands: list[str], types: list[str], attributes: str = "", result: str = X) -> str:
        return self._add(
            f'"sparsity.{name}"({", ".join(operands)}) {{{attributes}}} : ({", ".join(types)}) -> {result}'
        )

    def add(self, a: str, b: str) -> str:
        return self.op("add", [a, b], [X, X])

    def constant(self, x: str, op: str, what: str, seed: float = 0.5) -> str:
        """`x op constant` as a linalg.generic; `what` is `scalar`, `features` or `tokens`."""
        empty = self._add(f"tensor.empty() : {X}")
        loops = 'iterator_types = ["parallel", "parallel", "parallel"]'
        if what == "scalar":
            number = self._add(f"arith.constant {seed} : f32")
            maps, ins, types, arguments, other = f"{SAME}, {SAME}", x, X, "%a: f32, %o: f32", number
        else:
            number = self.weight(f"{what}{seed}", *([4] if what == "features" else [1, 3, 4]))
            maps, ins, types = f"{SAME}, {MAPS[what]}, {SAME}", f"{x}, {number}", f"{X}, {SHAPES[what]}"
            arguments, other = "%a: f32, %b: f32, %o: f32", "%b"
        return self._add(
            f"linalg.generic {{indexing_maps = [{maps}], {loops}}} ins({ins} : {types}) outs({empty} : {X}) {{\n"
            f"^bb0({arguments}):\n %s = arith.{op} %a, {other} : f32\n linalg.yield %s : f32\n}} -> {X}"
        )

    def norm(self, x: str) -> str:
        operands = [x, self.weight("gamma", 4), self.weight("beta", 4)]
        return self.op(
            "layer_norm",
            operands,
            [X, "tensor<4xf32>", "tensor<4xf32>"],
            "epsilon = 1.0e-2 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>",
        )

    def attention(self, q: str, k: str, v: str) -> str:
        sizes = "operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>"
        attributes = f"heads = 2 : i64, kv_heads = 2 : i64, scale = 0.7 : f64, causal = false, {sizes}"
        return self.op("attention", [q, k, v], [X, X, X], attributes)

    def run(self, *results: str, pipeline: str = "sparsity-detect,sparsity-fuse") -> tuple[ir.Module, dict[str, float]]:
        """Fuses, checks that the results stay the same, and returns the module and what was counted."""
        types = ", ".join([X] * len(results))
        text = "\n".join(
            [
                f"func.func @main(%x: {X}, %y: {X}) -> ({types}) {{",
                *self.lines,
                f"return {', '.join(results)} : {types}",
                "}",
            ]
        )
        context = PassContext(self.weights)
        module = ir.Module.parse(text, make_context())
        inputs = [np.random.default_rng(n).standard_normal((1, 3, 4)).astype(np.float32) for n in range(2)]
        expected = evaluate(module, inputs, self.weights)
        counts = run_pipeline(module, pipeline, context).statistics()
        for found, wanted in zip(evaluate(module, inputs, self.weights), expected, strict=True):
            scale = max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6 * scale)
        return module, counts


def ops(module: ir.Module) -> list[str]:
    """Names of the ops that compute."""
    quiet = ("builtin.module", "func.func", "func.return", "tensor.empty", "arith.constant", "sparsity.weight")
    names = [op.operation.name for op in walk(module) if op.operation.parent and op.operation.name not in quiet]
    return [name.removeprefix("sparsity.") for name in names if not name.startswith(("arith.", "linalg.yield"))]


@pytest.mark.parametrize("op", ["mulf", "divf", "addf", "subf"])
@pytest.mark.parametrize("what", ["scalar", "features"])
@pytest.mark.parametrize("bias", ["", "b"])
@pytest.mark.parametrize("before", [False, True])
def test_a_constant_beside_a_linear_disappears(op, what, bias, before):
    b = Builder()
    result = (
        b.linear(b.constant("%x", op, what), "w", bias) if before else b.constant(b.linear("%x", "w", bias), op, what)
    )
    module, counts = b.run(result)
    assert ops(module) == ["linear"]
    assert counts["constants-folded"] == 1


def test_a_scale_by_a_power_of_two_is_exact():
    b = Builder()
    b.run(b.constant(b.linear("%x", "w", "b"), "mulf", "scalar", 0.125))
    names = [name for name in b.weights if name not in ("w", "b")]
    for scaled, old in zip(names, ("w", "b"), strict=True):
        np.testing.assert_array_equal(b.weights[scaled], b.weights[old] * np.float32(0.125))


def test_what_must_stay_between_a_linear_and_a_constant():
    b = Builder()
    shared = b.linear("%x", "w")
    assert "linalg.generic" in ops(b.run(b.constant(shared, "mulf", "scalar"), shared)[0]), "two readers"
    b = Builder()
    active = b.op("activation", [b.linear("%x", "w")], [X], 'kind = "gelu"')
    assert "linalg.generic" in ops(b.run(b.constant(active, "mulf", "scalar"))[0]), "an activation between"
    b = Builder()
    assert "linalg.generic" in ops(b.run(b.constant(b.linear("%x", "w"), "mulf", "tokens"))[0]), "differs by token"


@pytest.mark.parametrize(("weight", "size", "scale"), [(3e38, 1e-38, 10.0), (1e-37, 1e10, 0.0001)])
def test_a_constant_stays_where_the_folded_weight_would_lose_digits(weight, size, scale):
    b = Builder()
    b.weights["w"], b.weights["tokens0.5"] = np.full((4, 4), weight, "f4"), np.full((1, 3, 4), size, "f4")
    small = b.constant("%x", "mulf", "tokens")
    assert ops(b.run(b.linear(b.constant(small, "mulf", "scalar", scale), "w"))[0]).count("linalg.generic") == 2


def test_zeros_stay_zeros_under_a_scale_and_keep_their_encoding():
    b = Builder()
    b.weights["w"] = np.array([[1, 0, 2, 0]] * 4, np.float32)
    module, _ = b.run(b.constant(b.linear("%x", "w"), "mulf", "features"))
    weight = walk(module, "sparsity.linear")[0].weight.owner
    encoding = schemes.detect(b.weights["w"])
    with module.context:
        assert weight.attributes["sparsity.encoding"] == ENCODINGS[encoding.scheme].of(**encoding.parameters())
    assert (b.weights[weight.attributes["source"].value][:, [1, 3]] == 0).all()


def test_a_scaled_query_or_key_goes_into_the_scores():
    b = Builder()
    q, k = b.constant("%x", "mulf", "scalar", 3.0), b.constant("%y", "divf", "scalar", 2.0)
    module, counts = b.run(b.attention(q, k, b.norm("%x")))
    assert counts["attention-scales-folded"] == 2
    assert walk(module, "sparsity.attention")[0].scale.value == pytest.approx(0.7 * 3.0 / 2.0)
    b = Builder()
    q = b.constant("%x", "mulf", "features")
    assert b.run(b.attention(q, "%y", b.norm("%x")))[1]["attention-scales-folded"] == 0
    b = Builder()
    v = b.constant("%x", "mulf", "scalar", 3.0)
    assert b.run(b.attention("%x", "%y", v))[1]["attention-scales-folded"] == 0


def test_identities_go():
    b = Builder()
    x = b.constant(b.constant("%x", "mulf", "scalar", 1.0), "addf", "scalar", 0.0)
    module, counts = b.run(b.norm(x))
    assert ops(module) == ["layer_norm"]
    assert counts["identities-removed"] == 2


def test_constants_of_a_sum_become_one():
    b = Builder()
    total = b.constant(b.add(b.norm("%x"), b.weight("full", 1, 3, 4)), "addf", "features")
    total = b.constant(total, "subf", "tokens", 0.25)
    module, counts = b.run(total, pipeline="sparsity-detect,sparsity-fuse")
    assert counts["additions-removed"] == 2
    assert ops(module) == ["layer_norm", "add"]


def test_a_constant_at_the_end_of_a_sum_finds_the_bias():
    b = Builder()
    total = b.constant(b.add(b.linear("%x", "w", "b"), "%y"), "addf", "features")
    module, counts = b.run(total)
    assert counts["additions-removed"] == 1
    assert ops(module) == ["linear"]


@pytest.mark.parametrize("epilogue", ["activation", "residual"])
def test_a_constant_behind_an_epilogue_is_no_bias(epilogue):
    b = Builder()
    w = b.weight("w", 4, 4)
    operands, types = ["%x", w], [X, "tensor<4x4xf32>"]
    if epilogue == "residual":
        fused = b.op("linear", [*operands, "%x"], [*types, X], "operandSegmentSizes = array<i32: 1, 1, 0, 1>")
        fused = b.op("activation", [fused], [X], 'kind = "relu"')
    else:
        sizes = "operandSegmentSizes = array<i32: 1, 1, 0, 0>"
        fused = b.op("linear", operands, types, f'activation = "gelu", {sizes}')
    module, counts = b.run(b.constant(b.add(fused, "%y"), "addf", "features"))
    assert counts["additions-removed"] == 0
    assert walk(module, "sparsity.linear")[0].bias is None


def test_every_linear_of_a_sum_meets_a_residual():
    b = Builder()
    branches = b.add(b.linear("%x", "w", "b"), b.op("activation", [b.linear("%x", "u")], [X], 'kind = "relu"'))
    module, counts = b.run(b.add(branches, "%y"))
    assert counts["additions-removed"] == 1
    assert counts["residuals-fused"] == 2
    assert ops(module) == ["linear", "linear"]


def test_a_sum_that_gains_nothing_keeps_its_order():
    b = Builder()
    total = b.add(b.add("%x", b.norm("%y")), b.norm("%x"))
    before = len(b.lines)
    module, counts = b.run(total)
    assert counts["additions-removed"] == 0
    assert len(b.lines) == before
    assert ops(module).count("add") == 2


def test_a_common_constant_factor_of_two_terms_is_applied_once():
    b = Builder()
    b.constant("%x", "mulf", "tokens")
    total = b.add(b.constant(b.norm("%x"), "mulf", "features"), b.constant(b.norm("%y"), "mulf", "features"))
    module, counts = b.run(total)
    assert counts["scales-factored"] == 1
    assert ops(module) == ["linalg.generic", "layer_norm", "layer_norm", "add", "linalg.generic"]
    b = Builder()
    total = b.add(b.constant(b.norm("%x"), "mulf", "features"), b.constant(b.norm("%y"), "mulf", "features", 0.25))
    assert b.run(total)[1]["scales-factored"] == 0


def test_linears_with_one_input_or_one_weight_become_one():
    b = Builder()
    module, counts = b.run(b.add(b.linear("%x", "w", "b"), b.linear("%x", "u")))
    assert (counts["linears-factored"], ops(module)) == (1, ["linear"])
    b = Builder()
    w = b.weight("w", 4, 4)
    types = [X, "tensor<4x4xf32>"]
    first, second = (
        b.op("linear", [x, w], types, "operandSegmentSizes = array<i32: 1, 1, 0, 0>") for x in ("%x", "%y")
    )
    module, counts = b.run(b.add(first, second))
    assert (counts["linears-factored"], ops(module)) == (1, ["add", "linear"])


def test_linears_with_disjoint_zeros_stay_two():
    b = Builder()
    eye = np.eye(4, dtype=np.float32)
    b.weights["w"], b.weights["u"] = eye, np.roll(eye, 1, axis=1)
    module, counts = b.run(b.add(b.linear("%x", "w"), b.linear("%x", "u")))
    assert counts["linears-factored"] == 0
    assert ops(module) == ["linear", "linear"]


def chain(first: np.ndarray, second: np.ndarray, active: bool = False) -> tuple[ir.Module, dict[str, float]]:
    b = Builder()
    b.weights["w"], b.weights["u"] = first.astype(np.float32), second.astype(np.float32)
    inner, middle = b.weight("w", 4, 4), f"tensor<1x3x{len(first)}xf32>"
    shape = f"tensor<{len(first)}x4xf32>"
    sizes = "operandSegmentSizes = array<i32: 1, 1, 1, 0>"
    bias = b.weight("c", len(first))
    x = b.op("linear", ["%x", inner, bias], [X, shape, f"tensor<{len(first)}xf32>"], sizes, middle)
    if active:
        x = b.op("activation", [x], [middle], 'kind = "relu"', middle)
    outer, last = b.weight("u", 4, 4), b.weight("d", 4)
    types = [middle, f"tensor<4x{len(first)}xf32>", "tensor<4xf32>"]
    return b.run(b.op("linear", [x, outer, last], types, sizes))


def test_a_chain_of_linears_collapses_only_where_it_multiplies_less():
    random = np.random.default_rng(0)
    wide, narrow = random.standard_normal((8, 4)), random.standard_normal((1, 4))
    module, counts = chain(wide, wide.T)
    assert (counts["linears-collapsed"], ops(module)) == (1, ["linear"])
    assert chain(narrow, narrow.T)[1]["linears-collapsed"] == 0, "a bottleneck is cheaper than the product"
    assert chain(wide, wide.T, active=True)[1]["linears-collapsed"] == 0, "not linear"
    # One weight in each row: the product of two such has up to four, fewer than the eight that both keep; made
    # dense by a first layer without zeros it would have sixteen, and stays apart.
    sparse = np.zeros((4, 4))
    sparse[:, 0] = 1
    assert chain(sparse, np.eye(4))[1]["linears-collapsed"] == 1
    assert chain(np.ones((4, 4))[:1], sparse[:, :1])[1]["linears-collapsed"] == 0, "would be dense"


def test_a_scale_behind_an_embedding_goes_into_a_table_that_nothing_else_reads():
    sizes = "operandSegmentSizes = array<i32: 1, 1, 0>"
    for tied in (False, True):
        b = Builder()
        table = b.weight("table", 5, 4)
        ids = b._add("arith.constant dense<[[4, 0, 2]]> : tensor<1x3xi64>")
        x = b.op("embedding", [ids, table], ["tensor<1x3xi64>", "tensor<5x4xf32>"], sizes)
        y = b.constant(x, "mulf", "scalar", 2.0)
        if tied:
            y = b.add(y, b.op("embedding", [ids, table], ["tensor<1x3xi64>", "tensor<5x4xf32>"], sizes))
        assert b.run(y)[1]["table-scales-folded"] == (0 if tied else 1)


@st.composite
def programs(draw):
    """A random module: ops on earlier values, weights shared now and then; two of its values are results."""
    b, values = Builder(), ["%x", "%y"]

    def value() -> str:
        # Recent values more often, so that chains grow.
        return values[draw(st.integers(max(0, len(values) - 4), len(values) - 1))]

    for _ in range(draw(st.integers(2, 9))):
        kind = draw(
            st.sampled_from(
                ["linear", "linear", "add", "add", "constant", "constant", "activation", "norm", "attention"]
            )
        )
        if kind == "linear":
            made = b.linear(value(), draw(st.sampled_from("wu")), draw(st.sampled_from(["", "b"])))
        elif kind == "add":
            made = b.add(value(), value())
        elif kind == "constant":
            what = draw(st.sampled_from(["scalar", "features", "tokens"]))
            made = b.constant(value(), draw(st.sampled_from(["addf", "mulf", "subf", "divf"])), what, 0.75)
        elif kind == "activation":
            made = b.op("activation", [value()], [X], 'kind = "gelu"')
        elif kind == "norm":
            made = b.norm(value())
        else:
            made = b.attention(value(), value(), value())
        values.append(made)
    plan = {k: draw(st.sampled_from(KINDS[k].variants)) for k in KINDS}
    return b, [values[-1], values[draw(st.integers(0, len(values) - 1))]], plan


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(programs())
def test_any_module_keeps_its_results_under_any_plan(program):
    builder, results, plan = program
    text = ",".join(f"{kind}={variant}" for kind, variant in plan.items())
    module, _ = builder.run(*results, pipeline=f"sparsity-detect,sparsity-fuse{{plan={text}}}")
    assert module.operation.verify()
