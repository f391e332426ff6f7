"""Ops of models that round their activations are each held against their own reference."""

import numpy as np
import pytest
import torch
from torch_mlir.dialects import arith
from transformers import BertConfig, BertModel

from secateur.compiler import compile_model
from secateur.compiler.errors import VerificationError
from secateur.passes.kernels import byte_products, elementwise, quantize_tokens, quantized_linear

INPUTS = {"input_ids": torch.arange(40)[None] % 50, "attention_mask": torch.ones(1, 40, dtype=torch.int64)}


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
    return compile_model(model, INPUTS, weights="int8", arithmetic="int8", cache=False, **more)


def test_every_op_is_compared(model):
    (report,) = compiled(model).report.targets
    # Panels in and out, an embedding and its norm; in each layer four linears with two ops for their bytes, attention
    # and two norms.
    assert report.ops_compared >= 2 * (4 * 3 + 3)
    assert report.ops_error < 1e-5
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


def second_weight_twice(real):
    def weights(self, source, first, count):
        found = list(real(self, source, first, count))
        return iter([found[0], *found[:-1]])

    return weights


# Each changes what kernels compute by so little, or at so few places, that a whole model stays within its tolerance.
FAULTS = {
    "sums are scaled wrongly": (quantized_linear.arith, "sitofp", sitofp_off, "quantized_linear"),
    "activations are rounded off the grid": (quantize_tokens, "inverse_of", inverse_off, "quantize_tokens"),
    "weights of neighbours": (byte_products.ByteProducts, "weights", second_weight_twice, "quantized_linear"),
    "norms with another epsilon": (elementwise.math, "sqrt", lambda real: lambda x: slightly(real(x)), "layer_norm"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_small_faults_of_kernels_are_found(model, monkeypatch, fault):
    where, name, broken, op = FAULTS[fault]
    monkeypatch.setattr(where, name, broken(getattr(where, name)))
    with pytest.raises(VerificationError, match=f"computes something else than the op 'sparsity.{op}'"):
        compiled(model)


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
