"""Builders of ops: what a pass writer calls in place of the constructor of the bindings."""

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.dialects.sparsity.ops import OPS, AddOp, LinearOp, PackedLinearOp
from secateur.dialects.sparsity.reference import evaluate
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import walk

TEXT = """
func.func @main(%x: tensor<2x4xf32>, %w: tensor<8x4xf32>, %b: tensor<8xf32>) -> tensor<2x8xf32> {
  %y = "sparsity.linear"(%x, %w, %b) {activation = "relu", operandSegmentSizes = array<i32: 1, 1, 1, 0>}
       : (tensor<2x4xf32>, tensor<8x4xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  return %y : tensor<2x8xf32>
}
"""


@pytest.fixture
def linear():
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(TEXT)
        op = walk(module, "sparsity.linear")[0]
        with ir.InsertionPoint(op):
            yield op
        assert module.operation.verify()


def test_a_linear_is_built_from_names_and_python_values(linear) -> None:
    made = LinearOp.build(x=linear.x, weight=linear.weight, bias=linear.bias, residual=linear.result, activation="gelu")
    assert made.result.type == linear.result.type
    assert made.attributes["activation"].value == "gelu"
    assert list(made.attributes["operandSegmentSizes"]) == [1, 1, 1, 1]
    made.operation.erase()


def test_rebuilding_keeps_what_is_not_named_and_drops_none(linear) -> None:
    linear.attributes["other.note"] = ir.StringAttr.get("kept")
    made = linear.rebuild(bias=None)
    assert made.bias is None and made.residual is None and made.weight == linear.weight
    assert made.attributes["activation"].value == "relu"
    assert made.attributes["other.note"].value == "kept"
    without = made.rebuild(activation=None)
    assert "activation" not in without.attributes
    random = np.random.default_rng(3)
    x, w = random.standard_normal((2, 4), np.float32), random.standard_normal((8, 4), np.float32)
    np.testing.assert_allclose(evaluate(without, [x, w], WeightStore())[0], x @ w.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(evaluate(made, [x, w], WeightStore())[0], np.maximum(x @ w.T, 0), rtol=1e-5, atol=1e-6)


def test_every_result_that_follows_from_operands_is_inferred_as_the_verifier_wants_it(linear) -> None:
    norm = OPS["sparsity.layer_norm"].build(x=linear.x, weight=linear.x, bias=linear.x, epsilon=1e-5)
    assert norm.result.type == linear.x.type
    norm.operation.erase()
    assert AddOp.build(lhs=linear.x, rhs=linear.x).operation.verify()
    assert OPS["sparsity.activation"].build(x=linear.x, kind="silu").operation.verify()


def test_unknown_and_missing_fields_are_named(linear) -> None:
    with pytest.raises(TypeError, match=r"'sparsity\.linear' has no field 'activations'; it has x, weight, "):
        LinearOp.build(x=linear.x, weight=linear.weight, activations="gelu")
    with pytest.raises(TypeError, match="weight"):
        LinearOp.build(x=linear.x)
    with pytest.raises(TypeError, match="the type of the result must be given"):
        PackedLinearOp.build(x=linear.x)
