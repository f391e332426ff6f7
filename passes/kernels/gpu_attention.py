"""The two kernels of `sparsity.attention` in feature-major panels on a GPU: scores, and the context with its softmax.

scores    a thread computes four queries times some keys of a head: products of a vector of queries with a vector of
          keys, feature by feature; scale and biases follow. Scores lie in memory as [batch, panels, heads, keys,
          panel], so that the queries of neighbouring threads are neighbours.
context   a thread computes four queries times some features of a head: the largest score of each query, then over all
          keys the exponentials, their sum, and their products with the values; a division ends it. The threads of other
          features find the same exponentials; that is cheaper than to write them and read them again.

There is no shared memory, no barrier and no subgroup operation: the code is right for any number of lanes.
"""

import dataclasses

from torch_mlir import ir
from torch_mlir.dialects import arith, math, vector

from secateur.dialects.sparsity.ops.attention import head_slices
from secateur.dialects.sparsity.rules import layout_of

from ..target import TOKENS_OF_A_THREAD
from .build import F32_LOWEST, Lanes, Value, add, index, largest_divisor, loop, mul

_KEYS = 8
# With four, twice as many threads find the same exponentials: three times slower on lavapipe. Sixteen were no faster.
_FEATURES = 8


@dataclasses.dataclass(frozen=True)
class AttentionGrids:
    """Points of the grids of both kernels: (vectors of queries, pieces, heads of all panels of all sequences), and what
    a thread computes: `keys`, and `features` of a head. `scores` is the shape between the two."""

    scores_grid: list[int]
    context_grid: list[int]
    keys: int
    features: int
    scores: list[int]


def attention_grids(op: ir.OpView) -> AttentionGrids:
    """The grids for an op that fits (`fits_attention`)."""
    layout = layout_of(op)
    batch, panels, _, panel = layout.sizes(op.result.type.shape)
    heads, keys = op.heads.value, layout.sizes(op.key.type.shape)[1] * panel
    _, _, out_depth = head_slices(op)
    vectors, places = panel // TOKENS_OF_A_THREAD, heads * panels * batch
    features = largest_divisor(out_depth, _FEATURES)
    return AttentionGrids(
        [vectors, keys // _KEYS, places],
        [vectors, out_depth // features, places],
        _KEYS,
        features,
        [batch, panels, heads, keys, panel],
    )


def _place(op: ir.OpView, number: Value) -> tuple[Value, Value, Value, Value]:
    """Batch, panel, head and head of keys and values of a place in the third direction of the grid."""
    batch, panels, _, _ = layout_of(op).sizes(op.result.type.shape)
    heads = op.heads.value
    head, rest = arith.remui(number, index(heads)), arith.divui(number, index(heads))
    # Of one sequence the panel is the number itself.
    sequence = index(0) if batch == 1 else arith.divui(rest, index(panels))
    panel = rest if batch == 1 else arith.remui(rest, index(panels))
    shared = heads // op.kv_heads.value
    return sequence, panel, head, head if shared == 1 else arith.divui(head, index(shared))


def build_scores(op: ir.OpView, a: dict[str, Value], scores: Value, place: list[Value]) -> None:
    """Adds the body of the first kernel. `place` is (vector of queries, tile of keys, head of all panels)."""
    lanes, panel_size = Lanes(TOKENS_OF_A_THREAD), layout_of(op).tile()[0]
    batch, panel, head, kv_head = _place(op, place[2])
    starts, depth, _ = head_slices(op)
    query, key = mul(place[0], TOKENS_OF_A_THREAD), mul(place[1], _KEYS)
    key_panel, in_panel = arith.divui(key, index(panel_size)), arith.remui(key, index(panel_size))
    query_row, key_row = add(mul(head, depth), starts[0]), add(mul(kv_head, depth), starts[1])

    def products(feature: Value, sums: list[Value]) -> list[Value]:
        queries = lanes.load(a["query"], [batch, panel, arith.addi(query_row, feature), query])
        new = []
        for first in range(0, _KEYS, TOKENS_OF_A_THREAD):
            at = [batch, key_panel, arith.addi(key_row, feature), add(in_panel, first)]
            keys = lanes.load(a["key"], at)
            for i in range(TOKENS_OF_A_THREAD):
                new.append(vector.fma(lanes.spread(vector.extract(keys, [], [i])), queries, sums[first + i]))
        return new

    sums = loop(0, depth, 1, [lanes.constant(0.0)] * _KEYS, products)
    token = arith.addi(mul(panel, panel_size), query)
    for i, total in enumerate(sums):
        number = add(key, i)
        score = arith.mulf(total, lanes.constant(op.scale.value))
        if "key_bias" in a:
            score = arith.addf(score, lanes.spread_load(a["key_bias"], [batch, number]))
        if "bias" in a:
            shape = op.bias.type.shape
            at = [batch if shape[0] > 1 else index(0), head if shape[1] > 1 else index(0), number, token]
            score = arith.addf(score, lanes.load(a["bias"], at))
        if op.causal.value:
            score = _without_later_keys(lanes, score, number, token)
        lanes.store(score, scores, [batch, panel, head, number, query])


def _without_later_keys(lanes: Lanes, score: Value, key: Value, token: Value) -> Value:
    """Minus infinity for queries, from `token` on, before the key."""
    kind = ir.VectorType.get([lanes.width], ir.IndexType.get())
    steps = ir.DenseElementsAttr.get([ir.IntegerAttr.get(ir.IndexType.get(), i) for i in range(lanes.width)], kind)
    tokens = arith.addi(vector.broadcast(kind, token), arith.constant(kind, steps))
    later = arith.cmpi(arith.CmpIPredicate.ugt, vector.broadcast(kind, key), tokens)
    return arith.select(later, lanes.constant(float("-inf")), score)


def build_context(op: ir.OpView, a: dict[str, Value], scores: Value, place: list[Value], features: int) -> None:
    """Adds the body of the second kernel. `place` is (vector of queries, run of `features` of a head, head of all
    panels)."""
    lanes, panel_size = Lanes(TOKENS_OF_A_THREAD), layout_of(op).tile()[0]
    batch, panel, head, kv_head = _place(op, place[2])
    starts, _, out_depth = head_slices(op)
    query, first_feature = mul(place[0], TOKENS_OF_A_THREAD), mul(place[1], features)
    value_row = add(arith.addi(mul(kv_head, out_depth), first_feature), starts[2])
    keys = layout_of(op).sizes(op.key.type.shape)[1] * panel_size

    def score_of(key: Value) -> Value:
        return lanes.load(scores, [batch, panel, head, key, query])

    # The lowest finite number to begin with: where all keys are at minus infinity, all exponentials are zero.
    (largest,) = loop(0, keys, 1, [lanes.constant(F32_LOWEST)], lambda key, m: [arith.maxnumf(m[0], score_of(key))])

    def four_keys(number: Value, carried: list[Value]) -> list[Value]:
        key = mul(number, TOKENS_OF_A_THREAD)
        key_panel, in_panel = arith.divui(key, index(panel_size)), arith.remui(key, index(panel_size))
        powers = [math.exp(arith.subf(score_of(add(key, i)), largest)) for i in range(TOKENS_OF_A_THREAD)]
        *sums, total = carried
        for power in powers:
            total = arith.addf(total, power)
        for f in range(features):
            values = lanes.load(a["value"], [batch, key_panel, add(value_row, f), in_panel])
            for i, power in enumerate(powers):
                sums[f] = vector.fma(lanes.spread(vector.extract(values, [], [i])), power, sums[f])
        return [*sums, total]

    zeros = [lanes.constant(0.0)] * (features + 1)
    *sums, total = loop(0, keys // TOKENS_OF_A_THREAD, 1, zeros, four_keys)
    empty = arith.cmpf(arith.CmpFPredicate.OEQ, total, lanes.constant(0.0))
    total = arith.select(empty, lanes.constant(1.0), total)
    row = arith.addi(mul(head, out_depth), first_feature)
    for f, value in enumerate(sums):
        lanes.store(arith.divf(value, total), a["result"], [batch, panel, add(row, f), query])


def fits_attention(op: ir.OpView) -> bool:
    """Whether queries and keys lie in panels of whole tiles."""
    layout = layout_of(op)
    return layout is not None and layout.tile()[1] == 1 and layout.tile()[0] % _KEYS == 0


def threads_of(grid: list[int], most: int) -> list[int]:
    """Threads of a workgroup for a grid: all of its first direction, `most` together at most."""
    first = largest_divisor(grid[0], most)
    return [first, largest_divisor(grid[1], max(1, most // first)), 1]
