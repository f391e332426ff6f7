"""Makes attention multiply bytes where the arithmetic of the model is int8: queries, keys, values and weights.

before:
    %y = "sparsity.attention"(%qkv, %qkv, %qkv, %mask) {sparsity.numbers = #sparsity.numbers<{arithmetic = "int8",
         weights = "int8"}>, heads = 12 : i64, offsets = [0, 768, 1536], depth = 64 : i64, layout =
         #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>, ...}
after:
    %b = "sparsity.quantize_heads"(%qkv, %qkv) {zero_point = 128 : i64, ...} : (...) -> tensor<1x2x12x8704xi8>
    %y = "sparsity.quantized_attention"(%qkv, %b, %mask) {zero_point = 128 : i64, ...}

Keys and values are rounded once, with a scale for each token and head; queries are rounded where they are used. The
zero point is 128 where the target's instruction takes an unsigned factor (`vpdpbusd`), else 0.

Preconditions, for an attention to multiply bytes (it multiplies f32 otherwise, counted as `left-in-f32`):
  a CPU with an instruction for products of bytes. Rationale: without one, f32 is as fast; and there is no such kernel
    for GPUs.
  panels with `inner = 1`. Rationale: queries are lanes.
  a depth that is a multiple of four, 256 at most. Rationale: an instruction multiplies four features, and the bytes of
    queries lie in scratch memory.
"""

import dataclasses

from torch_mlir import ir

from secateur.dialects.sparsity.attributes import NUMBERS
from secateur.dialects.sparsity.ops.attention import head_slices
from secateur.dialects.sparsity.ops.quantize_heads import QuantizeHeadsOp, head_bytes
from secateur.dialects.sparsity.ops.quantized_attention import QuantizedAttentionOp
from secateur.dialects.sparsity.ops.quantized_linear import QUAD
from secateur.dialects.sparsity.rules import layout_of

from ..base import Pass, PassContext, walk
from ..target import target_of

_MOST_FEATURES = 256


@dataclasses.dataclass(frozen=True)
class SparsityQuantizeAttention(Pass):
    """Makes attention multiply bytes where the arithmetic of the model is int8."""

    name = "sparsity-quantize-attention"

    def run(self, module: ir.Module, context: PassContext) -> None:
        target = target_of(module)
        for op in walk(module, "sparsity.attention"):
            if NUMBERS not in op.attributes or not op.attributes[NUMBERS].format().arithmetic.rounds_activations:
                continue
            del op.operation.attributes[NUMBERS]
            layout = layout_of(op)
            fits = head_slices(op)[1] % QUAD == 0 and head_slices(op)[1] <= _MOST_FEATURES
            if not target.dot or target.threads or layout is None or layout.tile()[1] != 1 or not fits:
                context.count("left-in-f32")
                continue
            _replace(op, target.byte_zero_point)
            context.count("attentions")


def _replace(op: ir.OpView, zero_point: int) -> None:
    (start, *starts), depth, value_depth = head_slices(op)
    batch, panels, _, panel = layout_of(op).sizes(op.key.type.shape)
    heads = {"kv_heads": op.kv_heads, "depth": depth, "value_depth": value_depth}
    both = {**heads, "zero_point": zero_point, "layout": layout_of(op)}
    shape = [batch, panels, op.kv_heads.value, head_bytes(panel, depth, value_depth)]
    kind = ir.RankedTensorType.get(shape, ir.IntegerType.get_signless(8, op.context))
    with op.location, ir.InsertionPoint(op):
        made = QuantizeHeadsOp.build(kind, key=op.key, value=op.value, offsets=starts, **both)
        new = QuantizedAttentionOp.build(
            op.result.type,
            query=op.query,
            keys_values=made.result,
            key_bias=op.key_bias,
            bias=op.bias,
            heads=op.heads,
            offset=start,
            scale=op.scale,
            causal=op.causal,
            **both,
        )
    op.result.replace_all_uses_with(new.result)
    op.operation.erase()
