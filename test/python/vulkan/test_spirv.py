"""The SPIR-V of all kernels: valid for Vulkan, with threads that each do work of their own, in one submission."""

import re
import shutil
import subprocess

import pytest
from iree.compiler import tools

from secateur.runtime_targets.iree.spirv import repeating_kernels, unsafe_kernels
from secateur.runtime_targets.targets import get_target
from secateur.runtime_targets.targets.gpu_models import GPU_MODELS

HALF = ("f16", "f16")
FAMILIES = ["android-vulkan", "android-vulkan:adreno-740", "android-vulkan:valhall4", "vulkan-llvmpipe"]
OTHERS = [f"android-vulkan:{name}" for name in GPU_MODELS if f"android-vulkan:{name}" not in FAMILIES]


def kernels(text, target, folder):
    """A folder with a file of SPIR-V for each kernel."""
    folder.mkdir()
    dump = f"--iree-hal-dump-executable-binaries-to={folder}"
    tools.compile_str(text, extra_args=[*target.iree_flags, dump], input_type="auto")
    return folder


@pytest.mark.skipif(shutil.which("spirv-val") is None, reason="there is no spirv-val; on Debian: spirv-tools")
@pytest.mark.parametrize("lowering", ["gpu", "gpu in f16", "portable"])
@pytest.mark.parametrize("target", [*FAMILIES, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_kernels_are_valid_and_no_thread_repeats_another(build, tmp_path, target, lowering):
    if lowering == "gpu in f16" and not get_target(target).f16:
        pytest.skip("the target has no f16")
    built = build(target, "gpu", numbers=HALF) if lowering == "gpu in f16" else build(target, lowering)
    found = kernels(built.assembly.text, built.target, tmp_path / "spirv")
    files = sorted(found.glob("*.spv"))
    assert len(files) > 10
    for file in files:
        checked = subprocess.run(
            ["spirv-val", "--target-env", "vulkan1.3", file], capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, f"{file.stem}: {checked.stdout}{checked.stderr}"
    assert unsafe_kernels(found) == repeating_kernels(found) == []


PRODUCT = """
#powers = affine_map<({result}, s) -> (b, h, t, s)>
#values = affine_map<({result}, s) -> (b, s, h, e)>
#mixed = affine_map<({result}, s) -> ({result})>
func.func @main(%p: tensor<1x12x128x128xf32>, %v: tensor<1x128x12x32xf32>) -> tensor<{sizes}xf32> {{
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<{sizes}xf32>
  %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<{sizes}xf32>) -> tensor<{sizes}xf32>
  %mixed = linalg.generic {{indexing_maps = [#powers, #values, #mixed],
      iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}}
      ins(%p, %v : tensor<1x12x128x128xf32>, tensor<1x128x12x32xf32>) outs(%start : tensor<{sizes}xf32>) {{
  ^bb0(%a: f32, %b: f32, %sum: f32):
    %product = arith.mulf %a, %b : f32
    %next = arith.addf %sum, %product : f32
    linalg.yield %next : f32
  }} -> tensor<{sizes}xf32>
  return %mixed : tensor<{sizes}xf32>
}}
"""


@pytest.mark.parametrize(
    ("result", "sizes", "repeats"), [("b, t, h, e", "1x128x12x32", 1), ("b, h, t, e", "1x12x128x32", 0)]
)
def test_threads_that_repeat_each_other_are_found(tmp_path, result, sizes, repeats):
    text = PRODUCT.format(result=result, sizes=sizes)
    found = kernels(text, get_target("android-vulkan"), tmp_path / "spirv")
    assert len(list(found.glob("*.spv"))) == 1
    assert len(repeating_kernels(found)) == repeats


@pytest.mark.parametrize("lowering", ["gpu", "portable"])
@pytest.mark.parametrize("target", FAMILIES)
def test_a_run_is_one_submission_and_reductions_stay_alone(build, target, lowering):
    built = build(target, lowering)
    for level, check in (("stream", _submissions), ("flow", _reductions)):
        text = tools.compile_str(
            built.assembly.text, extra_args=[*built.target.iree_flags, f"--compile-to={level}"], input_type="auto"
        ).decode()
        check(text, lowering)


def _submissions(text, lowering):
    main = text[text.index("util.func public @main") :]
    assert main.count("stream.cmd.execute") == 1
    assert main.count("stream.cmd.dispatch") >= 10


def _reductions(text, lowering):
    """No dispatch reads the result of a reduction that it computes. Where kernels are ours, IREE has none."""
    dispatches = text.split("flow.executable ")[1:]
    reductions = 0
    for dispatch in dispatches:
        for sums in re.findall(r"(%\w+)(?::\d+)? = linalg\.generic {[^}]*\"reduction\"", dispatch):
            reductions += 1
            uses = [line for line in dispatch.splitlines() if re.search(rf"{sums}(?!\w)", line)]
            assert all(f"{sums} = " in use or "tensor.store" in use for use in uses), uses
    assert reductions > 3 if lowering == "portable" else reductions == 0


def test_code_that_is_no_spirv_is_told(tmp_path):
    (tmp_path / "a.spv").write_bytes(b"\0" * 24)
    for check in (unsafe_kernels, repeating_kernels):
        with pytest.raises(ValueError, match=r"no SPIR-V"):
            check(tmp_path)
