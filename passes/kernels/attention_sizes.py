"""Sizes of attention's loops: what registers and scratch memory hold at once."""

import dataclasses

from torch_mlir import ir

from secateur.dialects.sparsity.kernel_ops import SCRATCH_BYTES
from secateur.dialects.sparsity.ops.attention import head_slices
from secateur.dialects.sparsity.ops.quantized_attention import block_keys
from secateur.dialects.sparsity.ops.quantized_linear import QUAD
from secateur.dialects.sparsity.rules import layout_of

from .build import Lanes, largest_divisor

# Rows of sums held in registers beside the query vectors (24 of 32 registers at four vectors).
REGISTER_ROWS = 6


def key_block(op: ir.OpView, vectors: int, lanes: int) -> int:
    """Panels of keys whose scores against `vectors` vectors of queries fit the scratch memory; 0 where none does."""
    _, panels, _, panel = layout_of(op).sizes(op.key.type.shape)
    fitting = SCRATCH_BYTES // (panel * vectors * lanes * 4)
    return largest_divisor(panels, fitting) if fitting else 0


def query_vectors(op: ir.OpView, lanes: int) -> int:
    """How many vectors of queries share a load of a key: the most that registers and scratch memory allow."""
    queries, _ = layout_of(op).tile()
    return max((v for v in (4, 2, 1) if queries % (v * lanes) == 0 and key_block(op, v, lanes)), default=0)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What is known before the kernel runs.

    `vectors` of queries are computed at once. Registers hold the sums of `key_tile` keys or `out_tile` features for
    them. A block is `block_panels` panels of `key_panel` keys each. `depth_step` features of a key and `key_step` keys
    of a value are loaded at once.
    """

    vectors: int
    depth: int
    out_depth: int
    key_panel: int
    block_panels: int
    blocks: int
    key_tile: int
    out_tile: int
    depth_step: int
    key_step: int


def sizes_of(op: ir.OpView, lanes: Lanes, vectors: int) -> Sizes:
    """The sizes for `vectors` vectors of queries (`query_vectors`)."""
    _, panels, _, key_panel = layout_of(op).sizes(op.key.type.shape)
    _, depth, out_depth = head_slices(op)
    block_panels = key_block(op, vectors, lanes.width)
    # By lane, a load brings the next columns' numbers too: several columns make an iteration.
    together = lanes.width if lanes.by_lane else 1
    return Sizes(
        vectors,
        depth,
        out_depth,
        key_panel,
        block_panels,
        blocks=panels // block_panels,
        key_tile=largest_divisor(key_panel, REGISTER_ROWS),
        out_tile=largest_divisor(out_depth, REGISTER_ROWS),
        depth_step=largest_divisor(depth, together),
        key_step=largest_divisor(key_panel, together),
    )


def byte_sizes_of(op: ir.OpView, lanes: Lanes) -> Sizes | None:
    """The sizes of attention on bytes: two vectors of queries where panels have them; None where nothing fits.

    `depth_step` are fours of features.
    """
    panel, depth, value_depth = op.layout.tile()[0], op.depth.value, op.value_depth.value
    panels = op.keys_values.type.shape[1]
    vectors = 2 if panel % (2 * lanes.width) == 0 else 1
    queries = vectors * lanes.width
    # Scores and three numbers of each key, and the bytes of the queries.
    needed = block_keys(op) * (4 * queries + 12) + depth * queries
    if panel % lanes.width or needed > SCRATCH_BYTES:
        return None
    block_panels = block_keys(op) // panel
    # NEON and AVX-512 have 32 registers.
    rows = 8 if lanes.by_lane or lanes.width >= 16 else 4
    return Sizes(
        vectors,
        depth,
        value_depth,
        panel,
        block_panels,
        blocks=panels // block_panels,
        key_tile=largest_divisor(panel, rows),
        out_tile=largest_divisor(value_depth, rows),
        depth_step=1,
        key_step=QUAD * largest_divisor(panel // QUAD, 4 if lanes.by_lane else 1),
    )
