"""Weights of int8 on GPUs: layers and tables read them as words, on every GPU of the table, and nothing reads bytes."""

import itertools
import shutil
import subprocess

import pytest
import torch
from torch import nn

from secateur.compiler import compile_model
from secateur.compression.prune import parse_scheme, prune_model
from secateur.dialects.errors import SecateurError
from secateur.dialects.number_formats import ARITHMETICS, STORAGES, NumberFormatError, number_format
from secateur.runtime_targets import iree
from secateur.runtime_targets.iree.dot_products import compile_for_gpu
from secateur.runtime_targets.iree.lavapipe import LavapipeSession
from secateur.runtime_targets.iree.substituted_lanes import compile_with_lanes
from secateur.runtime_targets.targets import get_target
from secateur.runtime_targets.targets.gpu_models import DEFAULT_GPU, GPU_MODELS

BASELINE, ADRENO = f"android-vulkan:{DEFAULT_GPU}", "android-vulkan:adreno-740"
FIRST = [BASELINE, ADRENO, "android-vulkan:valhall4", "vulkan-llvmpipe"]
OTHERS = [f"android-vulkan:{name}" for name in GPU_MODELS if f"android-vulkan:{name}" not in FIRST]
EVERY = [*FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


def _goes_together(weights, arithmetic):
    try:
        number_format(weights, arithmetic)
    except NumberFormatError:
        return False
    return True


FORMATS = [pair for pair in itertools.product(STORAGES, ARITHMETICS) if _goes_together(*pair)]


class Words(nn.Module):
    """A table whose rows are no whole words, a layer of many tokens and one of a single token."""

    def __init__(self):
        super().__init__()
        self.table, self.norm = nn.Embedding(50, 30), nn.LayerNorm(30)
        self.layer, self.head = nn.Linear(30, 48), nn.Linear(48, 7)

    def forward(self, input_ids):
        x = self.layer(self.norm(self.table(input_ids))).relu()
        return x, self.head(x[:, 0])


@pytest.fixture(scope="module")
def words():
    torch.manual_seed(0)
    return Words().eval()


@pytest.fixture(scope="module")
def ids():
    return {"input_ids": torch.randint(0, 50, (1, 40), generator=torch.Generator().manual_seed(1))}


@pytest.mark.parametrize("target", EVERY)
@pytest.mark.parametrize(("weights", "arithmetic"), FORMATS)
def test_every_gpu_compiles_every_format_or_says_why_not(lavapipe, words, ids, target, weights, arithmetic):
    numbers = {"weights": weights, "arithmetic": arithmetic}
    if "f16" in (weights, arithmetic) and not get_target(target).f16:
        with pytest.raises(SecateurError, match="has numbers of 32 bits only and cannot read weights of f16"):
            compile_model(words, ids, target=target, **numbers)
        return
    (report,) = compile_model(words, ids, target=target, **numbers).report.targets
    if get_target(target).emulator is None:
        assert report.unverified_reason == "nothing here has subgroups of 64 lanes"
    else:
        assert report.verification, report.unverified_reason


@pytest.mark.parametrize("target", [BASELINE, "android-vulkan:valhall4", "vulkan-llvmpipe"])
@pytest.mark.parametrize("block", ["16x1", "4x1", "1x1"])
def test_numbers_are_those_of_the_rounded_weights(lavapipe, words, ids, target, block):
    """Whole vectors of weights are a word; where rows of a tile keep different columns, a weight is a byte of one."""
    module = prune_model(words, parse_scheme("bcr", block), 0.6, skip=["head"])[0]
    (report,) = compile_model(module, ids, target=target, weights="int8").report.targets
    assert report.verification and max(d.relative_l2 for d in report.verification) < 1e-6


@pytest.mark.parametrize("lowering", ["gpu", "portable"])
def test_an_adreno_reads_the_same_bytes_as_the_others(lavapipe, build, words, ids, error, lowering):
    """Its code for 16 lanes beside that of a Mali with 16."""
    found = []
    for target in (ADRENO, "android-vulkan:valhall4"):
        built = build(target, lowering, words, ("int8", "f32"), ids)
        code = iree.compile_assembly(built.assembly, built.target) if target != ADRENO else compile_with_lanes(
            built.assembly, built.target, 16)  # fmt: skip
        with LavapipeSession(code, built.parameters, 16) as session:
            found.append(session.run(built.arguments))
    assert error(*found) < 1e-6


@pytest.mark.skipif(shutil.which("spirv-dis") is None, reason="there is no spirv-dis; on Debian: spirv-tools")
@pytest.mark.parametrize("target", [BASELINE, ADRENO])
def test_no_kernel_has_numbers_of_8_bits(build, words, ids, tmp_path, target):
    built = build(target, "gpu", words, ("int8", "f32"), ids)
    compile_for_gpu(
        built.assembly.text, [*built.target.iree_flags, f"--iree-hal-dump-executable-binaries-to={tmp_path}"]
    )
    kernels = sorted(tmp_path.glob("*.spv"))
    assert len(kernels) > 3
    for file in kernels:
        text = subprocess.run(["spirv-dis", file], capture_output=True, text=True, check=True).stdout
        assert "OpTypeInt 8" not in text and "OpCapability Int8" not in text, file.stem


def test_what_reads_bytes_one_by_one_is_refused_on_a_gpu_without_them():
    """No kernel takes four dimensions; for a CPU, or a GPU with bytes, ops of linalg read the weights."""
    with pytest.raises(SecateurError, match="only the kernels of layers and tables read int8 there"):
        compile_model(nn.Linear(16, 8).eval(), {"input": torch.randn(2, 3, 5, 16)}, target=BASELINE, weights="int8")


def test_a_layer_of_few_tokens_stays_in_f32_on_a_gpu(lavapipe, words, ids):
    numbers = {"weights": "int8", "arithmetic": "int8"}
    (report,) = compile_model(words, ids, target="vulkan-llvmpipe", **numbers).report.targets
    assert report.statistics["sparsity-number-format"]["layers-of-few-tokens-in-f32"] == 1
    assert report.statistics["sparsity-quantize-activations"]["activations"] == 1
