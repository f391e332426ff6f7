"""Kernels whose threads share memory, on lavapipe with 8 and 16 lanes, against the NumPy reference."""

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.build.target_build import describe_target
from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.passes.base import PassContext, walk
from secateur.runtime_targets import iree
from secateur.runtime_targets.iree.lavapipe import LavapipeSession
from secateur.runtime_targets.targets import get_target


def compiled(module, target):
    describe_target(module, target)
    return iree.compile_assembly(iree.assemble(module, {}, target=target), target)


def compare(text, inputs, kernel, half):
    """`half`: activations lie in panels of f16."""
    context = PassContext()
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        run_pipeline(module, "sparsity-layout", context)
        for op in walk(module, "sparsity.to_panels", "sparsity.attention", "sparsity.layer_norm") if half else ():
            op.result.set_type(ir.RankedTensorType.get(op.result.type.shape, ir.F16Type.get()))
        (expected,) = evaluate(module, inputs, context.weights)
        run_pipeline(module, "scheduled-to-gpu-kernels", context)
        assert f"@{kernel}" in str(module) and "gpu.barrier" in str(module)
        assert ("xf16>" in str(module)) == half
        names = (
            {8: "vulkan-llvmpipe", 16: "android-vulkan:valhall4"} if half else dict.fromkeys((8, 16), "android-vulkan")
        )
        codes = {name: compiled(module, get_target(name)) for name in set(names.values())}
    rounding = (1e-3, 1e-5) if half else (1e-4, 1e-5)
    for lanes, name in names.items():
        with LavapipeSession(codes[name], None, lanes) as session:
            # Threads that do not wait for each other are not wrong every time.
            for _ in range(3):
                (found,) = session.run(inputs)
                np.testing.assert_allclose(found, expected, *rounding)


@pytest.mark.parametrize(
    ("batch", "tokens", "heads", "kv_heads", "depth", "causal", "masked", "half"),
    [
        # Three tiles of keys, the last one cut off.
        (1, 300, 2, 2, 32, False, True, False),
        (1, 300, 2, 1, 32, True, False, True),
        # Six tiles: a loop.
        (1, 700, 1, 1, 16, False, True, False),
        # The second sequence is masked whole.
        (2, 40, 4, 2, 64, True, True, False),
        (2, 40, 4, 2, 64, True, True, True),
        # Ten pieces of a head; two vectors of queries for 32 pieces.
        (1, 70, 2, 1, 80, False, True, False),
        (1, 90, 1, 1, 256, True, True, False),
        (2, 20, 3, 3, 6, False, False, False),
    ],
)
def test_attention(lavapipe, batch, tokens, heads, kv_heads, depth, causal, masked, half):
    rng = np.random.default_rng(tokens)
    shapes = [(batch, tokens, n * depth) for n in (heads, kv_heads, kv_heads)]
    inputs = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    if masked:
        mask = np.zeros((batch, tokens), np.float32)
        # Whole groups of keys, and a part of one.
        mask[:, tokens // 3 : tokens // 2] = mask[:, -3:] = mask[1:] = -np.inf
        inputs.append(mask)
    types = ["tensor<" + "x".join(map(str, array.shape)) + "xf32>" for array in inputs]
    arguments = ", ".join(f"%a{i}: {kind}" for i, kind in enumerate(types))
    names = ", ".join(f"%a{i}" for i in range(len(types)))
    text = f"""
    func.func @main({arguments}) -> {types[0]} {{
      %y = "sparsity.attention"({names}) {{heads = {heads} : i64, kv_heads = {kv_heads} : i64,
        scale = {depth**-0.5:e} : f64, causal = {str(causal).lower()},
        operandSegmentSizes = array<i32: 1, 1, 1, {int(masked)}, 0>}} : ({", ".join(types)}) -> {types[0]}
      return %y : {types[0]}
    }}"""
    compare(text, inputs, f"gpu_attention_{heads}x{depth}", half)


@pytest.mark.parametrize(("features", "residual", "half"), [(384, 1, False), (50, 0, False), (384, 1, True)])
def test_layer_norm(lavapipe, features, residual, half):
    rng = np.random.default_rng(features)
    shapes = [(2, 40, features), (features,), (features,), *[(2, 40, features)] * residual]
    inputs = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]
    # A large mean shows a variance that is computed from sums of squares.
    inputs[0] += 30
    kind, vector = f"tensor<2x40x{features}xf32>", f"tensor<{features}xf32>"
    more = (", %r", f", %r: {kind}", f", {kind}") if residual else ("", "", "")
    text = f"""
    func.func @main(%x: {kind}, %w: {vector}, %b: {vector}{more[1]}) -> {kind} {{
      %y = "sparsity.layer_norm"(%x, %w, %b{more[0]}) {{epsilon = 1.0e-5 : f64,
        operandSegmentSizes = array<i32: 1, 1, 1, {residual}>}} : ({kind}, {vector}, {vector}{more[2]}) -> {kind}
      return %y : {kind}
    }}"""
    compare(text, inputs, f"gpu_layer_norm_{features}", half)
