"""Ops of models that round their activations are each held against their own reference."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn
from torch_mlir.dialects import arith
from transformers import BertConfig, BertModel

from secateur.compiler import compile_model
from secateur.compiler.build import verified_build
from secateur.compiler.errors import VerificationError
from secateur.compiler.verify.comparison import Difference
from secateur.compiler.verify.op_by_op import check_ops
from secateur.dialects.number_formats import Tolerance
from secateur.passes.kernels import elementwise, quantize_tokens, quantized_linear

INPUTS = {"input_ids": torch.arange(40)[None] % 50, "attention_mask": torch.ones(1, 40, dtype=torch.int64)}

NEEDS_QEMU = pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="needs qemu-aarch64 (Debian: qemu-user)")
# With an instruction for dot products of bytes, and without.
A76, A53 = (pytest.param(f"android-arm64:cortex-{core}", marks=NEEDS_QEMU) for core in ("a76", "a53"))


class Block(nn.Module):
    """A transformer's layer without its attention: quick to compile."""

    def __init__(self):
        super().__init__()
        self.norm, self.wide, self.narrow = nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 32)

    def forward(self, x):
        return x + self.narrow(nn.functional.gelu(self.wide(self.norm(x))))


@pytest.fixture(scope="module")
def block():
    torch.manual_seed(0)
    return Block().eval()


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(**sizes, vocab_size=50, max_position_embeddings=64, initializer_range=0.2)
    found = BertModel(config, add_pooling_layer=False).eval()
    # One layer reads rows of bytes.
    found.encoder.layer[1].output.dense.weight.data[:, ::3] = 0.0
    return found


def compiled(model, **more):
    inputs = {"x": torch.randn(1, 40, 32)} if isinstance(model, Block) else INPUTS
    return compile_model(model, inputs, weights="int8", arithmetic="int8", cache=False, **more)


@pytest.fixture
def ops(monkeypatch):
    """The figures of every op of the model that is compiled, and its target: they are not checked."""
    given = []
    monkeypatch.setattr(verified_build, "check_ops", lambda *figures: given.extend(figures))
    return given


@pytest.mark.parametrize("target", ["host-cpu", A76])
def test_every_op_is_compared(model, ops, target):
    (report,) = compiled(model, target=target).report.targets
    # Panels in and out, an embedding and its norm; in each layer four linears with two ops for their bytes, attention
    # and two norms.
    assert report.ops_compared == len(ops[0]) >= 2 * (4 * 3 + 3)
    assert report.ops_error == max(op.error for op in ops[0])
    # A weight of attention that lies between two bytes may become either.
    assert max(op.error for op in ops[0] if op.name != "sparsity.quantized_attention") < 1e-5
    assert report.ops_error < 3e-3
    # Whole models are much further away than that: their roundings differ.
    assert max(d.relative_l2 for d in report.verification) > 1e-4


def test_the_bundle_says_so(model, tmp_path):
    from secateur.runtime_targets.bundle import open_bundle

    compiled(model).save(tmp_path / "bundle")
    (target,) = open_bundle(tmp_path / "bundle").manifest.targets
    assert "ops against its own reference" in target.note


def test_without_rounding_ops_are_not_compared(model):
    (report,) = compile_model(model, INPUTS, weights="int8", cache=False).report.targets
    assert report.ops_compared == 0


def slightly(value):
    return arith.mulf(value, quantized_linear_constant(value, 1.0 + 2e-4))


def quantized_linear_constant(like, number):
    from torch_mlir import ir

    element = ir.FloatAttr.get(ir.F32Type.get(), number)
    return arith.constant(like.type, ir.DenseElementsAttr.get_splat(like.type, element))


def sitofp_off(real):
    return lambda kind, value: slightly(real(kind, value))


def inverse_off(real):
    return lambda *given: slightly(real(*given))


def one_more(real):
    def load(source, row):
        found = real(source, row)
        return arith.addi(found, arith.constant(found.type, 1))

    return load


# Each changes what kernels compute by so little that a whole model stays within its tolerance.
FAULTS = {
    "sums are scaled wrongly": (quantized_linear.arith, "sitofp", sitofp_off, "quantized_linear"),
    "activations are rounded off the grid": (quantize_tokens, "inverse_of", inverse_off, "quantize_tokens"),
    "sums in integers start with one more": (quantized_linear, "_load", one_more, "quantized_linear"),
    "norms with another epsilon": (elementwise.math, "sqrt", lambda real: lambda x: slightly(real(x)), "layer_norm"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("target", ["host-cpu", A76])
def test_small_faults_of_kernels_are_seen_in_their_ops_alone(model, block, ops, monkeypatch, fault, target):
    where, name, broken, op = FAULTS[fault]
    if name == "_load" and target != "host-cpu":
        # Signed products need nothing taken off again: their sums start with zeros, which no array has.
        name, broken = "whole", lambda real: lambda lanes, value: real(lanes, value + 1)
    monkeypatch.setattr(where, name, broken(getattr(where, name)))
    # The outputs of the whole model are as near to PyTorch's as they must be.
    compiled(model if target == "host-cpu" else block, target=target)
    with pytest.raises(VerificationError, match=f"the code for '{target}' computes .* than the op 'sparsity.{op}'"):
        check_ops(*ops)


@pytest.mark.parametrize("target", ["host-cpu", A53])
def test_a_model_with_a_fault_is_not_compiled(block, monkeypatch, target):
    compiled(block, target=target)
    monkeypatch.setattr(quantize_tokens, "inverse_of", inverse_off(quantize_tokens.inverse_of))
    with pytest.raises(VerificationError, match=r"computes something else than the op 'sparsity.quantize_tokens'"):
        compiled(block, target=target)


@pytest.mark.parametrize("target", ["host-cpu", A53])
def test_where_all_ops_are_right_layers_are_not_searched(block, monkeypatch, target):
    far = Difference("random", "output", 1.0, 1.0, Tolerance(1e-1, 2e-1))
    monkeypatch.setattr(verified_build, "_compare", lambda *_: [far])
    with pytest.raises(VerificationError, match="all 9 ops compute what their references do, so it is the rounding"):
        compiled(block, target=target, verify="layers")


def test_a_difference_of_bytes_is_counted_in_steps():
    from secateur.compiler.verify.op_by_op import _difference

    class Op:
        ACCEPTED, attributes, location = None, {}, None

        class operation:
            name = "sparsity.quantize_tokens"

    expected = np.zeros(10_000, np.int8)
    for moved, by, passed in ((0, 1, True), (10, 1, True), (11, 1, False), (1, 2, False)):
        found = expected.copy()
        found[:moved] = by
        assert _difference(Op, found, expected).passed == passed
