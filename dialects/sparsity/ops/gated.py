"""Level 2: the gated unit of feed-forward layers."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, activate
from ..rules import ACTIVATIONS, check_layout
from ..work_parts import ACTIVATION_FLOPS, Flops, Tokens, elementwise_flops


class GatedOp(SparsityOp, name="gated", traits=[ext.Pure]):
    """Element-wise `result = kind(gate) * up` (Shazeer, arXiv:2002.05202).

    ```mlir
    %y = "sparsity.gated"(%gate, %up) {kind = "silu"} : (tensor<1x128x1536xf32>, tensor<1x128x1536xf32>)
         -> tensor<1x128x1536xf32>
    ```
    `kind`: an activation as `sparsity.activation` has it. Rejected: another kind, types that differ.
    """

    result: TensorResult
    gate: Tensor
    up: Tensor
    kind: ir.StringAttr

    OPTIONAL = ("layout",)
    MAPPING = MappingClass.ONE_TO_ONE
    IN_PANELS = ("gate", "up")

    @verifier
    def verify_invariants(op):
        for name in ("up", "result"):
            found = getattr(op, name).type
            expect(found == op.gate.type, f"expected {name} of {op.gate.type}, found {found}")
        kinds = ACTIVATIONS[1:]
        expect(op.kind.value in kinds, f"expected a kind among {', '.join(kinds)}, found '{op.kind.value}'")
        check_layout(op, op.gate)

    def result_type(gate: ir.Value, up: ir.Value) -> ir.Type:
        return gate.type

    def reference(op, gate: Array, up: Array) -> Array:
        return activate(op.kind.value, gate) * up.astype(np.float64)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        return elementwise_flops(op, tokens, ACTIVATION_FLOPS[op.kind.value] + 1)
