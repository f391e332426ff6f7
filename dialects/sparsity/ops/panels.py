"""Level 3: into feature-major panels and out of them."""

from torch_mlir import ir
from torch_mlir.dialects import ext

from ..attributes import Layout
from ..dialect import Tensor, TensorResult, expect, verifier
from ..operation import MappingClass, SparsityOp
from ..reference_parts import Array, from_panels, in_layout


class ToPanelsOp(SparsityOp, name="to_panels", traits=[ext.Pure]):
    """Token-major to feature-major panels; the last panel is filled with zeros.

    ```mlir
    %p = "sparsity.to_panels"(%x) {layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>}
         : (tensor<1x100x768xf32>) -> tensor<1x2x768x64xf32>
    ```
    `result[b, p, f, t] = x[b, p * panel + t, f]`; with `inner` above 1, `result[b, p, f / inner, t, f % inner]`.
    Operand: `x` [batch, tokens, features]. Rejected: features that are no multiple of `inner`, a result that is not
    [batch, ceil(tokens / panel), features / inner, panel, inner], without the last where `inner` is 1.
    """

    result: TensorResult
    x: Tensor
    layout: Layout

    MAPPING = MappingClass.SHUFFLE

    @verifier
    def verify_invariants(op):
        op.layout.check()
        _check_panels(op, list(op.x.type.shape), list(op.result.type.shape))

    def reference(op, x: Array) -> Array:
        return in_layout(op, x)


class FromPanelsOp(SparsityOp, name="from_panels", traits=[ext.Pure]):
    """Feature-major panels to token-major; the padding of the last panel is cut off.

    ```mlir
    %x = "sparsity.from_panels"(%p) {layout = #sparsity.layout<{panel = 64 : i64, inner = 1 : i64}>}
         : (tensor<1x2x768x64xf32>) -> tensor<1x100x768xf32>
    ```
    `result[b, p * panel + t, f] = x[b, p, f, t]`. Rejected: shapes that `to_panels` does not make of the result.
    """

    result: TensorResult
    x: Tensor
    layout: Layout

    MAPPING = MappingClass.SHUFFLE

    @verifier
    def verify_invariants(op):
        op.layout.check()
        _check_panels(op, list(op.result.type.shape), list(op.x.type.shape))

    def reference(op, x: Array) -> Array:
        return from_panels(x, op.result.type.shape[1])


def _check_panels(op: ir.OpView, tokens_major: list[int], panels: list[int]) -> None:
    expect(len(tokens_major) == 3, f"expected [batch, tokens, features], found shape {tokens_major}")
    batch, tokens, features = tokens_major
    _, inner = op.layout.tile()
    expect(features % inner == 0, f"expected 'inner' ({inner}) to divide the features, found {features} of them")
    expected = op.layout.shape(batch, tokens, features)
    expect(panels == expected, f"expected panels of shape {expected}, found {panels}")
