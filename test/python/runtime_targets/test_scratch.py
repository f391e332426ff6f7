"""The stack of kernels and chains stays within what IREE accepts, for any shape, number format, target and length."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.dialects.sparsity.kernel_ops import SCRATCH_BYTES, segment_sizes
from secateur.passes.base import PassContext, walk
from secateur.runtime_targets import iree
from secateur.runtime_targets.iree.scratch import scratch_bytes

# Vectors of x86 (AVX-512, AVX2, SSE) and NEON: bytes and registers.
VECTORS = [(64, 32), (32, 16), (16, 16), (16, 32)]


def block(batch: int, tokens: int, heads: int, depth: int, vectors: tuple[int, int], workers: int) -> str:
    """Attention between linear layers, as text."""
    hidden = heads * depth
    x, w = f"tensor<{batch}x{tokens}x{hidden}xf32>", f"tensor<{hidden}x{hidden}xf32>"

    def linear(result: str, source: str, weight: str) -> str:
        return f"""
            %w{weight} = "sparsity.weight"() {{source = "{weight}"}} : () -> {w}
            %{result} = "sparsity.linear"(%{source}, %w{weight}) {{operandSegmentSizes = array<i32: 1, 1, 0, 0>}}
              : ({x}, {w}) -> {x}"""

    return f"""
    module attributes {{sparsity.target = #sparsity.target<{{vector_bytes = {vectors[0]} : i64,
                        registers = {vectors[1]} : i64, workers = {workers} : i64}}>}} {{
      func.func @main(%x: {x}, %m: tensor<{batch}x{tokens}xf32>) -> {x} {{
        {linear("q", "x", "a")}{linear("k", "x", "b")}{linear("v", "x", "c")}
        %y = "sparsity.attention"(%q, %k, %v, %m) {{heads = {heads} : i64, kv_heads = {heads} : i64,
          scale = 0.4 : f64, causal = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>}}
          : ({x}, {x}, {x}, tensor<{batch}x{tokens}xf32>) -> {x}
        {linear("o", "y", "d")}{linear("p", "o", "e")}{linear("z", "p", "f")}
        return %z : {x}
      }}
    }}"""


def kernels(text: str, weights: str) -> tuple[ir.Module, dict[str, np.ndarray]]:
    """The block with its kernels; call inside an MLIR context."""
    module, context, rng = ir.Module.parse(text), PassContext(), np.random.default_rng(0)
    for op in walk(module, "sparsity.weight"):
        shape = op.result.type.shape
        array = rng.standard_normal(shape) * (rng.random(shape) < 0.3)
        context.weights[op.source.value] = array.astype(np.float32)
    run_pipeline(module, f"structural,sparsity-number-format{{weights={weights}}}," + LOWERED, context)
    return module, context.weights


LOWERED = (
    "sparsity-schedule,sparsity-reorder,sparsity-pack,sparsity-layout,sparsity-tile,"
    "sparsity-eliminate-loads,sparsity-quantize,scheduled-to-kernels"
)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(1, 3),
    st.integers(1, 512),
    st.integers(1, 4),
    st.sampled_from([1, 6, 8, 16, 20]),
    st.sampled_from(["f32", "f16", "int8"]),
    st.integers(1, 4),
    st.sampled_from(VECTORS),
)
@example(1, 128, 2, 16, "int8", 2, (64, 32))
@example(2, 512, 1, 16, "f16", 4, (32, 16))
@example(1, 512, 1, 16, "int8", 4, (16, 16))
def test_any_block_fits(batch, tokens, heads, depth, weights, workers, vectors):
    with make_context(), ir.Location.unknown():
        module, arrays = kernels(block(batch, tokens, heads, depth, vectors, workers), weights)
        assert walk(module, "sparsity.dispatch")
        text = iree.assemble(module, arrays).text
        with ir.Context() as context:
            context.allow_unregistered_dialects = True
            assembled = ir.Module.parse(text, context)
            found = [scratch_bytes(f.operation) for f in walk(assembled, "func.func")]
    assert 0 < max(found) <= SCRATCH_BYTES


def _refused(scratch: str) -> ir.Module:
    return ir.Module.parse(
        f"""module {{
        func.func private @k(%x: memref<4xf32>, %y: memref<4xf32>, %i: index, %j: index, %l: index)
            attributes {{sparsity.kernel}} {{
          %s = memref.alloca{scratch}
          return
        }}
        func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {{
          %y = "sparsity.dispatch"(%x) {{kernel = @k, grid = array<i64: 1, 1, 1>,
            {segment_sizes(1)}}} : (tensor<4xf32>) -> tensor<4xf32>
          return %y : tensor<4xf32>
        }}
        }}""",
        make_context(),
    )


@pytest.mark.parametrize(
    ("scratch", "message"),
    [
        ("() : memref<8200xf32>", "'@k' is a kernel with 32832 bytes of scratch memory; 32768 are accepted"),
        ("(%i) : memref<?xf32>", "scratch memory of the type memref<.xf32>; static shapes of integers or floats are"),
        ("() : memref<4xindex>", "scratch memory of the type memref<4xindex>; static shapes of integers or floats are"),
    ],
)
def test_a_kernel_with_too_much_is_refused(scratch, message):
    with pytest.raises(iree.AssemblyError, match=message):
        iree.assemble(_refused(scratch), {})
