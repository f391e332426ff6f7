"""Level 2: an activation that no other op has fused."""

from torch_mlir import ir
from torch_mlir.dialects import ext

from ...weight_store import WeightStore
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, activate
from ..rules import ACTIVATIONS, check_layout
from ..work_parts import ACTIVATION_FLOPS, Flops, Tokens, elementwise_flops


class ActivationOp(SparsityOp, name="activation", traits=[ext.Pure]):
    """Element-wise `result = kind(x)`.

    ```mlir
    %y = "sparsity.activation"(%x) {kind = "gelu"} : (tensor<1x128x3072xf32>) -> tensor<1x128x3072xf32>
    ```
    `kind`: `gelu` (exact, with erf), `gelu_tanh`, `relu`, `silu`, `tanh`, `sigmoid`. Rejected: another kind,
    a result of another type.
    """

    result: TensorResult
    x: Tensor
    kind: ir.StringAttr

    OPTIONAL = ("layout",)
    MAPPING = MappingClass.ONE_TO_ONE
    IN_PANELS = ("x",)

    @verifier
    def verify_invariants(op):
        expect(op.x.type == op.result.type, f"expected a result of {op.x.type}, found {op.result.type}")
        kinds = ACTIVATIONS[1:]
        expect(op.kind.value in kinds, f"expected a kind among {', '.join(kinds)}, found '{op.kind.value}'")
        check_layout(op, op.x)

    def result_type(x: ir.Value) -> ir.Type:
        return x.type

    def reference(op, x: Array) -> Array:
        return activate(op.kind.value, x)

    def flops(op, weights: WeightStore, tokens: Tokens) -> Flops:
        return elementwise_flops(op, tokens, ACTIVATION_FLOPS[op.kind.value])
