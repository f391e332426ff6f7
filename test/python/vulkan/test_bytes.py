"""Products of packed bytes on GPUs: kernels beside their references, valid SPIR-V, and versions that stay apart."""

import shutil
import subprocess

import pytest
import torch

from secateur.compiler import compile_model
from secateur.compression.prune import parse_scheme, prune_model
from secateur.runtime_targets.iree.dot_products import compile_for_gpu
from secateur.runtime_targets.iree.lavapipe import LavapipeSession
from secateur.runtime_targets.iree.spirv import repeating_kernels, unsafe_kernels
from secateur.runtime_targets.iree.substituted_lanes import compile_with_lanes
from secateur.runtime_targets.targets.gpu_models import DEFAULT_GPU, GPU_MODELS

BASELINE = f"android-vulkan:{DEFAULT_GPU}"
TARGETS = [BASELINE, "android-vulkan:adreno-740", "android-vulkan:valhall4", "vulkan-llvmpipe"]
OTHERS = [f"android-vulkan:{name}" for name in GPU_MODELS if f"android-vulkan:{name}" not in TARGETS]


@pytest.fixture(scope="module")
def bytes_built(build, pruned_bert):
    return lambda target: build(target, numbers=("int8", "int8"))


@pytest.mark.skipif(shutil.which("spirv-val") is None, reason="there is no spirv-val; on Debian: spirv-tools")
@pytest.mark.parametrize("target", [*TARGETS, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_kernels_are_valid_and_only_products_need_a_later_version(bytes_built, tmp_path, target):
    built = bytes_built(target)
    compile_for_gpu(
        built.assembly.text, [*built.target.iree_flags, f"--iree-hal-dump-executable-binaries-to={tmp_path}"]
    )
    multiplying = set()
    for file in sorted(tmp_path.glob("*.spv")):
        checked = subprocess.run(
            ["spirv-val", "--target-env", "vulkan1.3", file], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, f"{file.stem}: {checked.stdout}{checked.stderr}"
        text = subprocess.run(["spirv-dis", file], capture_output=True, text=True, check=True).stdout
        multiplies = " OpSDot " in text
        assert ("; Version: 1.6" in text) == multiplies
        # Words are read: the products need no numbers of 8 bits.
        assert not multiplies or not ("OpTypeInt 8" in text or "OpCapability Int8" in text)
        multiplying |= {file.stem} if multiplies else set()
    assert len(multiplying) == 4 and all("_gpu_linear_" in name for name in multiplying)
    assert unsafe_kernels(tmp_path) == repeating_kernels(tmp_path) == []


@pytest.mark.parametrize("block", ["16x1", "4x8"])
@pytest.mark.parametrize("target", [BASELINE, "vulkan-llvmpipe", "android-vulkan:valhall4"])
def test_every_op_agrees_with_its_reference(lavapipe, pruned_bert, inputs, target, block):
    torch.manual_seed(2)
    module = prune_model(type(pruned_bert)(pruned_bert.config).eval(), parse_scheme("bcr", block), 0.7)[0]
    compiled = compile_model(module, inputs, target=target, weights="int8", arithmetic="int8")
    (report,) = compiled.report.targets
    assert report.verification, report.unverified_reason
    assert report.ops_compared == 23
    rounded, dispatched = (report.statistics[f"{name}"] for name in ("sparsity-quantize-activations",
                                                                      "convert-sparsity-to-gpu-kernels"))  # fmt: skip
    assert rounded["layers-in-rows"] == rounded["activations"] == 4
    assert report.statistics["sparsity-quantize-attention"] == {"left-in-f32": 1}
    # A rounding and a layer four times, the pooler, whose one token stays in f32, attention, three norms.
    assert dispatched["dispatches"] == 13
    errors = [difference.relative_l2 for difference in report.verification]
    assert 1e-5 < max(errors) < 2e-2


@pytest.mark.parametrize(("rows", "vectors", "pieces"), [(8, 2, 4), (16, 2, 1), (4, 2, 2), (3, 1, 1)])
@pytest.mark.parametrize("target", ["vulkan-llvmpipe", "android-vulkan:valhall4"])
def test_threads_that_share_columns(lavapipe, target, rows, vectors, pieces):
    """Two sequences of two panels each, the second one not full; columns that neither four nor the pieces divide."""
    torch.manual_seed(3)
    layers = torch.nn.Sequential(torch.nn.Linear(77, 48), torch.nn.GELU(), torch.nn.Linear(48, 96, bias=False))
    module = prune_model(layers.eval(), parse_scheme("bcr", "16x1"), 0.6)[0]
    schedule = {"row_tile": rows, "token_vectors": vectors, "column_pieces": pieces}
    numbers = {"weights": "int8", "arithmetic": "int8"}
    compiled = compile_model(module, {"input": torch.randn(2, 50, 77)}, target=target, schedule=schedule, **numbers)
    (report,) = compiled.report.targets
    assert report.statistics["convert-sparsity-to-gpu-kernels"]["dispatches"] == 4
    assert report.verification, report.unverified_reason
    assert report.ops_compared == 8


def test_code_for_64_lanes_made_for_16(lavapipe, bytes_built, error, expected):
    """An Adreno's kernels read no bytes at all, but for the embeddings."""
    built = bytes_built("android-vulkan:adreno-740")
    code = compile_with_lanes(built.assembly, built.target, 16)
    with LavapipeSession(code, built.parameters, 16) as session:
        assert error(session.run(built.arguments), expected) < 5e-2


def test_a_wrong_product_is_found(lavapipe, pruned_bert, inputs, monkeypatch):
    """Kernels that leave out the last token of every four: the comparison op by op names the layer."""
    from secateur.compiler.errors import VerificationError
    from secateur.passes.kernels import gpu_bytes

    right = gpu_bytes.quads
    monkeypatch.setattr(gpu_bytes, "quads", lambda rows: [*right(rows)[:3], right(rows)[2]])
    with pytest.raises(VerificationError, match="quantized_linear"):
        compile_model(pruned_bert, inputs, target="vulkan-llvmpipe", weights="int8", arithmetic="int8", cache=False)
