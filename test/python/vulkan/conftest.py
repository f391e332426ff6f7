"""A small pruned model, its code for GPUs, and lavapipe, Mesa's GPU in software."""

import ctypes
import ctypes.util

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from secateur.compiler.build.compile_options import Options, TargetOptions
from secateur.compiler.build.target_build import TargetBuild
from secateur.compiler.pipeline.levels import Lowering, pipeline_to
from secateur.compression.prune import parse_scheme, prune_model
from secateur.dialects.number_formats import NumberPlan, number_format
from secateur.frontends import import_model, load
from secateur.runtime_targets import iree
from secateur.runtime_targets.iree.lavapipe import lavapipe_driver
from secateur.runtime_targets.targets import get_target
from secateur.runtime_targets.token_count import in_order

TOKENS = 20


def _loader():
    try:
        return ctypes.CDLL(ctypes.util.find_library("vulkan") or "libvulkan.so.1")
    except OSError:
        return None


def pytest_collection_modifyitems(items):
    if lavapipe_driver() is None or _loader() is None:
        skip = pytest.mark.skip(reason="there is no lavapipe; on Debian: libvulkan1 and mesa-vulkan-drivers")
        for item in items:
            if "lavapipe" in item.keywords or "lavapipe" in getattr(item, "fixturenames", ()):
                item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def quick_shaders():
    """Lavapipe compiles its shaders in half the time; they run once or a few times."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GALLIVM_PERF", "nopt")
        yield


@pytest.fixture
def lavapipe():
    """A test that takes it is skipped where lavapipe is not installed."""


@pytest.fixture(scope="session")
def pruned_bert():
    torch.manual_seed(0)
    config = BertConfig(
        num_hidden_layers=1,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=64,
        vocab_size=100,
        max_position_embeddings=40,
    )
    return prune_model(BertModel(config).eval(), parse_scheme("bcr", "4x1"), 0.8)[0]


@pytest.fixture(scope="session")
def inputs():
    ids = torch.randint(0, 100, (1, TOKENS), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[:, 15:] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.fixture(scope="session")
def expected(pruned_bert, inputs):
    with torch.no_grad():
        return [tensor.numpy() for tensor in pruned_bert(**inputs).to_tuple()]


class Built:
    """A lowered model: its assembly, the arrays to call it with, and its parameters in a file."""

    def __init__(self, module, inputs, target, lowering, numbers, folder):
        loaded = load(module, inputs, TOKENS, 1)
        imported = import_model(loaded.module, loaded.example_inputs)
        self.target = get_target(target)
        lowered = Lowering(imported.module, imported.weights)
        lowered.lower("structural", pipeline_to("structural"))
        options = Options(1, False, "iree", None, lambda stage: None, numbers=NumberPlan(number_format(*numbers)))
        self.build = TargetBuild(options, TargetOptions(self.target, lowering), lowered, None)
        self.build.lower()
        self.module, self.weights = lowered.module, lowered.weights
        self.assembly = iree.assemble(lowered.module, lowered.weights, target=self.target)
        self.arguments = in_order(imported.inputs, {name: np.asarray(value) for name, value in inputs.items()})
        self.parameters = folder / "weights.irpa"
        iree.write_parameters(self.parameters, self.assembly.parameters)


@pytest.fixture(scope="session")
def build(pruned_bert, inputs, tmp_path_factory):
    known = {}

    def make(target, lowering="gpu", module=None, numbers=("f32", "f32"), given=inputs):
        key = (target, lowering, id(module), numbers)
        if module is not None or key not in known:
            folder = tmp_path_factory.mktemp("gpu")
            known[key] = Built(module or pruned_bert, given, target, lowering, numbers, folder)
        return known[key]

    return make


@pytest.fixture(scope="session")
def error():
    """Relative L2 of the first output: the hidden states."""

    def measure(found, wanted):
        return float(np.linalg.norm(found[0] - wanted[0]) / np.linalg.norm(wanted[0]))

    return measure
