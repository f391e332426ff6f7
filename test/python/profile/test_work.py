"""Operations and bytes of level-3 ops, counted by hand and from dense weights."""

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.build.work import (
    LocatedWork,
    Work,
    join_work,
    real_tokens,
    work_of,
    work_of_module,
)
from secateur.compiler.pipeline.context import make_context
from secateur.dialects.locations import module_paths
from secateur.dialects.sparsity.packed_tiles import kept_weights
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import walk
from secateur.passes.scheduled.sparsity_eliminate_loads import join_rows
from secateur.passes.scheduled.sparsity_pack import pack_rows
from secateur.runtime_targets.iree.dispatches import DispatchCall

ATTENTION = """
func.func @main(%q: tensor<1x2x24x16xf32>, %k: tensor<1x4x24x16xf32>, %b: tensor<1x64xf32>) -> tensor<1x2x24x16xf32> {
  %y = "sparsity.attention"(%q, %k, %k, %b) {heads = 3 : i64, kv_heads = 3 : i64, scale = 1.0 : f64, causal = false,
    layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0>}
    : (tensor<1x2x24x16xf32>, tensor<1x4x24x16xf32>, tensor<1x4x24x16xf32>, tensor<1x64xf32>) -> tensor<1x2x24x16xf32>
  return %y : tensor<1x2x24x16xf32>
}
"""
PANELS = """
func.func @main(%x: tensor<2x37x8xf32>) -> tensor<2x37x8xf32> {
  %p = "sparsity.to_panels"(%x) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>}
    : (tensor<2x37x8xf32>) -> tensor<2x3x8x16xf32>
  %a = "sparsity.activation"(%p) {kind = "gelu", layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>}
    : (tensor<2x3x8x16xf32>) -> tensor<2x3x8x16xf32> loc(fused["a.b"("x.py":1:1), "a"("x.py":2:1)])
  %y = "sparsity.from_panels"(%a) {layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>}
    : (tensor<2x3x8x16xf32>) -> tensor<2x37x8xf32>
  return %y : tensor<2x37x8xf32>
}
"""


def _parse(text):
    with make_context():
        return ir.Module.parse(text)


@pytest.mark.parametrize("row_tile", [1, 4, 6])
@pytest.mark.parametrize("join", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_kept_weights_are_the_nonzeros_of_the_matrix(row_tile, join, seed):
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(row_tile, 30))
    weight = rng.standard_normal((rows, 20)).astype(np.float32)
    # Some layers in bands of equal columns, some without a rule, one with an empty row.
    keep = (
        rng.random((rows, 20)) < 0.4 if seed % 2 else np.repeat(rng.random((-(-rows // 5), 20)) < 0.5, 5, axis=0)[:rows]
    )
    weight *= keep
    weight[rows // 2] = 0
    packed = pack_rows(weight, rng.permutation(rows), row_tile)
    values, columns, segments, offsets = packed.values, packed.columns, packed.segments, packed.offsets
    masks = [1 << i for i in range(row_tile)]
    if join:
        joined = join_rows(values, columns, segments, offsets)
        values, segments, offsets, masks = joined.values, joined.segments, joined.offsets, joined.masks
    kept, computed = kept_weights(values, segments, offsets, packed.rows, masks)
    assert kept == np.count_nonzero(weight)
    assert computed == values.size


def test_attention_counts_products_softmax_and_shared_operands_once():
    module = _parse(ATTENTION)
    work = work_of(walk(module, "sparsity.attention")[0], WeightStore(), {(2, 16): 20, (4, 16): 50})
    per_score = 2 * 8 + 2 * 8 + 5 + 1
    assert work.flops == 3 * 20 * (50 * per_score + 8)
    assert work.flops + work.padding_flops == 3 * 32 * (64 * per_score + 8)
    assert work.read_bytes == 4 * (2 * 24 * 16 + 4 * 24 * 16 + 64)
    assert work.written_bytes == 4 * 2 * 24 * 16
    assert work.weight_bytes == work.index_bytes == 0


def test_attention_on_bytes_tells_its_products_from_its_softmax():
    text = """
    func.func @main(%q: tensor<1x2x24x16xf32>, %kv: tensor<1x4x3x384xi8>) -> tensor<1x2x24x16xf32> {
      %y = "sparsity.quantized_attention"(%q, %kv) {heads = 3 : i64, kv_heads = 3 : i64, depth = 8 : i64,
        value_depth = 8 : i64, offset = 0 : i64, scale = 1.0 : f64, causal = false, zero_point = 128 : i64,
        layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>}
        : (tensor<1x2x24x16xf32>, tensor<1x4x3x384xi8>) -> tensor<1x2x24x16xf32>
      return %y : tensor<1x2x24x16xf32>
    }
    """
    module = _parse(text)
    work = work_of(walk(module, "sparsity.quantized_attention")[0], WeightStore(), {(2, 16): 20, (4, 16): 50})
    products = 2 * 8 + 2 * 8
    assert work.byte_flops == 3 * 20 * 50 * products
    assert work.flops == work.byte_flops + 3 * 20 * (50 * 9 + 3 * 8 + 2 * 8)


def test_tokens_that_fill_a_panel_are_padding():
    module = _parse(PANELS)
    assert real_tokens(module) == {(3, 16): 37}
    [found] = work_of_module(module, WeightStore())
    assert found.work.flops == 5 * 2 * 37 * 8
    assert found.work.padding_flops == 5 * 2 * 11 * 8
    assert found.paths == ("a.b",)


@pytest.mark.parametrize(
    ("location", "paths"),
    [
        ('"a.b"("x.py":1:2)', ("a.b",)),
        ('"x.py":1:2', ()),
        ("unknown", ()),
        ('fused["a.q", "a.k", "a.q"]', ("a.q", "a.k")),
        # The parent of another path says nothing new; a path that only begins alike does.
        ('fused["a", "a.b", "a.bc"]', ("a.b", "a.bc")),
        # An inlined op without a name of its own has that of the call.
        ('callsite("-":2:9 at "a.b"("x.py":1:2))', ("a.b",)),
        ('callsite("a.b" at "main")', ("a.b",)),
    ],
)
def test_module_paths_of_a_location(location, paths):
    module = _parse(f"func.func private @f() loc({location})")
    assert module_paths(module.body.operations[0].location) == paths


def _op(flops, *paths, result="tensor<4xf32>"):
    return LocatedWork(paths, result, Work(flops, 1, 2, 3, 4, 5))


def _call(kernel, *paths, results=("tensor<4xf32>",), own=True, flops=0):
    return DispatchCall(kernel, paths, results, own, flops, 20, 40, 50)


def test_work_is_found_by_place_and_type_each_once():
    ops = [_op(1, "a.0"), _op(2, "a.0"), _op(3, "a.1"), _op(4, "a.1", result="tensor<8xf32>")]
    calls = [_call("k", "a.1"), _call("k", "a.0"), _call("k", "a.0"), _call("other", "a.0")]
    found = join_work(ops, calls)
    assert [entry.flops for entry in found] == [3, 1, 2, None]
    assert (found[0].weight_bytes, found[0].index_bytes) == (2, 3)
    # Not found: what IREE's text says of the bytes, and no operations.
    assert (found[3].weight_bytes, found[3].read_bytes, found[3].written_bytes) == (20, 40, 50)


def test_a_chain_of_dispatches_has_the_work_of_all():
    ops = [_op(1, "l.0.self"), _op(2, "l.0.self.out"), _op(4, "l.1.self"), _op(8, "l.1.self.out")]
    # The place of the first op is left out of the chain's: the second one's contains it.
    two = ("tensor<4xf32>", "tensor<4xf32>")
    found = join_work(ops, [_call("chain", f"l.{i}.self.out", results=two) for i in (0, 1)])
    assert [entry.flops for entry in found] == [3, 12]
    assert found[0].padding_flops == 2


def test_dispatches_that_iree_formed_keep_their_own_figures():
    found = join_work(
        [_op(1, "a")], [_call("main_dispatch_0", "a", own=False, flops=7), _call("m", own=False, flops=None)]
    )
    assert [(entry.flops, entry.weight_bytes) for entry in found] == [(7, 20), (None, 20)]
