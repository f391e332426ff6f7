"""Every kernel with weights of f16 and int8 computes activation(x @ Q.T + b) + residual, Q the weights as stored."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.dialects.number_formats import STORAGES
from secateur.passes.base import PassContext, walk
from secateur.passes.kernels import staged_weights
from secateur.runtime_targets import get_target, iree

PACK = "sparsity-detect,sparsity-schedule{SCHEDULE},sparsity-reorder,sparsity-pack"
PANELS = f"{PACK},sparsity-layout,sparsity-tile"
SCHEDULED = {
    "token-major": PACK,
    "one-list-per-row": PANELS,
    "panels": f"{PANELS},sparsity-eliminate-loads",
    "rows-as-lanes": "sparsity-detect,sparsity-schedule{SCHEDULE row-vectors=2},sparsity-pack-rows",
}
LOWERED = {
    "reference": "",
    "kernels": ",convert-sparsity-to-kernels,convert-sparsity-to-linalg",
    "linalg": ",convert-sparsity-to-linalg",
}
CASES = [(s, low) for s in SCHEDULED for low in LOWERED if (s, low) != ("token-major", "kernels")]


def prune(scheme: str, rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Weights of each scheme, in rows of very different size."""
    weight = rng.standard_normal((rows, columns)) * 10.0 ** rng.uniform(-3, 2, (rows, 1))
    keep = {
        "dense": np.ones((rows, columns), bool),
        "zero": np.zeros((rows, columns), bool),
        "unstructured": rng.random((rows, columns)) < 0.3,
        "some rows": np.broadcast_to(rng.random((rows, 1)) < 0.5, (rows, columns)),
        "band": np.repeat(rng.random((-(-rows // 8), columns)) < 0.4, 8, axis=0)[:rows],
        "one": np.zeros((rows, columns), bool),
    }[scheme]
    if scheme == "one":
        keep[rng.integers(rows), rng.integers(columns)] = True
    return (weight * keep).astype(np.float32)


class Layer:
    """One linear layer with `leading` dimensions of its input, and what it has to compute."""

    def __init__(self, scheme: str, rows: int, columns: int, leading: tuple[int, int], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.weight = prune(scheme, rows, columns, rng)
        self.bias = rng.standard_normal(rows).astype(np.float32)
        self.x = rng.standard_normal((*leading, columns)).astype(np.float32)
        self.residual = rng.standard_normal((*leading, rows)).astype(np.float32)

    def text(self, vector_bytes: int, by_lane: bool, bias: bool) -> str:
        x, y, w = (f"tensor<{'x'.join(map(str, a.shape))}xf32>" for a in (self.x, self.residual, self.weight))
        rows = len(self.bias)
        return f"""
        module attributes {{sparsity.target = #sparsity.target<{{vector_bytes = {vector_bytes} : i64,
                            registers = {32 if by_lane else 16} : i64}}>}} {{
          func.func @main(%x: {x}, %r: {y}) -> {y} {{
            %w = "sparsity.weight"() {{source = "w"}} : () -> {w}
            %b = "sparsity.weight"() {{source = "b"}} : () -> tensor<{rows}xf32>
            %y = "sparsity.linear"(%x, %w, {"%b, " if bias else ""}%r) {{activation = "relu",
              operandSegmentSizes = array<i32: 1, 1, {int(bias)}, 1>}}
              : ({x}, {w}, {f"tensor<{rows}xf32>, " if bias else ""}{y}) -> {y}
            return %y : {y}
          }}
        }}"""

    def expected(self, weights: str, bias: bool) -> np.ndarray:
        stored = STORAGES[weights].read_rows(*STORAGES[weights].store_rows(self.weight)).astype(np.float64)
        y = self.x.astype(np.float64) @ stored.T + (self.bias if bias else 0.0)
        return np.maximum(y, 0) + self.residual

    def lowered(self, pipeline: str, vector_bytes: int = 32, by_lane: bool = False, bias: bool = True):
        """The module after `pipeline`, and its context; call inside an MLIR context."""
        context = PassContext()
        context.weights["w"], context.weights["b"] = self.weight, self.bias
        module = ir.Module.parse(self.text(vector_bytes, by_lane, bias))
        run_pipeline(module, pipeline, context)
        return module, context

    def check(self, found: np.ndarray, weights: str, bias: bool = True) -> None:
        expected = self.expected(weights, bias)
        scale = np.abs(expected).max(axis=(0, 1))
        assert (np.abs(found - expected) <= 2e-5 * np.maximum(scale, 1.0)).all()


def pipeline(scheduled: str, lowered: str, weights: str, schedule: str = "workgroups=2") -> str:
    text = SCHEDULED[scheduled].replace("SCHEDULE", schedule)
    return f"{text},sparsity-number-format{{weights={weights}}},sparsity-quantize{LOWERED[lowered]}"


@pytest.mark.parametrize(("scheduled", "lowered"), CASES)
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["dense", "zero", "unstructured", "some rows", "band", "one"]),
    st.sampled_from(["f16", "int8"]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([(1, 1), (2, 17), (1, 33)]),
    st.booleans(),
    st.integers(0, 99),
)
def test_layers(scheduled, lowered, scheme, weights, rows, columns, leading, bias, seed):
    layer = Layer(scheme, rows, columns, leading, seed)
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(pipeline(scheduled, lowered, weights), bias=bias)
        (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
    layer.check(found, weights, bias)


@pytest.mark.parametrize("weights", ["f16", "int8"])
@pytest.mark.parametrize("by_lane", [False, True])
@pytest.mark.parametrize(("scheme", "unroll"), [("dense", 1), ("dense", 3), ("unstructured", 2), ("band", 1)])
def test_more_columns_than_a_buffer_holds(monkeypatch, weights, by_lane, scheme, unroll):
    # A buffer of 16 weights takes five columns of three rows at a time; 29 columns leave some over.
    monkeypatch.setattr(staged_weights, "STAGED", 16)
    monkeypatch.setattr("secateur.passes.kernels.linear.STAGED", 16)
    layer = Layer(scheme, 37, 29, (2, 45))
    with make_context(), ir.Location.unknown():
        text = pipeline("panels", "kernels", weights, f"row-tile=3 workgroups=3 unroll={unroll}")
        module, context = layer.lowered(text, 16 if by_lane else 32, by_lane)
        assert walk(module, "sparsity.dispatch")
        assert bool(walk(module, "memref.alloca")) != by_lane
        (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
    layer.check(found, weights)


@pytest.mark.parametrize("weights", ["f16", "int8"])
@pytest.mark.parametrize(
    ("scheduled", "scheme", "leading"),
    [("panels", "unstructured", (1, 64)), ("panels", "dense", (2, 16)), ("rows-as-lanes", "band", (1, 2))],
)
def test_through_iree(tmp_path, scheduled, scheme, leading, weights):
    layer, target = Layer(scheme, 50, 70, leading), get_target("host-cpu", workers=1)
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(
            pipeline(scheduled, "kernels", weights) + ",canonicalize,cse", target.description["vector_bytes"]
        )
        assembly = iree.assemble(module, context.weights)
    code = iree.compile_assembly(assembly, target)
    iree.write_parameters(tmp_path / "weights.irpa", assembly.parameters)
    (found,) = iree.Session(code, tmp_path / "weights.irpa").run([layer.x, layer.residual])
    layer.check(found, weights)
    stored = [a.dtype for name, a in assembly.parameters.items() if name.endswith(weights)]
    assert stored == [np.dtype({"f16": "float16", "int8": "int8"}[weights])]


@pytest.mark.parametrize("weights", ["f32", "f16", "int8"])
@pytest.mark.parametrize("tokens", [1, 3])
def test_looked_up_columns(tmp_path, weights, tokens):
    layer = Layer("unstructured", 100, 130, (1, tokens))
    layer.weight *= np.random.default_rng(1).random(layer.weight.shape) < 0.4
    text = pipeline("rows-as-lanes", "kernels", weights)
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(text, 64)
        assert "vpermi2var" in str(module)
        (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
        layer.check(found, weights)
        target = get_target("host-cpu", workers=1)
        if "avx512f" not in target.cpu_features:
            return
        module, context = layer.lowered(f"{text},canonicalize,cse", 64)
        assembly = iree.assemble(module, context.weights)
    code = iree.compile_assembly(assembly, target)
    iree.write_parameters(tmp_path / "weights.irpa", assembly.parameters)
    (found,) = iree.Session(code, tmp_path / "weights.irpa").run([layer.x, layer.residual])
    layer.check(found, weights)


@pytest.mark.parametrize("run", [1, 7, 128])
@pytest.mark.parametrize(("scheme", "leading"), [("dense", (2, 45)), ("band", (1, 64)), ("zero", (1, 16))])
def test_sums_in_f16(scheme, leading, run):
    # 29 columns: no run, some runs and a rest, many runs of one.
    layer = Layer(scheme, 37, 29, leading)
    layer.weight /= np.maximum(np.abs(layer.weight).max(axis=1, keepdims=True), 1e-3)
    errors = {}
    for half_sums in (0, run):
        with make_context(), ir.Location.unknown():
            text = SCHEDULED["panels"].replace("SCHEDULE", "row-tile=4 workgroups=3")
            arithmetic = f"arithmetic=f16 half-sums={half_sums}" if half_sums else "arithmetic=f32"
            text += f",sparsity-number-format{{weights=f16 {arithmetic}}},sparsity-quantize,convert-sparsity-to-kernels"
            module, context = layer.lowered(text, 16, by_lane=True)
            assert context.statistics.get("layers-with-sums-in-f16", 0) == bool(half_sums)
            assert ("vector<8xf16>" in str(module)) == bool(half_sums)
            run_pipeline(module, "convert-sparsity-to-linalg", context)
            (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
        expected = layer.expected("f16", True)
        errors[half_sums] = np.abs(found - expected).max() / np.abs(expected).max()
    assert errors[0] < 1e-6
    # Half a unit of f16's last place is 5e-4.
    assert errors[run] < 4e-3
    assert scheme == "zero" or errors[run] > 1e-5


def test_layers_with_a_list_per_row_sum_in_f32():
    layer = Layer("unstructured", 8, 16, (1, 16))
    with make_context(), ir.Location.unknown():
        text = SCHEDULED["panels"].replace("SCHEDULE", "row-tile=4")
        text += ",sparsity-number-format{weights=f16 arithmetic=f16 half-sums=8},sparsity-quantize"
        _, context = layer.lowered(text, 16, by_lane=True)
    assert context.statistics["layers"] == 1
    assert "layers-with-sums-in-f16" not in context.statistics


def test_statistics_and_bytes():
    layer = Layer("dense", 48, 64, (1, 64))
    found = {}
    with make_context(), ir.Location.unknown():
        for weights in ("f32", "f16", "int8"):
            _, context = layer.lowered(pipeline("panels", "reference", weights, "row-tile=4 workgroups=2"))
            found[weights] = context.statistics
    assert "bytes-before" not in found["f32"]
    for weights, size, ppm in (("f16", 2 * 48 * 64 + 2 * 16, 490), ("int8", 48 * 64 + 16 + 4 * 48, 3940)):
        assert found[weights]["layers"] == 1
        assert found[weights]["bytes-before"] == 4 * 48 * 64
        assert found[weights]["bytes-after"] == size
        assert ppm / 3 < found[weights]["largest-error-ppm"] <= ppm


@pytest.mark.parametrize("weights", ["f16", "int8"])
@pytest.mark.parametrize("lowered", ["reference", "linalg"])
def test_tables(weights, lowered):
    rng = np.random.default_rng(3)
    table = (rng.standard_normal((7, 5)) * 10.0 ** rng.uniform(-3, 3, (7, 1))).astype(np.float32)
    table[2] = 0
    ids = np.array([[0, 6, 2], [3, 3, 1]])
    context = PassContext()
    context.weights["t"] = table
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse("""
        func.func @main(%ids: tensor<2x3xi64>) -> tensor<2x3x5xf32> {
          %t = "sparsity.weight"() {source = "t"} : () -> tensor<7x5xf32>
          %y = "sparsity.embedding"(%ids, %t) {operandSegmentSizes = array<i32: 1, 1, 0>}
            : (tensor<2x3xi64>, tensor<7x5xf32>) -> tensor<2x3x5xf32>
          return %y : tensor<2x3x5xf32>
        }""")
        run_pipeline(
            module, f"sparsity-number-format{{weights={weights}}},sparsity-quantize{LOWERED[lowered]}", context
        )
        (found,) = evaluate(module, [ids], context.weights)
    np.testing.assert_allclose(found, STORAGES[weights].read_rows(*STORAGES[weights].store_rows(table))[ids], rtol=2e-7)
