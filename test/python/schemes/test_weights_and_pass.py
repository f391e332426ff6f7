"""Arrays behind weight ops, and `sparsity-detect` on weights of a store."""

import numpy as np
import pytest
from torch_mlir import ir

from secateur.dialects.schemes import Bcr
from secateur.dialects.sparsity import load
from secateur.dialects.sparsity.ops.weight import WeightError, WeightOp, array_of, encoding_of, make_weight, symbol_of
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext, PassFailure, walk
from secateur.passes.structural.sparsity_detect import SparsityDetect


@pytest.fixture
def context():
    with ir.Context() as context, ir.Location.unknown():
        load(context)
        yield context


def weights_in(text: str) -> tuple[ir.Module, list[WeightOp]]:
    module = ir.Module.parse(text)
    return module, walk(module, "sparsity.weight")


@pytest.mark.parametrize(
    "literal,expected",
    [
        ("dense<[[1.0, 0.0], [2.0, -3.5]]> : tensor<2x2xf32>", np.array([[1, 0], [2, -3.5]], np.float32)),
        ("dense<0.25> : tensor<2x3xf32>", np.full((2, 3), 0.25, np.float32)),
        ("dense<[1, -2]> : tensor<2xi32>", np.array([1, -2], np.int32)),
        ("dense<7> : tensor<3xi64>", np.full(3, 7, np.int64)),
        ("dense<[true, false, true]> : tensor<3xi1>", np.array([True, False, True])),
        ("dense<true> : tensor<2x2xi1>", np.ones((2, 2), bool)),
        ("dense<2.0> : tensor<f32>", np.array(2, np.float32)),
    ],
)
def test_literals_are_read_and_made(context, literal, expected):
    module, [weight] = weights_in(f'%0 = "sparsity.weight"() {{source = {literal}}} : () -> {literal.split(" : ")[1]}')
    found = array_of(weight, WeightStore())
    assert found.dtype == expected.dtype and found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
    with ir.InsertionPoint.at_block_begin(module.body):
        made = make_weight(expected, "unused", WeightStore(), weight)
    assert made.source == weight.source and made.result.type == weight.result.type


def test_symbols_are_read_without_a_copy_and_made_under_a_free_name(context):
    store = WeightStore()
    store["a"] = np.arange(6, dtype=np.float32).reshape(2, 3)
    module, [weight] = weights_in(
        '%0 = "sparsity.weight"() {source = "a", sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<2x3xf32>'
    )
    assert array_of(weight, store) is store["a"]
    with ir.InsertionPoint(weight):
        made = make_weight(store["a"].T, "a", store, weight)
        again = make_weight(store["a"].T, "a", store, weight)
    assert symbol_of(made) == symbol_of(again) == "a.1"
    np.testing.assert_array_equal(array_of(made, store), store["a"].T)
    assert encoding_of(made) is None and encoding_of(weight) is not None
    assert module.operation.verify()


def test_an_array_that_does_not_fit_is_a_sentence(context):
    _, [weight] = weights_in('%0 = "sparsity.weight"() {source = "a"} : () -> tensor<2x3xf32>')
    store = WeightStore()
    with pytest.raises(WeightError, match="names 'a', which the weight store does not hold"):
        array_of(weight, store)
    store["a"] = np.zeros((3, 2), np.float32)
    with pytest.raises(WeightError, match="'a' in the weight store to be tensor<2x3xf32>, found tensor<3x2xf32>"):
        array_of(weight, store)
    store["a"] = np.zeros((2, 3))
    with pytest.raises(WeightError, match="found tensor<2x3xf64>"):
        array_of(weight, store)


LINEAR = """
func.func @main(%x: tensor<2x64xf32>) -> (tensor<2x32xf32>, tensor<2x32xf32>) {
  %w = "sparsity.weight"() {source = "w"} : () -> tensor<32x64xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x64xf32>, tensor<32x64xf32>) -> tensor<2x32xf32>
  %z = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x64xf32>, tensor<32x64xf32>) -> tensor<2x32xf32>
  return %y, %z : tensor<2x32xf32>, tensor<2x32xf32>
}
"""


def test_statistics_count_a_shared_weight_once(context):
    array = np.repeat(np.random.default_rng(0).random((4, 64)) < 0.1, 8, axis=0).astype(np.float32)
    module, _ = weights_in(LINEAR)
    store = WeightStore()
    store["w"] = array
    statistics = PassContext(store)
    SparsityDetect().run(module, statistics)
    kept = int(array.sum())
    assert statistics.statistics == {
        "weights-encoded": 1,
        "weights-bcr": 1,
        "zeros": array.size - kept,
        "packed-bytes": Bcr(8, 1).packed_bytes(array != 0),
        "dense-bytes": 4 * array.size,
    }
    text = str(module)
    again = PassContext(store)
    SparsityDetect().run(module, again)
    assert str(module) == text
    assert again.statistics["weights-verified"] == 1 and "weights-encoded" not in again.statistics


def test_a_missing_symbol_fails_at_the_weight(context):
    module, _ = weights_in(LINEAR)
    with pytest.raises(PassFailure) as failure:
        SparsityDetect().run(module, PassContext())
    assert failure.value.message == "'sparsity.weight' op names 'w', which the weight store does not hold"


def test_summary_and_options():
    assert SparsityDetect.options() == {"force": (bool, False)}
    assert SparsityDetect(force=True).argument() == "sparsity-detect{force=true}"
