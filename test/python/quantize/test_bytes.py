"""Layers that multiply bytes: exact sums, on every instruction there is for them, beside NumPy and PyTorch."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from secateur.compiler import compile_model
from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.dialects.number_formats import STORAGES
from secateur.passes.base import PassContext, walk
from secateur.runtime_targets import get_target, iree
from secateur.runtime_targets.targets.byte_products import dot_instruction

# Instruction, bytes of a vector, registers.
DOTS = [
    ("vpdpbusd", 64, 32),
    ("vpdpbusd", 32, 16),
    ("vpmaddwd", 64, 32),
    ("vpmaddwd", 32, 16),
    ("smmla", 16, 32),
    ("sdot", 16, 32),
    ("saddlp", 16, 32),
    ("", 32, 16),
    ("vpdpbusd", 8, 16),  # no instruction for vectors of that length
]
SCHEMES = ["dense", "zero", "scattered", "quads", "units", "band", "one"]
PIPELINE = (
    "sparsity-detect,sparsity-number-format{weights=int8 arithmetic=int8},sparsity-schedule{SCHEDULE},sparsity-reorder,"
    "sparsity-pack,sparsity-layout,sparsity-tile,sparsity-eliminate-loads,sparsity-quantize,sparsity-quantize-activations"
)


def weight_of(scheme: str, rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    weight = rng.standard_normal((rows, columns)) * 10.0 ** rng.uniform(-2, 2, (rows, 1))
    keep = {
        "dense": np.ones((rows, columns), bool),
        "zero": np.zeros((rows, columns), bool),
        "scattered": rng.random((rows, columns)) < 0.2,
        "quads": np.repeat(rng.random((rows, -(-columns // 4))) < 0.4, 4, axis=1)[:, :columns],
        "units": np.kron(rng.random((-(-rows // 8), -(-columns // 4))) < 0.4, np.ones((8, 4), bool))[:rows, :columns],
        "band": np.repeat(rng.random((-(-rows // 8), columns)) < 0.4, 8, axis=0)[:rows],
        "one": np.zeros((rows, columns), bool),
    }[scheme]
    if scheme == "one":
        keep[rng.integers(rows), rng.integers(columns)] = True
    return (weight * keep).astype(np.float32)


class Layer:
    """`relu(x W^T + b) + r`, and what it is with W rounded by rows and x by tokens."""

    def __init__(self, scheme: str, rows: int, columns: int, leading: tuple[int, int], seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.weight = weight_of(scheme, rows, columns, rng)
        self.bias = rng.standard_normal(rows).astype(np.float32)
        # Tokens of very different size, and one of zeros.
        sizes = 10.0 ** rng.uniform(-3, 3, (*leading, 1))
        self.x = (rng.standard_normal((*leading, columns)) * sizes).astype(np.float32)
        self.x[0, 0] = 0.0
        self.residual = rng.standard_normal((*leading, rows)).astype(np.float32)

    def lowered(self, more: str, dot: str, vector_bytes: int, registers: int, schedule: str = "workgroups=2"):
        x, y, w = (f"tensor<{'x'.join(map(str, a.shape))}xf32>" for a in (self.x, self.residual, self.weight))
        given = f', dot = "{dot}"' if dot else ""
        text = f"""
        module attributes {{sparsity.target = #sparsity.target<{{vector_bytes = {vector_bytes} : i64,
                            registers = {registers} : i64{given}}}>}} {{
          func.func @main(%x: {x}, %r: {y}) -> {y} {{
            %w = "sparsity.weight"() {{source = "w"}} : () -> {w}
            %b = "sparsity.weight"() {{source = "b"}} : () -> tensor<{len(self.bias)}xf32>
            %y = "sparsity.linear"(%x, %w, %b, %r) {{activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 1>}}
              : ({x}, {w}, tensor<{len(self.bias)}xf32>, {y}) -> {y}
            return %y : {y}
          }}
        }}"""
        context = PassContext()
        context.weights["w"], context.weights["b"] = self.weight, self.bias
        module = ir.Module.parse(text)
        run_pipeline(module, PIPELINE.replace("SCHEDULE", schedule) + more, context)
        return module, context

    def expected(self) -> np.ndarray:
        """The formula in integers, up to the scales; only the rule for weights is the code's own."""
        rows, scales = STORAGES["int8"].store_rows(self.weight)
        token_scales = np.abs(self.x).max(axis=-1, keepdims=True) / np.float32(127)
        inverse = np.where(token_scales > 0, np.float32(1) / np.where(token_scales > 0, token_scales, 1), 0)
        x = np.rint(self.x * inverse.astype(np.float32)).astype(np.int64)
        y = (x @ rows.astype(np.int64).T) * token_scales.astype(np.float64) * scales + self.bias
        return np.maximum(y, 0) + self.residual

    def check(self, found: np.ndarray) -> None:
        expected = self.expected()
        # Rounding of the epilogue only: sums of other integers would be off by a part in 127 of a row.
        scale = np.maximum(np.abs(expected - self.residual), np.abs(self.residual)).max(axis=-1, keepdims=True)
        assert (np.abs(found - expected) <= 4e-6 * scale).all()


@pytest.mark.parametrize("lowered", ["reference", "kernels", "linalg"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(SCHEMES),
    st.sampled_from(DOTS),
    st.integers(1, 30),
    st.integers(1, 33),
    st.sampled_from([(1, 3), (2, 17), (1, 33), (1, 30), (1, 60)]),
    st.sampled_from(
        ["workgroups=2", "row-tile=3 token-vectors=1", "row-tile=5 unroll=2", "row-tile=8 token-vectors=2 unroll=2"]
    ),
    st.integers(0, 99),
)
def test_layers(lowered, scheme, dot, rows, columns, leading, schedule, seed):
    layer = Layer(scheme, rows, columns, leading, seed)
    more = {"reference": "", "kernels": ",convert-sparsity-to-kernels,convert-sparsity-to-linalg"}
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(more.get(lowered, ",convert-sparsity-to-linalg"), *dot, schedule=schedule)
        if lowered == "reference":
            assert len(walk(module, "sparsity.quantized_linear")) == 1
        (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
    layer.check(found)


GPU = ("OpSDot", 16, 24)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(SCHEMES),
    st.integers(1, 30),
    st.integers(1, 41),
    st.sampled_from([(1, 3), (2, 17), (1, 60)]),
    st.sampled_from(
        [
            "row-tile=3",
            "row-tile=8 token-vectors=2",
            "row-tile=4 token-vectors=4 column-pieces=2",
            "row-tile=8 column-pieces=4",
        ]
    ),
    st.integers(0, 99),
)
def test_layers_on_a_gpu(scheme, rows, columns, leading, schedule, seed):
    """The kernels of a GPU's threads, in MLIR's execution engine: rounding and products, nothing left to linalg."""
    layer = Layer(scheme, rows, columns, leading, seed)
    with make_context(), ir.Location.unknown():
        more = ",convert-sparsity-to-gpu-kernels,convert-sparsity-to-linalg"
        module, context = layer.lowered(more, *GPU, schedule=schedule)
        assert context.statistics["dispatches"] == 2 and walk(module, "spirv.SDot")
        (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
    layer.check(found)


@pytest.mark.parametrize("dot", DOTS, ids=str)
def test_the_largest_sums_are_exact(dot):
    # Every product is 127 * 127, all of one sign: 16 bits would not hold the sum of three.
    layer = Layer("dense", 5, 3072, (1, 16))
    layer.weight = np.where(np.arange(5)[:, None] % 2, 1.0, -1.0).astype(np.float32) * np.ones((5, 3072), np.float32)
    layer.x = np.ones_like(layer.x)
    layer.x[0, ::2] *= -3.0
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(",convert-sparsity-to-kernels,convert-sparsity-to-linalg", *dot)
        (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
    layer.check(found)


def runs_here(dot: str, vector_bytes: int) -> bool:
    host = get_target("host-cpu")
    own = dot_instruction(host.architecture, host.cpu_features, vector_bytes).get("dot", "")
    order = ["vpmaddwd", "vpdpbusd"] if "vpmaddwd" in (dot, own) else ["saddlp", "sdot", "smmla"]
    fits = vector_bytes <= host.description["vector_bytes"]
    return not dot or (fits and dot in order and own in order and order.index(dot) <= order.index(own))


@pytest.mark.parametrize("dot", DOTS, ids=str)
@pytest.mark.parametrize("scheme", ["dense", "scattered"])
def test_through_iree(tmp_path, scheme, dot):
    if not runs_here(*dot[:2]):
        pytest.skip(f"this CPU has no {dot[0]} on {dot[1]} bytes")
    layer, target = Layer(scheme, 50, 72, (2, 40)), get_target("host-cpu", workers=1)
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(
            ",convert-sparsity-to-kernels,convert-sparsity-to-linalg,canonicalize,cse", *dot
        )
        instructions = {str(op.attributes["intrin"]) for op in walk(module, "llvm.call_intrinsic")}
        assert len(instructions) == (bool(dot[0]) and dot[1] > 8)
        assembly = iree.assemble(module, context.weights)
    code = iree.compile_assembly(assembly, target)
    iree.write_parameters(tmp_path / "weights.irpa", assembly.parameters)
    (found,) = iree.Session(code, tmp_path / "weights.irpa").run([layer.x, layer.residual])
    layer.check(found)


@pytest.mark.parametrize("cpu", ["cortex-x2", "cortex-a76", "cortex-a53"])
@pytest.mark.parametrize("scheme", ["dense", "units", "band", "scattered"])
def test_on_emulated_arm(tmp_path, scheme, cpu):
    from secateur.compiler.verify.verification_place import verification_place
    from secateur.runtime_targets.devices.module_on_device import run_module

    target = get_target(f"linux-arm64:{cpu}", workers=1)
    if verification_place(target)[0] is None:
        pytest.skip(f"code for {cpu} cannot run here")
    # Rows are tiles of eight where matrices are multiplied; dense weights are repeated in the last one.
    rows = 50 if scheme == "dense" else 48
    layer, dot = Layer(scheme, rows, 72, (2, 40)), target.description["dot"]
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(
            ",convert-sparsity-to-kernels,convert-sparsity-to-linalg,canonicalize,cse", dot, 16, 32
        )
        instructions = {str(op.attributes["intrin"]).split(".")[3] for op in walk(module, "llvm.call_intrinsic")}
        # Rows that share no columns are multiplied one by one.
        assert instructions == {"sdot" if (dot, scheme) == ("smmla", "scattered") else dot}
        assembly = iree.assemble(module, context.weights)
    (tmp_path / "model.vmfb").write_bytes(iree.compile_assembly(assembly, target))
    iree.write_parameters(tmp_path / "weights.irpa", assembly.parameters)
    arrays = [layer.x, layer.residual]
    (found,) = run_module(tmp_path / "model.vmfb", tmp_path / "weights.irpa", arrays, 1, target.emulator)
    layer.check(found)


@pytest.mark.parametrize("lanes", [8, 16])
@pytest.mark.parametrize("scheme", ["dense", "units", "band", "scattered"])
def test_on_a_gpu_in_software(tmp_path, scheme, lanes):
    """Code for any phone's GPU: no numbers of 8 bits, and no subgroups."""
    from secateur.runtime_targets.iree.lavapipe import LavapipeSession, lavapipe_driver

    if lavapipe_driver() is None:
        pytest.skip("there is no lavapipe; on Debian: libvulkan1 and mesa-vulkan-drivers")
    layer, target = Layer(scheme, 48, 72, (2, 40)), get_target("android-vulkan")
    schedule = "row-tile=8 token-vectors=2 column-pieces=2"
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(
            ",convert-sparsity-to-gpu-kernels,convert-sparsity-to-linalg,canonicalize,cse", *GPU, schedule=schedule
        )
        assembly = iree.assemble(module, context.weights, target=target)
    code = iree.compile_assembly(assembly, target)
    iree.write_parameters(tmp_path / "weights.irpa", assembly.parameters)
    with LavapipeSession(code, tmp_path / "weights.irpa", lanes) as session:
        # Threads that do not wait for each other are not wrong every time.
        for _ in range(3):
            (found,) = session.run([layer.x, layer.residual])
            layer.check(found)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38, 1e-44])
def test_extreme_activations_are_never_silently_wrong(value):
    layer = Layer("dense", 8, 16, (1, 16))
    layer.x[0, 3, 5] = value
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered(",convert-sparsity-to-kernels,convert-sparsity-to-linalg", *DOTS[1])
        (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
    others = np.arange(16) != 3
    layer.x[0, 3] = 0.0
    np.testing.assert_allclose(found[:, others], layer.expected()[:, others], rtol=1e-5, atol=1e-5)
    if not np.isfinite(value):
        # relu of minus infinity is zero: the rows that are positive tell.
        assert not np.isfinite(found[0, 3]).all()


@pytest.mark.parametrize(
    ("scheme", "columns", "form"),
    [
        ("dense", 16, "layers-in-quads"),
        ("dense", 18, "layers-in-rows"),
        ("quads", 64, "layers-in-quads"),
        ("quads in 66", 66, "layers-in-rows"),
        ("band", 64, "layers-in-rows"),
        ("one", 64, "layers-in-rows"),
    ],
)
def test_columns_decide_the_form(scheme, columns, form):
    layer = Layer(scheme.split()[0], 8, columns, (1, 16))
    # Whole fours are kept in either case; with 66 columns the last ones are no four.
    layer.weight[:, columns - columns % 4 :] *= scheme != "quads in 66"
    with make_context(), ir.Location.unknown():
        module, context = layer.lowered("", *DOTS[0])
        assert len(walk(module, "sparsity.quantized_linear")) == 1
    assert context.statistics[form] == 1


def test_a_weight_that_happens_to_be_zero_does_not_split_its_unit():
    dense, band = Layer("dense", 16, 64, (1, 16)), Layer("band", 16, 64, (1, 16))
    for layer in (dense, band):
        kept = np.argwhere(layer.weight)
        layer.weight[tuple(kept[::20].T)] = 0.0
        with make_context(), ir.Location.unknown():
            module, context = layer.lowered("", *DOTS[0], schedule="row-tile=4")
            (op,) = walk(module, "sparsity.quantized_linear")
            assert len(op.row_masks) == 1
            (found,) = evaluate(module, [layer.x, layer.residual], context.weights)
        layer.check(found)


def test_layers_that_read_one_tensor_in_two_forms_share_its_scales():
    text = """
    module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64,
                       dot = "vpdpbusd"}>} {
      func.func @main(%x: tensor<1x64x32xf32>) -> (tensor<1x64x8xf32>, tensor<1x64x8xf32>) {
        %v = "sparsity.weight"() {source = "quads"} : () -> tensor<8x32xf32>
        %w = "sparsity.weight"() {source = "rows"} : () -> tensor<8x32xf32>
        %a = "sparsity.linear"(%x, %v) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
          : (tensor<1x64x32xf32>, tensor<8x32xf32>) -> tensor<1x64x8xf32>
        %b = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
          : (tensor<1x64x32xf32>, tensor<8x32xf32>) -> tensor<1x64x8xf32>
        return %a, %b : tensor<1x64x8xf32>, tensor<1x64x8xf32>
      }
    }"""
    rng = np.random.default_rng(0)
    context = PassContext()
    context.weights["quads"] = weight_of("dense", 8, 32, rng)
    context.weights["rows"] = weight_of("band", 8, 32, rng)
    x = rng.standard_normal((1, 64, 32)).astype(np.float32)
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        run_pipeline(module, PIPELINE.replace("SCHEDULE", ""), context)
        names = ["sparsity.token_scales", "sparsity.quantize_tokens", "sparsity.quantized_linear"]
        assert [len(walk(module, name)) for name in names] == [1, 2, 2]
        found = evaluate(module, [x], context.weights)
    for y, name in zip(found, ("quads", "rows"), strict=True):
        expected = x @ context.weights[name].T
        assert np.linalg.norm(y - expected) < 2e-2 * np.linalg.norm(expected)


def small_bert():
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(**sizes, vocab_size=50, max_position_embeddings=64, initializer_range=0.2)
    return BertModel(config, add_pooling_layer=False).eval()


@pytest.mark.parametrize("target", ["host-cpu", "android-arm64:cortex-a76", "android-arm64:cortex-x2"])
def test_a_model_multiplies_bytes_and_stays_near_pytorch(target):
    import torch

    from secateur.compiler.verify.verification_place import verification_place

    if verification_place(get_target(target))[0] is None:
        pytest.skip(f"code for {target} cannot run here")
    inputs = {"input_ids": torch.arange(40)[None] % 50, "attention_mask": torch.ones(1, 40, dtype=torch.int64)}
    compiled = compile_model(small_bert(), inputs, target=target, weights="int8", arithmetic="int8")
    statistics = compiled.report.statistics["sparsity-quantize-activations"]
    # Query, key and value are one layer: four layers and four activations in each of the two.
    assert statistics == {"layers-in-quads": 8, "activations": 8, "padding-values": 0}
    assert compiled.report.statistics["sparsity-quantize-attention"] == {"attentions": 2}
    errors = [difference.relative_l2 for difference in compiled.report.verification]
    # The code is compared with PyTorch on the rounded weights, so this is the error of rounding activations.
    assert 1e-4 < max(errors) < 2e-2


def test_bytes_need_weights_of_bytes_and_kernels_that_multiply_them():
    from secateur.compiler.errors import CompileError

    with pytest.raises(CompileError, match="arithmetic in int8 takes weights of int8, found weights of f32"):
        compile_model(small_bert(), {}, arithmetic="int8")
    message = "has no arithmetic in int8 that is used; accepted are CPUs, and GPUs in the lowering 'gpu'"
    with pytest.raises(CompileError, match=message):
        compile_model(
            small_bert(), {}, arithmetic="int8", weights="int8", target="vulkan-llvmpipe", lowering="portable"
        )
    with pytest.raises(CompileError, match="has numbers of 32 bits only and cannot read weights of int8"):
        compile_model(small_bert(), {}, arithmetic="int8", weights="int8", target="android-vulkan", lowering="portable")


@pytest.mark.parametrize(
    ("architecture", "features", "vector_bytes", "dot"),
    [
        ("x86_64", ("avx512f", "avx512_vnni"), 64, "vpdpbusd"),
        ("x86_64", ("avx512f", "avx_vnni"), 64, "vpmaddwd"),
        ("x86_64", ("avx2", "avx_vnni"), 32, "vpdpbusd"),
        ("x86_64", ("avx2",), 32, "vpmaddwd"),
        ("aarch64", ("asimd", "asimddp", "i8mm"), 16, "smmla"),
        ("aarch64", ("asimd", "asimddp"), 16, "sdot"),
        ("aarch64", ("asimd", "i8mm"), 16, "saddlp"),
        ("aarch64", ("asimd",), 16, "saddlp"),
        ("riscv64", (), 16, None),
    ],
)
def test_the_instruction_follows_from_the_features(architecture, features, vector_bytes, dot):
    assert dot_instruction(architecture, features, vector_bytes).get("dot") == dot
