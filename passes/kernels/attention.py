"""The kernel of `sparsity.attention` in feature-major panels: scores, softmax and context of one head.

A workgroup computes one head for one panel of queries. Queries are the lanes, so the scores of a block
of keys are outer products of key scalars and query vectors, the softmax is element-wise over vectors, and
the context is again a sum of value scalars times probability vectors: no transposes, no shuffles.

Scores stay in scratch memory. Where those of all keys do not fit, keys are taken block by block: each new maximum
rescales the sums so far (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018), so that any number
of keys runs in the same memory.
"""

import math as _math

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, vector

from secateur.dialects.sparsity.attention_op import head_slices
from secateur.dialects.sparsity.kernel_ops import SCRATCH_BYTES

from .build import F32_LOWEST, Lanes, Value, add, index, largest_divisor, loop, mul
from .functions import exp, maximum
from .weights_by_lane import spread_run

# Rows of sums held in registers beside the query vectors (24 of 32 registers at four vectors).
REGISTER_ROWS = 6


def key_block(op: ir.OpView, vectors: int, lanes: int) -> int:
    """Panels of keys whose scores against `vectors` vectors of queries fit the scratch memory; 0 where none does."""
    _, panels, _, panel = op.key.type.shape
    fitting = SCRATCH_BYTES // (panel * vectors * lanes * 4)
    return largest_divisor(panels, fitting) if fitting else 0


def query_vectors(op: ir.OpView, lanes: int) -> int:
    """How many vectors of queries share a load of a key: the most that registers and scratch memory allow."""
    queries = op.query.type.shape[3]
    return max((v for v in (4, 2, 1) if queries % (v * lanes) == 0 and key_block(op, v, lanes)), default=0)


def build_attention(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int) -> None:
    """Adds the kernel's body. `place` is (head, query panel, batch)."""
    head, panel, batch = place
    a = arguments
    heads, kv_heads = op.heads.value, op.kv_heads.value
    starts, depth, out_depth = head_slices(op)
    _, key_panels, _, key_panel = op.key.type.shape
    query_panel = op.query.type.shape[3]
    block_panels = key_block(op, vectors, lanes.width)
    blocks, keys = key_panels // block_panels, block_panels * key_panel
    kv_head = head if heads == kv_heads else arith.divui(head, index(heads // kv_heads))
    query_row, key_row = add(mul(head, depth), starts[0]), add(mul(kv_head, depth), starts[1])
    value_row, out_row = add(mul(kv_head, out_depth), starts[2]), mul(head, out_depth)
    scratch = memref.alloca(ir.MemRefType.get([keys, vectors * lanes.width], ir.F32Type.get()), [], [])
    key_tile = largest_divisor(key_panel, REGISTER_ROWS)
    out_tile = largest_divisor(out_depth, REGISTER_ROWS)
    # By lane, a load brings the next columns' numbers too: several columns make an iteration.
    depth_step, key_step = (largest_divisor(n, lanes.width if lanes.by_lane else 1) for n in (depth, key_panel))
    js = range(vectors)

    def each_key(first_panel, carried, body, step=1):
        """Runs `body(key panel, key in panel, key in block, carried)` over the keys of a block."""

        def over_panel(panel_in_block, outer):
            base = mul(panel_in_block, key_panel)
            key_panel_index = arith.addi(first_panel, panel_in_block)
            return loop(
                0,
                key_panel,
                step,
                outer,
                lambda key, inner: body(key_panel_index, key, arith.addi(base, key), inner),
            )

        return loop(0, block_panels, 1, carried, over_panel)

    def biased(score: Value, key: Value, query: Value) -> Value:
        """Scale, key bias, full bias and causal mask of a vector of scores."""
        score = arith.mulf(score, lanes.constant(op.scale.value))
        if "key_bias" in a:
            score = arith.addf(score, lanes.spread_load(a["key_bias"], [batch, key]))
        if "bias" in a or op.causal.value:
            token = arith.addi(mul(panel, query_panel), query)
        if "bias" in a:
            shape = op.bias.type.shape
            where = [batch if shape[0] > 1 else index(0), head if shape[1] > 1 else index(0), key, token]
            score = arith.addf(score, lanes.load(a["bias"], where))
        if op.causal.value:
            indices = ir.VectorType.get([lanes.width], ir.IndexType.get())
            tokens = arith.addi(vector.broadcast(indices, token), vector.step(indices))
            later = arith.cmpi(arith.CmpIPredicate.ugt, vector.broadcast(indices, key), tokens)
            score = arith.select(later, lanes.constant(-_math.inf), score)
        return score

    def query_block(first_query: Value, _: list[Value]) -> list[Value]:
        queries = [add(first_query, j * lanes.width) for j in js]

        def scores(kp: Value, key_in_panel: Value, key: Value, maxima: list[Value]) -> list[Value]:
            def over_depth(first: Value, sums: list[Value]) -> list[Value]:
                for d in (add(first, step) for step in range(depth_step)):
                    q = lanes.load_run(a["query"], [batch, panel, arith.addi(query_row, d)], queries)
                    row = arith.addi(key_row, d)
                    new = []
                    for i, k in enumerate(spread_run(a["key"], [batch, kp, row, key_in_panel], key_tile, lanes)):
                        new += [vector.fma(k, q[j], sums[i * vectors + j]) for j in js]
                    sums = new
                return sums

            sums = loop(0, depth, depth_step, [lanes.constant(0.0)] * (key_tile * vectors), over_depth)
            position = arith.addi(mul(kp, key_panel), key_in_panel)
            for i in range(key_tile):
                for j in js:
                    score = biased(sums[i * vectors + j], add(position, i), queries[j])
                    lanes.store(score, scratch, [add(key, i), index(j * lanes.width)])
                    maxima[j] = maximum(maxima[j], score)
            return maxima

        def block(number: Value, carried: list[Value], first: bool) -> list[Value]:
            """Scores, exponentials and context of a block of keys; carries maxima and totals of all so far."""
            old, totals = carried[:vectors], carried[vectors:]
            first_panel = mul(number, block_panels)
            maxima = each_key(first_panel, old, scores, key_tile)
            if not first:
                factors = [exp(arith.subf(old[j], maxima[j])) for j in js]
                totals = [arith.mulf(totals[j], factors[j]) for j in js]

            def exponentials(key: Value, totals: list[Value]) -> list[Value]:
                new = []
                for j in js:
                    at = [key, index(j * lanes.width)]
                    e = exp(arith.subf(lanes.load(scratch, at), maxima[j]))
                    lanes.store(e, scratch, at)
                    new.append(arith.addf(totals[j], e))
                return new

            totals = loop(0, keys, 1, totals, exponentials)
            last = shares(totals) if blocks == 1 else None

            def context(first_feature: Value, _: list[Value]) -> list[Value]:
                def over_keys(kp: Value, key_in_panel: Value, key: Value, sums: list[Value]) -> list[Value]:
                    rows = [arith.addi(value_row, add(first_feature, i)) for i in range(out_tile)]
                    values = [spread_run(a["value"], [batch, kp, row, key_in_panel], key_step, lanes) for row in rows]
                    for step in range(key_step):
                        p = lanes.load_run(scratch, [add(key, step)], [index(j * lanes.width) for j in js])
                        new = []
                        for i in range(out_tile):
                            v = next(values[i])
                            new += [vector.fma(v, p[j], sums[i * vectors + j]) for j in js]
                        sums = new
                    return sums

                places = [
                    [batch, panel, arith.addi(out_row, add(first_feature, i)), queries[j]]
                    for i in range(out_tile)
                    for j in js
                ]
                sums = [lanes.constant(0.0)] * len(places)
                if not first:
                    sums = [
                        arith.mulf(lanes.load(a["result"], at), factors[n % vectors]) for n, at in enumerate(places)
                    ]
                sums = each_key(first_panel, sums, over_keys, key_step)
                for n, at in enumerate(places):
                    value = sums[n] if last is None else arith.mulf(sums[n], last[n % vectors])
                    lanes.store(value, a["result"], at)
                return []

            loop(0, out_depth, out_tile, [], context)
            return [*maxima, *totals]

        def shares(totals: list[Value]) -> list[Value]:
            """What turns sums of exponentials into means: one over the total, zero where all keys are masked."""
            zero, one = lanes.constant(0.0), lanes.constant(1.0)
            # "Equal to zero" and not "above zero": a NaN in the scores has to reach the result.
            empty = [arith.cmpf(arith.CmpFPredicate.OEQ, total, zero) for total in totals]
            return [arith.select(empty[j], zero, arith.divf(one, totals[j])) for j in js]

        # The lowest finite number keeps a fully masked query at exp(-inf) = 0 instead of exp(-inf + inf).
        start = [lanes.constant(F32_LOWEST)] * vectors + [lanes.constant(0.0)] * vectors
        carried = block(index(0), start, first=True)
        if blocks == 1:
            return []
        carried = loop(1, blocks, 1, carried, lambda number, inner: block(number, inner, first=False))
        last = shares(carried[vectors:])

        def normalise(feature: Value, _: list[Value]) -> list[Value]:
            for j in js:
                at = [batch, panel, arith.addi(out_row, feature), queries[j]]
                lanes.store(arith.mulf(lanes.load(a["result"], at), last[j]), a["result"], at)
            return []

        loop(0, out_depth, 1, [], normalise)
        return []

    loop(0, query_panel, vectors * lanes.width, [], query_block)
