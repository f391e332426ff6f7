"""`compile_model(weights=...)`: compared with PyTorch on rounded weights, the error of rounding reported."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from transformers import BertConfig, BertModel

from secateur.compiler import compile_model
from secateur.compiler.build.report import Report
from secateur.compiler.errors import CompileError, VerificationError
from secateur.compression.prune import parse_scheme, prune_model
from secateur.runtime_targets import open_bundle


def bert(pruned=True):
    torch.manual_seed(0)
    config = BertConfig(
        num_hidden_layers=1,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=64,
        vocab_size=100,
        max_position_embeddings=128,
    )
    model = BertModel(config).eval()
    for part in model.modules():
        if pruned and isinstance(part, nn.Linear):
            prune.random_unstructured(part, "weight", 0.5)
    return model


IDS = torch.randint(0, 100, (2, 24), generator=torch.Generator().manual_seed(1))
INPUTS = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}
# As many tokens as fill attention's scratch memory: nothing is left of the stack for another kernel of a chain.
LONG = {name: tensor[:1].repeat(1, 5) for name, tensor in INPUTS.items()}


@pytest.mark.parametrize(("weights", "low", "high", "ratio"), [("f16", 1e-5, 1e-3, 0.5), ("int8", 1e-3, 5e-2, 0.25)])
def test_a_model_is_compared_with_its_rounded_weights(tmp_path, weights, low, high, ratio):
    model = bert()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options = {"weights": weights, "threads": 2}
    compiled = compile_model(model, LONG, **options)
    report = compiled.report
    # The f32 tolerance: the code computes with the very numbers that PyTorch was given.
    # Two outputs in four cases: random, padded, short, and all tokens masked.
    assert len(report.verification) == 2 * 4
    assert all(d.passed and d.tolerance.relative_l2 == 1e-5 for d in report.verification)
    stored = report.quantization
    assert stored.weights == weights
    assert stored.exact
    assert low < stored.relative_l2 < high
    # Scales and padding are much of layers as small as these.
    assert ratio * stored.f32_bytes < stored.stored_bytes < (ratio + 0.1) * stored.f32_bytes
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))).quantization == stored
    with torch.no_grad():
        expected = model(**LONG).last_hidden_state
    found = compiled(**LONG)["last_hidden_state"]
    error = float(torch.linalg.norm(torch.as_tensor(np.asarray(found)) - expected) / torch.linalg.norm(expected))
    assert low < error < high
    # The caller's model is as it was, and a second compilation comes from the cache.
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    again = compile_model(model, LONG, **options)
    assert again.report.cached
    assert again.report.quantization == stored
    assert compile_model(model, LONG).report.quantization is None
    # What a device compares itself with is the output of the rounded weights, too.
    compiled.save(tmp_path / "model.bundle")
    test = open_bundle(tmp_path / "model.bundle").manifest.self_test
    assert test.tolerances["host-cpu"].relative_l2 == 1e-5


@pytest.mark.parametrize("weights", ["f16", "int8"])
def test_plain_linalg(weights):
    compiled = compile_model(bert(), INPUTS, weights=weights, lowering="portable")
    assert compiled.report.quantization.exact
    assert all(d.tolerance.relative_l2 == 1e-5 for d in compiled.report.verification)


class Scaled(nn.Module):
    """Layers behind a scale per column, which fusion folds into the weight."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.second = nn.Linear(24, 40), nn.Linear(40, 8)
        self.scale = nn.Parameter(torch.rand(24) + 0.1)

    def forward(self, x):
        return self.second(torch.relu(self.first(x * self.scale)))


@pytest.mark.parametrize("weights", ["f16", "int8"])
def test_rows_that_fusion_changed_are_compared_coarsely(weights):
    compiled = compile_model(Scaled(), {"x": torch.randn(2, 20, 24)}, weights=weights)
    assert not compiled.report.quantization.exact
    assert compiled.report.verification[0].tolerance.relative_l2 > 1e-3
    assert compiled.report.verification[0].passed


@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="needs qemu-aarch64 (Debian: qemu-user)")
def test_arithmetic_in_f16_on_emulated_arm():
    model = prune_model(bert(pruned=False), parse_scheme("bcr", "4x1"), 0.5)[0]
    options = {"target": "android-arm64:cortex-a76", "weights": "f16"}
    single = compile_model(model, INPUTS, **options).report.targets[0]
    half = compile_model(model, INPUTS, arithmetic="f16", **options).report.targets[0]
    assert half.statistics["sparsity-quantize"]["layers-with-sums-in-f16"] >= 3
    errors = [max(d.relative_l2 for d in report.verification) for report in (single, half)]
    assert 3 * errors[0] < 1e-5 < errors[1] < 5e-3
    assert half.verification[0].tolerance.relative_l2 == 2e-2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "f16"}, "the target 'host-cpu' has no arithmetic in f16 that is used; accepted are Arm CPUs from"),
        ({}, "arithmetic in f16 takes weights of f16, found weights of f32"),
        ({"weights": "f16", "target": "android-arm64:cortex-a53"}, "cortex-a53' has no arithmetic in f16"),
    ],
)
def test_arithmetic_that_is_not_there(options, message):
    with pytest.raises(CompileError, match=message):
        compile_model(nn.Linear(4, 4), {"input": torch.randn(1, 4)}, arithmetic="f16", **options)


def test_few_tokens():
    compiled = compile_model(nn.Linear(40, 70), {"input": torch.randn(1, 2, 40)}, weights="int8")
    assert compiled.report.quantization.exact
    assert all(d.tolerance.relative_l2 == 1e-5 for d in compiled.report.verification)


def test_weights_that_f16_does_not_hold():
    layer = nn.Linear(16, 16)
    with torch.no_grad():
        layer.weight[3, 5] = 1e5
    with pytest.raises(CompileError, match=r"at most 65504 to store them as f16, found 100000.0 in 'weight'"):
        compile_model(layer, {"input": torch.randn(1, 20, 16)}, weights="f16")
    compile_model(layer, {"input": torch.randn(1, 20, 16)}, weights="int8")


def test_a_model_of_which_nothing_is_left():
    # One large weight that multiplies zeros: the others of its row round to zero.
    layer = nn.Linear(8, 4, bias=False)
    with torch.no_grad():
        layer.weight.fill_(1e-3)
        layer.weight[:, 0] = 1.0

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x * torch.tensor([0.0, *[1.0] * 7]))

    with pytest.raises(VerificationError, match="with weights of int8 nothing is left of output"):
        compile_model(Masked(), {"x": torch.randn(1, 20, 8)}, weights="int8")


def test_an_unknown_format():
    with pytest.raises(CompileError, match="unknown 'weights' 'int4'; accepted: f32, f16, int8"):
        compile_model(nn.Linear(4, 4), {"input": torch.randn(1, 4)}, weights="int4")


def test_a_target_without_small_numbers():
    with pytest.raises(CompileError, match="numbers of 32 bits only and cannot read weights of f16; name the GPU's"):
        compile_model(nn.Linear(4, 4), {"input": torch.randn(1, 4)}, weights="f16", target="android-vulkan")
