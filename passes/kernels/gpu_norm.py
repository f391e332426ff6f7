"""The kernel of `sparsity.layer_norm` in feature-major panels on a GPU: the threads of a workgroup share its tokens.

A thread has four tokens and a piece of their features. Sums over its piece go into the workgroup's memory; behind a
barrier, each thread adds up those of all pieces. There are two of them: the mean, then the squares of the distances
to it, as on a CPU (`elementwise.normalise_tokens` says why the first sums distances to the first feature).
"""

import dataclasses
import functools
from collections.abc import Callable

from torch_mlir import ir
from torch_mlir.dialects import arith, math, memref, vector

from secateur.dialects.sparsity.rules import layout_of

from ..target import TOKENS_OF_A_THREAD
from .build import Value, add, index, largest_divisor, loop, mul
from .gpu_lanes import GpuLanes
from .workgroups import barrier, shared_memory

# Vectors of tokens of a workgroup: 64 bytes, what a GPU's cache has in a line.
VECTORS = 4
MOST_PIECES = 16


@dataclasses.dataclass(frozen=True)
class NormGrid:
    """A workgroup has `vectors` times `pieces` threads; a piece is `features` features, the last one fewer. `blocks`:
    workgroups of a panel; `places`: panels of all sequences."""

    vectors: int
    pieces: int
    features: int
    blocks: int
    places: int

    @property
    def threads(self) -> int:
        return self.vectors * self.pieces

    @property
    def grid(self) -> list[int]:
        return [self.threads * self.blocks, self.places, 1]


def norm_grid(op: ir.OpView) -> NormGrid | None:
    """The division of an op's work; None where it does not lie in panels of whole vectors."""
    layout = layout_of(op)
    if layout is None or layout.tile()[1] != 1 or layout.tile()[0] % TOKENS_OF_A_THREAD:
        return None
    batch, panels, features, tokens = layout.sizes(op.result.type.shape)
    all_vectors = tokens // TOKENS_OF_A_THREAD
    vectors = largest_divisor(all_vectors, VECTORS)
    piece = -(-features // MOST_PIECES)
    return NormGrid(vectors, -(-features // piece), piece, all_vectors // vectors, batch * panels)


def build_norm(op: ir.OpView, a: dict[str, Value], place: list[Value], sizes: NormGrid) -> None:
    """Adds the kernel's body. `place` is (thread in the panel's blocks, panel of all sequences, 0)."""
    lanes = GpuLanes()
    batches, panels, features, _ = layout_of(op).sizes(op.result.type.shape)
    batch = index(0) if batches == 1 else arith.divui(place[1], index(panels))
    panel = place[1] if batches == 1 else arith.remui(place[1], index(panels))
    block, thread = arith.divui(place[0], index(sizes.threads)), arith.remui(place[0], index(sizes.threads))
    piece, in_block = arith.divui(thread, index(sizes.vectors)), arith.remui(thread, index(sizes.vectors))
    token = mul(arith.addi(mul(block, sizes.vectors), in_block), TOKENS_OF_A_THREAD)
    first = mul(piece, sizes.features)
    stop = arith.minui(add(first, sizes.features), index(features))
    sums, squares = (shared_memory([sizes.pieces, sizes.vectors], lanes.type) for _ in range(2))

    def read(memory: Value, feature: Value) -> Value:
        return lanes.load(memory, [batch, panel, feature, token])

    def read_sum(feature: Value) -> Value:
        x = read(a["x"], feature)
        return arith.addf(x, read(a["residual"], feature)) if "residual" in a else x

    def over_all(memory: Value, body: Callable[[Value, Value], Value]) -> Value:
        """The sum of what `body(feature, sum so far)` makes of this thread's features, and of all other pieces'."""
        (own,) = loop(first, stop, 1, [lanes.constant(0.0)], lambda feature, total: [body(feature, total[0])])
        memref.store(own, memory, [piece, in_block])
        barrier()
        return functools.reduce(arith.addf, (memref.load(memory, [index(p), in_block]) for p in range(sizes.pieces)))

    origin, fraction = read_sum(index(0)), lanes.constant(1.0 / features)

    def distance(feature: Value, total: Value) -> Value:
        return arith.addf(total, arith.subf(origin, read_sum(feature)))

    mean = arith.subf(origin, arith.mulf(over_all(sums, distance), fraction))

    def square(feature: Value, total: Value) -> Value:
        below = arith.subf(mean, read_sum(feature))
        return vector.fma(below, below, total)

    variance = arith.mulf(over_all(squares, square), fraction)
    deviation = math.sqrt(arith.addf(variance, lanes.constant(op.epsilon.value)))
    scale = arith.divf(lanes.constant(1.0), deviation)

    def normalise(feature: Value, _: list[Value]) -> list[Value]:
        weight, bias = (lanes.spread_load(a[name], [feature]) for name in ("weight", "bias"))
        value = vector.fma(arith.mulf(arith.subf(read_sum(feature), mean), scale), weight, bias)
        lanes.store(value, a["result"], [batch, panel, feature, token])
        return []

    loop(first, stop, 1, [], normalise)
