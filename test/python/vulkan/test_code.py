"""The code for GPUs: sparse where the model is, free of races, with integers that phones have."""

import json

import pytest
import torch

from secateur.compiler import compile_model
from secateur.compiler.build.work import join_work
from secateur.compression.prune import parse_scheme, prune_model
from secateur.runtime_targets import iree
from secateur.runtime_targets.bundle import open_bundle
from secateur.runtime_targets.iree.dispatches import dispatch_calls
from secateur.runtime_targets.iree.lavapipe import LavapipeSession
from secateur.runtime_targets.targets.gpu_models import GPU_MODELS, LLVMPIPE


@pytest.mark.parametrize("target", ["vulkan-llvmpipe", "android-vulkan:valhall4"])
def test_the_portable_lowering_agrees_with_pytorch(lavapipe, build, error, expected, target):
    built = build(target, "portable")
    code = iree.compile_assembly(built.assembly, built.target)
    with LavapipeSession(code, built.parameters, built.target.subgroup) as session:
        assert error(session.run(built.arguments), expected) < 1e-5
        assert len(session.time_ms(built.arguments, 2)) == 2


def _linear_flops(built):
    calls = join_work(built.build._work, dispatch_calls(built.assembly, built.target))
    own = [call for call in calls if call.kernel.startswith("gpu_linear")]
    return len(own), sum(call.flops for call in own), sum(call.flops + call.padding_flops for call in own)


def test_operations_dispatched_follow_the_sparsity(build, pruned_bert):
    """Multiply-adds of the layers' kernels at 50 and 90 percent, in units of those of the dense layers."""
    dense = 2 * 20 * (4 * 32 * 32 + 2 * 32 * 64)
    found = {}
    for percent in (50, 90):
        torch.manual_seed(1)
        module = prune_model(type(pruned_bert)(pruned_bert.config).eval(), parse_scheme("bcr", "4x1"), percent / 100)[0]
        count, flops, dispatched = _linear_flops(build("android-vulkan", module=module))
        # Merged query, key and value; output; two of the feed-forward network; the pooler has one token.
        assert count >= 4
        found[percent] = flops / dense, dispatched / dense
    assert 0.45 < found[50][0] < 0.6
    assert 0.08 < found[90][0] < 0.2
    # Panels of 32 hold the 20 tokens.
    assert found[90][1] < 2.5 * found[90][0]


@pytest.mark.parametrize("block", ["16x1", "4x8"])
@pytest.mark.parametrize("weights", ["f16", "int8"])
@pytest.mark.parametrize("target", ["vulkan-llvmpipe", "android-vulkan:valhall4"])
def test_smaller_weights_are_read_by_the_kernels(lavapipe, pruned_bert, inputs, tmp_path, target, weights, block):
    """Verified against PyTorch with the weights as they are stored; no layer takes the portable way."""
    torch.manual_seed(2)
    module = prune_model(type(pruned_bert)(pruned_bert.config).eval(), parse_scheme("bcr", block), 0.7)[0]
    kernels, sizes = {}, {}
    for stored in ("f32", weights):
        compiled = compile_model(module, inputs, target=target, weights=stored)
        compiled.save(tmp_path / stored)
        (report,) = compiled.report.targets
        assert report.verification, report.unverified_reason
        assert max(difference.relative_l2 for difference in report.verification) < 2e-6
        with open_bundle(tmp_path / stored) as bundle:
            work = bundle.target().dispatches
            kernels[stored] = sorted(w.kernel for w in work if w.kernel.startswith("gpu_linear"))
            sizes[stored] = sum(w.weight_bytes for w in work if w.kernel.startswith("gpu_linear"))
    assert len(kernels[weights]) == len(kernels["f32"]) >= 5
    assert sizes[weights] < (0.7 if weights == "f16" else 0.5) * sizes["f32"]


def test_kernels_that_share_memory_without_a_barrier_are_refused(build):
    built = build("android-vulkan", "portable")
    racing = iree.assemble(built.module, built.weights)
    with pytest.raises(iree.CompilationError, match="share memory without a barrier"):
        iree.compile_assembly(racing, built.target)


def test_inputs_stay_64_bits_wide(build):
    built = build("android-vulkan")
    assert "(tensor<1x20xi64>, tensor<1x20xi64>, tensor<1xi32>) -> " in built.assembly.text
    assert "flow.tensor.bitcast" in built.assembly.text
    lines = built.assembly.text.splitlines()
    # But for its type and its block's arguments, which stay what callers give.
    wide = [line for line in lines if "xi64>" in line and "function_type" not in line and "^bb0" not in line]
    # A barrier hands the arguments on as they are, then each becomes words of 32 bits; nothing else sees them.
    assert len(wide) == 3
    assert sum("optimization_barrier" in line for line in wide) == 1
    assert sum("(tensor<1x20xi64>) -> tensor<1x20x2xi32>" in line for line in wide) == 2


def test_every_gpu_of_the_table_is_known_to_the_compiler():
    """A name that is not would end the compiler with a stack dump."""
    from iree.compiler import tools

    source = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> { return %a : tensor<4xf32> }"
    for name in (*GPU_MODELS, LLVMPIPE.name):
        flags = ["--iree-hal-target-device=vulkan", f"--iree-vulkan-target={name}", "--compile-to=flow"]
        text = tools.compile_str(source, extra_args=flags, input_type="auto").decode()
        lanes = {**GPU_MODELS, LLVMPIPE.name: LLVMPIPE}[name].subgroup
        assert f"subgroup_size_choices = [{lanes or 64}]" in text, name
        assert ("subgroup = none" in text) == (lanes is None), name


def test_a_module_says_how_many_lanes_it_relies_on(build):
    text = build("android-vulkan:valhall4").assembly.text
    signature = text.split('secateur.signature = "')[1].split('"}')[0]
    assert json.loads(signature.replace("\\22", '"').replace('\\"', '"'))["subgroup"] == 16
    assert "subgroup" not in build("android-vulkan").assembly.text.split("secateur.signature")[1][:400]


@pytest.mark.parametrize(("rows", "vectors", "pieces"), [(8, 2, 4), (8, 1, 2), (16, 2, 1), (4, 2, 4)])
@pytest.mark.parametrize("target", ["vulkan-llvmpipe", "android-vulkan:valhall4"])
def test_threads_that_share_columns_agree_with_pytorch(lavapipe, target, rows, vectors, pieces):
    """Two sequences of two panels each, the second one not full; columns that no number of pieces divides."""
    torch.manual_seed(3)
    layers = torch.nn.Sequential(torch.nn.Linear(77, 48), torch.nn.GELU(), torch.nn.Linear(48, 96, bias=False))
    module = prune_model(layers.eval(), parse_scheme("bcr", "16x1"), 0.6)[0]
    schedule = {"row_tile": rows, "token_vectors": vectors, "column_pieces": pieces}
    compiled = compile_model(module, {"input": torch.randn(2, 50, 77)}, target=target, schedule=schedule)
    (report,) = compiled.report.targets
    assert report.statistics["convert-sparsity-to-gpu-kernels"]["dispatches"] == 2
    assert report.verification, report.unverified_reason
    assert max(difference.relative_l2 for difference in report.verification) < 1e-6
