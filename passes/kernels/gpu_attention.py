"""The kernel of `sparsity.attention` in feature-major panels on a GPU: scores never leave a workgroup.

The threads of a workgroup have some vectors of four queries of one head; as many threads share a vector as pieces of
eight features make up the head's values. The keys pass by in tiles. Of a tile,

1. each thread computes scores of its queries with eight keys at a time (a feature is one load of queries, two of keys
   and eight multiply-adds), the largest of the eight, and the exponentials of their distances to it, which go into
   the workgroup's memory;
2. behind a barrier, each thread multiplies all exponentials of its queries with its eight features of the values (eight
   loads of values, four of exponentials, 32 multiply-adds).

Sums that were made with a smaller largest score are scaled down when a larger one comes (the running softmax of
Milakov and Gimelshein, arXiv 1805.02867; the tiles are those of Dao et al., FlashAttention, arXiv 2205.14135). So a
score is computed once and an exponential once, and a thread keeps eight sums.
"""

import dataclasses

from torch_mlir import ir
from torch_mlir.dialects import arith, math, memref, scf, vector

from secateur.dialects.sparsity.ops.attention import head_slices
from secateur.dialects.sparsity.rules import layout_of

from ..target import TOKENS_OF_A_THREAD
from .build import F32_LOWEST, Lanes, Value, add, index, largest_divisor, loop, mul
from .gpu_lanes import GpuLanes
from .workgroups import WORKGROUP_BYTES, barrier, shared_memory

_KEYS = 8
_FEATURES = 8
# Vectors of queries of a workgroup: 64 bytes, what a GPU's cache has in a line. More leave fewer keys for a tile.
_VECTORS = 4
_MOST_THREADS = 64
# Tiles that follow each other without a loop: all but the last then need no test whether a key is there. A loop around
# barriers takes 1.4 times as long on lavapipe.
_WRITTEN_OUT = 4


@dataclasses.dataclass(frozen=True)
class AttentionGrid:
    """How a workgroup of `vectors` times `pieces` threads divides its work: a thread has one vector of queries and one
    piece of `features` of the values, and computes scores `rounds` times per tile of keys. `blocks`: of all vectors of
    a panel; `places`: heads of all panels of all sequences."""

    vectors: int
    pieces: int
    features: int
    rounds: int
    blocks: int
    places: int

    @property
    def threads(self) -> int:
        return self.vectors * self.pieces

    @property
    def grid(self) -> list[int]:
        return [self.threads * self.blocks, self.places, 1]

    @property
    def groups(self) -> int:
        """Groups of keys in a tile."""
        return self.pieces * self.rounds


def attention_grid(op: ir.OpView) -> AttentionGrid | None:
    """The division of an op's work; None where it does not lie in panels of whole tiles, or a head has too many
    pieces for a workgroup."""
    layout = layout_of(op)
    if layout is None or layout.tile()[1] != 1 or layout.tile()[0] % _KEYS:
        return None
    batch, panels, _, panel = layout.sizes(op.result.type.shape)
    keys, (_, _, depth) = layout.sizes(op.key.type.shape)[1] * panel, head_slices(op)
    features = largest_divisor(depth, _FEATURES)
    pieces = depth // features
    if pieces > _MOST_THREADS:
        return None
    all_vectors = panel // TOKENS_OF_A_THREAD
    vectors = largest_divisor(all_vectors, min(_VECTORS, _MOST_THREADS // pieces))
    a_round = _KEYS * pieces * vectors * TOKENS_OF_A_THREAD * 4
    rounds = min(-(-keys // (pieces * _KEYS)), max(1, WORKGROUP_BYTES // 2 // a_round))
    places = op.heads.value * panels * batch
    return AttentionGrid(vectors, pieces, features, rounds, all_vectors // vectors, places)


@dataclasses.dataclass(frozen=True)
class _Place:
    """What a thread works on: sequence, panel, head, head of keys and values, its vector of queries in the panel and in
    the workgroup, its piece of the values, the number of its first token, and where its rows begin in each operand."""

    batch: Value
    panel: Value
    head: Value
    query: Value
    in_group: Value
    piece: Value
    token: Value
    query_row: Value
    key_row: Value
    value_row: Value
    result_row: Value


def _place(op: ir.OpView, sizes: AttentionGrid, thread: Value, number: Value) -> _Place:
    """The place of a point of the grid."""
    layout, heads = layout_of(op), op.heads.value
    (_, panels, _, panel_size), (starts, depth, out_depth) = layout.sizes(op.result.type.shape), head_slices(op)
    head, rest = arith.remui(number, index(heads)), arith.divui(number, index(heads))
    # Of one sequence the panel is the number itself.
    one = op.result.type.shape[0] == 1
    batch = index(0) if one else arith.divui(rest, index(panels))
    panel = rest if one else arith.remui(rest, index(panels))
    sharing = heads // op.kv_heads.value
    kv_head = head if sharing == 1 else arith.divui(head, index(sharing))
    block, in_workgroup = arith.divui(thread, index(sizes.threads)), arith.remui(thread, index(sizes.threads))
    piece = arith.divui(in_workgroup, index(sizes.vectors))
    in_group = arith.remui(in_workgroup, index(sizes.vectors))
    query = mul(arith.addi(mul(block, sizes.vectors), in_group), TOKENS_OF_A_THREAD)
    first_feature = mul(piece, sizes.features)
    return _Place(
        batch=batch,
        panel=panel,
        head=head,
        query=query,
        in_group=in_group,
        piece=piece,
        token=arith.addi(mul(panel, panel_size), query),
        query_row=add(mul(head, depth), starts[0]),
        key_row=add(mul(kv_head, depth), starts[1]),
        value_row=add(arith.addi(mul(kv_head, out_depth), first_feature), starts[2]),
        result_row=arith.addi(mul(head, out_depth), first_feature),
    )


class _Tile:
    """The workgroup's memory for a tile of keys: exponentials of [keys, vectors of queries], and of each group of eight
    keys the largest score and the sum of the exponentials."""

    def __init__(self, sizes: AttentionGrid, vector: ir.Type) -> None:
        self.powers = shared_memory([sizes.groups * _KEYS, sizes.vectors], vector)
        self.largest = shared_memory([sizes.groups, sizes.vectors], vector)
        self.totals = shared_memory([sizes.groups, sizes.vectors], vector)


def build_attention(op: ir.OpView, a: dict[str, Value], place: list[Value], sizes: AttentionGrid) -> None:
    """Adds the kernel's body. `place` is (thread in the panel's blocks, head of all panels, 0)."""
    lanes, at = GpuLanes(), _place(op, sizes, place[0], place[1])
    keys = layout_of(op).sizes(op.key.type.shape)[1] * layout_of(op).tile()[0]
    memory, tile_keys = _Tile(sizes, lanes.type), sizes.groups * _KEYS

    def tile(first: Value, carried: list[Value], cut: bool, last: bool) -> list[Value]:
        """The sums behind a tile, from those before it. `cut`: there may be fewer keys than fit it."""
        *sums, total, largest = carried

        def one_round(number: Value, _: list[Value]) -> list[Value]:
            group = arith.addi(mul(number, sizes.pieces), at.piece)
            key = arith.addi(first, mul(group, _KEYS))
            if cut:
                inside = arith.cmpi(arith.CmpIPredicate.ult, key, index(keys))
                with ir.InsertionPoint(scf.IfOp(inside).then_block):
                    _store_group(lanes, _scores(op, a, lanes, at, key), memory, group, at)
                    scf.YieldOp([])
            else:
                _store_group(lanes, _scores(op, a, lanes, at, key), memory, group, at)
            return []

        loop(0, sizes.rounds, 1, [], one_round)
        groups: Value | int = sizes.groups
        if cut:
            left = arith.subi(index(keys), first)
            groups = arith.divui(arith.minui(left, index(tile_keys)), index(_KEYS))
        barrier()

        def largest_of(group: Value) -> Value:
            return memref.load(memory.largest, [group, at.in_group])

        (now,) = loop(0, groups, 1, [largest], lambda group, m: [arith.maxnumf(m[0], largest_of(group))])
        fade = math.exp(arith.subf(largest, now))
        faded = [arith.mulf(value, fade) for value in (*sums, total)]

        def one_group(group: Value, carried: list[Value]) -> list[Value]:
            *sums, total = carried
            factor = math.exp(arith.subf(largest_of(group), now))
            total = vector.fma(factor, memref.load(memory.totals, [group, at.in_group]), total)
            key_panel, in_panel = _in_panels(op, arith.addi(first, mul(group, _KEYS)))
            for four in range(0, _KEYS, TOKENS_OF_A_THREAD):
                row = add(mul(group, _KEYS), four)
                powers = [memref.load(memory.powers, [add(row, i), at.in_group]) for i in range(TOKENS_OF_A_THREAD)]
                powers = [arith.mulf(power, factor) for power in powers]
                for f in range(sizes.features):
                    there = [at.batch, key_panel, add(at.value_row, f), add(in_panel, four)]
                    values = lanes.load(a["value"], there)
                    for i, power in enumerate(powers):
                        sums[f] = vector.fma(lanes.spread(vector.extract(values, [], [i])), power, sums[f])
            return [*sums, total]

        mixed = loop(0, groups, 1, faded, one_group)
        if not last:
            # The next tile takes the same memory.
            barrier()
        return [*mixed, now]

    # The lowest finite number to begin with: where all keys are at minus infinity, all exponentials are zero.
    state = [*[lanes.constant(0.0)] * (sizes.features + 1), lanes.constant(F32_LOWEST)]
    if keys <= _WRITTEN_OUT * tile_keys:
        for first in range(0, keys, tile_keys):
            left = keys - first
            state = tile(index(first), state, cut=left < tile_keys, last=left <= tile_keys)
    else:
        cut = keys % tile_keys != 0
        state = loop(0, keys, tile_keys, state, lambda first, carried: tile(first, carried, cut, last=False))
    *sums, total, _ = state
    empty = arith.cmpf(arith.CmpFPredicate.OEQ, total, lanes.constant(0.0))
    total = arith.select(empty, lanes.constant(1.0), total)
    for f, value in enumerate(sums):
        lanes.store(arith.divf(value, total), a["result"], [at.batch, at.panel, add(at.result_row, f), at.query])


def _store_group(lanes: Lanes, scores: list[Value], memory: _Tile, group: Value, at: _Place) -> None:
    largest, total = lanes.constant(F32_LOWEST), lanes.constant(0.0)
    for score in scores:
        largest = arith.maxnumf(largest, score)
    for i, score in enumerate(scores):
        power = math.exp(arith.subf(score, largest))
        total = arith.addf(total, power)
        memref.store(power, memory.powers, [add(mul(group, _KEYS), i), at.in_group])
    memref.store(largest, memory.largest, [group, at.in_group])
    memref.store(total, memory.totals, [group, at.in_group])


def _in_panels(op: ir.OpView, token: Value) -> tuple[Value, Value]:
    """The panel of a token, and its place there."""
    panel = index(layout_of(op).tile()[0])
    return arith.divui(token, panel), arith.remui(token, panel)


def _scores(op: ir.OpView, a: dict[str, Value], lanes: Lanes, at: _Place, key: Value) -> list[Value]:
    """Scores of a thread's queries with the keys from `key` on: products, scale and biases."""
    key_panel, in_panel = _in_panels(op, key)

    def products(feature: Value, sums: list[Value]) -> list[Value]:
        queries = lanes.load(a["query"], [at.batch, at.panel, arith.addi(at.query_row, feature), at.query])
        new = []
        for first in range(0, _KEYS, TOKENS_OF_A_THREAD):
            there = [at.batch, key_panel, arith.addi(at.key_row, feature), add(in_panel, first)]
            keys = lanes.load(a["key"], there)
            for i in range(TOKENS_OF_A_THREAD):
                new.append(vector.fma(lanes.spread(vector.extract(keys, [], [i])), queries, sums[first + i]))
        return new

    scores = []
    _, depth, _ = head_slices(op)
    for i, total in enumerate(loop(0, depth, 1, [lanes.constant(0.0)] * _KEYS, products)):
        number = add(key, i)
        score = arith.mulf(total, lanes.constant(op.scale.value))
        if "key_bias" in a:
            score = arith.addf(score, lanes.spread_load(a["key_bias"], [at.batch, number]))
        if "bias" in a:
            shape = op.bias.type.shape
            first, second = (v if n > 1 else index(0) for v, n in zip((at.batch, at.head), shape, strict=False))
            score = arith.addf(score, lanes.load(a["bias"], [first, second, number, at.token]))
        if op.causal.value:
            score = _without_later_keys(lanes, score, number, at.token)
        scores.append(score)
    return scores


def _without_later_keys(lanes: Lanes, score: Value, key: Value, token: Value) -> Value:
    """Minus infinity for queries, from `token` on, before the key."""
    kind = ir.VectorType.get([lanes.width], ir.IndexType.get())
    steps = ir.DenseElementsAttr.get([ir.IntegerAttr.get(ir.IndexType.get(), i) for i in range(lanes.width)], kind)
    tokens = arith.addi(vector.broadcast(kind, token), arith.constant(kind, steps))
    later = arith.cmpi(arith.CmpIPredicate.ugt, vector.broadcast(kind, key), tokens)
    return arith.select(later, lanes.constant(float("-inf")), score)
