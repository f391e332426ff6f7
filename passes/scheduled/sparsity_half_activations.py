"""Hands activations from op to op in f16 where layers multiply in f16.

before:
    %p = "sparsity.to_panels"(%x) : (tensor<1x128x768xf32>) -> tensor<1x2x768x64xf32>
    %y = "sparsity.packed_linear"(%p, ...) {sparsity.numbers = #sparsity.numbers<{arithmetic = "f16", weights = "f16"}>,
         layout = ...} : (tensor<1x2x768x64xf32>, ...) -> tensor<1x2x768x64xf32>
    %z = "sparsity.from_panels"(%y) : (tensor<1x2x768x64xf32>) -> tensor<1x128x768xf32>
after:
    %p = "sparsity.to_panels"(%x) : (tensor<1x128x768xf32>) -> tensor<1x2x768x64xf16>
    %y = "sparsity.packed_linear"(%p, ...) {...} : (tensor<1x2x768x64xf16>, ...) -> tensor<1x2x768x64xf16>
    %z = "sparsity.from_panels"(%y) : (tensor<1x2x768x64xf16>) -> tensor<1x128x768xf32>

What ops compute between reading and writing stays f32. What f16 cannot hold becomes no number, never infinite: the
results then are none either, which a session tells. Statistics: tensors in f16, and the bytes that they take less.

Preconditions, for a tensor in panels to be f16 (it stays f32 otherwise, counted as `left-in-f32`):
  a layer makes or reads it, and all layers that do multiply in f16. Rationale: a layer may be kept in f32 for its
    accuracy.
  layers, attention, norms or `to_panels` make it, and such ops or `from_panels` read it. Rationale: others compute in
    the type that they find.
"""

import dataclasses
import math

from torch_mlir import ir

from secateur.dialects.sparsity.attributes import numbers_of
from secateur.dialects.sparsity.rules import layout_of

from ..base import Pass, PassContext, walk

_LAYER = "sparsity.packed_linear"
_OPS = (_LAYER, "sparsity.attention", "sparsity.layer_norm")


@dataclasses.dataclass(frozen=True)
class SparsityHalfActivations(Pass):
    """Hands activations from op to op in f16 where layers multiply in f16."""

    name = "sparsity-half-activations"

    def run(self, module: ir.Module, context: PassContext) -> None:
        layers = walk(module, _LAYER)
        if not any(_in_half(op) for op in layers):
            return
        for op in walk(module, "sparsity.to_panels", *_OPS):
            if layout_of(op) is None or str(op.result.type.element_type) != "f32":
                continue
            ends = [op, *(use.owner.opview for use in op.result.uses)]
            of_layers = [_in_half(end) for end in ends if end.operation.name == _LAYER]
            if of_layers and all(of_layers) and all(_takes_half(end) for end in ends[1:]):
                shape, half = list(op.result.type.shape), ir.F16Type.get(module.context)
                op.result.set_type(ir.RankedTensorType.get(shape, half, loc=op.location))
                context.count("tensors")
                context.count("bytes-saved", 2 * math.prod(shape))
            else:
                context.count("left-in-f32")


def _in_half(op: ir.OpView) -> bool:
    return layout_of(op) is not None and numbers_of(op).arithmetic.name == "f16"


def _takes_half(op: ir.OpView) -> bool:
    """Whether `op` reads an activation in panels in f16."""
    return op.operation.name in ("sparsity.from_panels", *_OPS) and layout_of(op) is not None
