"""The kernels that round activations to bytes on a GPU: `sparsity.token_scales` and `sparsity.quantize_tokens`.

Both are one kernel where one follows the other: the threads of a workgroup share its tokens, a piece of the features
each, and the largest features of all pieces meet in the workgroup's memory, as in `gpu_norm.py`. What rounds by scales
that are there (a tensor that is needed in a second form) has as many threads and no barrier. Bytes are written as words
of 32 bits: of four features of a token (groups), or of four tokens of a feature (rows).
"""

import functools

from torch_mlir import ir
from torch_mlir.dialects import arith, math, memref, scf, vector

from secateur.dialects.sparsity.byte_rows import LANES
from secateur.dialects.sparsity.ops.quantize_tokens import lanes_of
from secateur.dialects.sparsity.ops.quantized_linear import QUAD
from secateur.dialects.sparsity.ops.token_scales import LARGEST

from ..target import TOKENS_OF_A_THREAD
from .build import Lanes, Value, add, index, largest_divisor, loop, mul
from .byte_products import integers
from .gpu_norm import MOST_PIECES, VECTORS, NormGrid
from .gpu_words import elements, words
from .rounding import inverse_of, largest_bits, side_by_side, whole
from .workgroups import barrier, shared_memory


def rounding_grid(op: ir.OpView) -> NormGrid | None:
    """The division of a `quantize_tokens`; None where its result has no form that GPUs read, or panels are no whole
    vectors. A piece is whole groups of features."""
    (panel, group), (batch, panels, features, _) = op.layout.tile(), op.x.type.shape
    if panel % TOKENS_OF_A_THREAD or group not in (1, QUAD) or op.zero_point.value or lanes_of(op) != LANES[0]:
        return None
    vectors = largest_divisor(panel // TOKENS_OF_A_THREAD, VECTORS)
    piece = -(-features // (MOST_PIECES * group)) * group
    blocks = panel // TOKENS_OF_A_THREAD // vectors
    return NormGrid(vectors, -(-features // piece), piece, blocks, batch * panels)


def build_rounding(op: ir.OpView, a: dict[str, Value], place: list[Value], sizes: NormGrid, scales_too: bool) -> None:
    """Adds the body of a kernel for a `quantize_tokens`; `place` is (thread in the panel's blocks, panel of all
    sequences, 0). `scales_too`: the scales are a result, not an operand."""
    lanes = Lanes(TOKENS_OF_A_THREAD)
    batches, panels, features, tokens = op.x.type.shape
    batch = index(0) if batches == 1 else arith.divui(place[1], index(panels))
    panel = place[1] if batches == 1 else arith.remui(place[1], index(panels))
    block, thread = arith.divui(place[0], index(sizes.threads)), arith.remui(place[0], index(sizes.threads))
    piece, in_block = arith.divui(thread, index(sizes.vectors)), arith.remui(thread, index(sizes.vectors))
    run = arith.addi(mul(block, sizes.vectors), in_block)
    token = mul(run, TOKENS_OF_A_THREAD)
    first = mul(piece, sizes.features)
    stop = arith.minui(add(first, sizes.features), index(features))
    result, group = words(a["result"]), op.layout.tile()[1]

    def read(feature: Value) -> Value:
        return lanes.load(a["x"], [batch, panel, feature, token])

    def found_scales() -> Value:
        memory = shared_memory([sizes.pieces, sizes.vectors], integers(32, TOKENS_OF_A_THREAD))
        (own,) = loop(
            first, stop, 1, [whole(lanes, 0)], lambda feature, largest: [largest_bits(largest[0], read(feature))]
        )
        memref.store(own, memory, [piece, in_block])
        barrier()
        of_pieces = [memref.load(memory, [index(p), in_block]) for p in range(sizes.pieces)]
        largest = vector.bitcast(lanes.type, functools.reduce(arith.maxsi, of_pieces))
        scales = arith.divf(largest, lanes.constant(LARGEST))
        writes = scf.IfOp(arith.cmpi(arith.CmpIPredicate.eq, piece, index(0)))
        with ir.InsertionPoint(writes.then_block):
            lanes.store(scales, a["scales"], [batch, panel, token])
            scf.YieldOp([])
        return scales

    inverse = inverse_of(lanes, found_scales() if scales_too else lanes.load(a["scales"], [batch, panel, token]))

    def rounded(feature: Value) -> Value:
        units = math.roundeven(arith.mulf(read(feature), inverse))
        return arith.fptosi(integers(32, TOKENS_OF_A_THREAD), units)

    def write(feature: Value, _: list[Value]) -> list[Value]:
        if group == 1:
            word = _packed(elements(rounded(feature)))
            at = arith.addi(mul(feature, tokens // TOKENS_OF_A_THREAD), run)
            memref.store(word, result, [batch, panel, at])
        else:
            word = side_by_side(lanes, [rounded(add(feature, i)) for i in range(group)])
            # A group of features has as many words as the panel has tokens.
            at = arith.addi(mul(arith.divui(feature, index(group)), tokens // TOKENS_OF_A_THREAD), run)
            vector.store(word, result, [batch, panel, mul(at, TOKENS_OF_A_THREAD)])
        return []

    loop(first, stop, group, [], write)


def _packed(parts: list[Value]) -> Value:
    """The low bytes of four words as one word."""
    kind = parts[0].type

    def constant(value: int) -> Value:
        return arith.constant(kind, value)

    low = [arith.andi(part, constant(255)) for part in parts]
    return functools.reduce(arith.ori, [arith.shli(part, constant(8 * i)) for i, part in enumerate(low)])
