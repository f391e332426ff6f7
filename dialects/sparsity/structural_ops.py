"""Level 2, structural ops: what a transformer computes, before anything is decided about how.

Activations are `[batch, tokens, features]` (or `[tokens, features]`, or any leading dimensions for the
element-wise ops). With the attribute `layout = #sparsity.layout<...>` the same op works on feature-major
panels `[batch, panels, features, panel]`; its formula does not change.
"""

from typing import Any

from torch_mlir import ir
from torch_mlir.dialects import ext

from .attributes import Layout, to_python
from .dialect import Sparsity, Tensor, TensorResult, expect, verifier

ACTIVATIONS = ("none", "gelu", "gelu_tanh", "relu", "silu", "tanh", "sigmoid")


def layout_of(op: ir.OpView) -> Layout | None:
    """The op's panel layout, or None where it works on token-major tensors."""
    return op.attributes.get("layout", None)


def activation_of(op: ir.OpView) -> str:
    """The op's fused activation; `none` where it has none."""
    return to_python(op.attributes["activation"]) if "activation" in op.attributes else "none"


def feature_axis(op: ir.OpView, rank: int) -> int:
    """Which dimension of an activation of `op` holds the features, or groups of `inner` of them."""
    layout = layout_of(op)
    return rank - 1 if layout is None else layout.axis("features")


def features_of(op: ir.OpView, value: ir.Value) -> int:
    """The number of features of `value`, an activation of `op`."""
    layout, shape = layout_of(op), value.type.shape
    return shape[-1] if layout is None else layout.sizes(shape)[2]


def check_layout(op: ir.OpView, *values: ir.Value) -> None:
    """Where the op has a panel layout: `values` are [batch, panels, features, panel]."""
    layout = layout_of(op)
    if layout is None:
        return
    expect(isinstance(layout, Layout), f"expected 'layout' to be #sparsity.layout, found {layout}")
    layout.check()
    panel, inner = layout.tile()
    last = [panel] if inner == 1 else [panel, inner]
    features = "features" if inner == 1 else f"features / {inner}"
    for value in values:
        shape = list(value.type.shape)
        expect(
            len(shape) == 3 + len(last) and shape[3:] == last,
            f"expected [batch, panels, {features}, {', '.join(map(str, last))}] in this layout, found {shape}",
        )


def check_epilogue(op: ir.OpView, rows: int) -> None:
    """Bias, residual and activation, which `linear` and `packed_linear` share."""
    if op.bias is not None:
        found = list(op.bias.type.shape)
        expect(found == [rows], f"expected a bias of shape [{rows}], found {found}")
    if op.residual is not None:
        expect(
            op.residual.type == op.result.type,
            f"expected the residual to have the result's type {op.result.type}, found {op.residual.type}",
        )
    activation = activation_of(op)
    expect(
        activation in ACTIVATIONS,
        f"expected an activation among {', '.join(ACTIVATIONS)}, found '{activation}'",
    )
    check_layout(op, op.x, op.result)


def check_scales(op: ir.OpView, name: str, shape: list[int], values: str = "values") -> None:
    """The operands that hold weights: f32 or f16, or i8 with the f32 operand `name` of `shape`."""
    element, scales = str(getattr(op, values).type.element_type), getattr(op, name)
    expect(element in ("f32", "f16", "i8"), f"expected {values} of f32, f16 or i8, found {element}")
    if scales is None:
        expect(element != "i8", f"expected {name} beside {values} of i8, found none")
        return
    expect(element == "i8", f"expected {name} beside {values} of i8 only, found {values} of {element}")
    found = scales.type
    fits = list(found.shape) == shape and str(found.element_type) == "f32"
    expect(fits, f"expected {name} of shape {shape} and f32, found {found}")


class WeightOp(Sparsity.Operation, name="weight", traits=[ext.Pure]):
    """An array of the weight store, named by symbol, or a small literal.

    ```mlir
    %w = "sparsity.weight"() {source = "encoder.0.query.weight", sparsity.encoding = #sparsity.dense<{}>}
         : () -> tensor<768x768xf32>
    ```
    Attributes: `source`, a string (symbol in the weight store) or a dense literal of the result's type;
    `sparsity.encoding`, optional, how the zeros lie. Rejected: another kind of source, a literal of
    another type, an encoding with wrong fields, an encoding on an array of fewer than two dimensions.
    """

    result: TensorResult
    source: Any

    @verifier
    def verify_invariants(op):
        source = op.source
        literal = isinstance(source, (ir.DenseElementsAttr, ir.DenseResourceElementsAttr))
        expect(
            literal or isinstance(source, ir.StringAttr),
            f"expected 'source' to be a symbol (string) or a dense literal, found {source}",
        )
        if literal:
            expect(source.type == op.result.type, f"expected a literal of {op.result.type}, found {source.type}")
        else:
            expect(source.value != "", "expected 'source' to name an array, found an empty string")
        if "sparsity.encoding" in op.attributes:
            rank = op.result.type.rank
            expect(rank >= 2, f"expected an encoded weight to have two or more dimensions, found {rank}")


class LinearOp(Sparsity.Operation, name="linear", traits=[ext.Pure]):
    """`result = activation(x @ transpose(weight) + bias) + residual`.

    ```mlir
    %y = "sparsity.linear"(%x, %w, %b) {operandSegmentSizes = array<i32: 1, 1, 1, 0>}
         : (tensor<1x128x768xf32>, tensor<3072x768xf32>, tensor<3072xf32>) -> tensor<1x128x3072xf32>
    ```
    Operands: `x` [..., columns], `weight` [rows, columns], `bias` [rows] (optional), `residual` of the
    result's type (optional). Attributes: `activation`, optional (default `none`). Rejected: shapes that
    do not match, an unknown activation.
    """

    result: TensorResult
    x: Tensor
    weight: Tensor
    bias: Tensor | None = None
    residual: Tensor | None = None

    OPTIONAL = ("activation",)

    @verifier
    def verify_invariants(op):
        weight = list(op.weight.type.shape)
        expect(len(weight) == 2, f"expected a weight [rows, columns], found shape {weight}")
        x, result = list(op.x.type.shape), list(op.result.type.shape)
        expect(
            bool(x) and x[-1] == weight[1],
            f"expected x with {weight[1]} features (the weight's columns), found {x}",
        )
        expected = [*x[:-1], weight[0]]
        expect(result == expected, f"expected a result of shape {expected}, found {result}")
        expect(layout_of(op) is None, "has no panel layout; 'sparsity.packed_linear' has")
        check_epilogue(op, weight[0])


class LayerNormOp(Sparsity.Operation, name="layer_norm", traits=[ext.Pure]):
    """`h = x + residual; result = (h - mean(h)) / sqrt(variance(h) + epsilon) * weight + bias` over features.

    ```mlir
    %y = "sparsity.layer_norm"(%x, %w, %b) {epsilon = 1.0e-12 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>}
         : (tensor<1x128x768xf32>, tensor<768xf32>, tensor<768xf32>) -> tensor<1x128x768xf32>
    ```
    Operands: `x` [..., features], `weight` and `bias` [features], `residual` of the type of `x` (optional).
    The variance is the biased one. Rejected: shapes that differ, a negative epsilon.
    """

    result: TensorResult
    x: Tensor
    weight: Tensor
    bias: Tensor
    epsilon: ir.FloatAttr
    residual: Tensor | None = None

    OPTIONAL = ("layout",)

    @verifier
    def verify_invariants(op):
        expect(op.x.type == op.result.type, f"expected a result of {op.x.type}, found {op.result.type}")
        check_layout(op, op.x)
        expect(op.x.type.rank >= 1, "expected x to have at least one dimension, found none")
        features = features_of(op, op.x)
        for name in ("weight", "bias"):
            found = list(getattr(op, name).type.shape)
            expect(found == [features], f"expected {name} of shape [{features}], found {found}")
        if op.residual is not None:
            expect(op.residual.type == op.x.type, f"expected a residual of {op.x.type}, found {op.residual.type}")
        expect(op.epsilon.value >= 0, f"expected epsilon of 0 or more, found {op.epsilon.value}")


class ActivationOp(Sparsity.Operation, name="activation", traits=[ext.Pure]):
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

    @verifier
    def verify_invariants(op):
        expect(op.x.type == op.result.type, f"expected a result of {op.x.type}, found {op.result.type}")
        kinds = ACTIVATIONS[1:]
        expect(op.kind.value in kinds, f"expected a kind among {', '.join(kinds)}, found '{op.kind.value}'")
        check_layout(op, op.x)


class AddOp(Sparsity.Operation, name="add", traits=[ext.Pure]):
    """Element-wise `result = lhs + rhs` of equal shapes: the residual connection.

    ```mlir
    %y = "sparsity.add"(%a, %b) : (tensor<1x128x768xf32>, tensor<1x128x768xf32>) -> tensor<1x128x768xf32>
    ```
    Rejected: operands or a result of different types (there is no broadcasting).
    """

    result: TensorResult
    lhs: Tensor
    rhs: Tensor

    OPTIONAL = ("layout",)

    @verifier
    def verify_invariants(op):
        expect(
            op.lhs.type == op.rhs.type,
            f"expected operands of one type, found {op.lhs.type} and {op.rhs.type}",
        )
        expect(op.lhs.type == op.result.type, f"expected a result of {op.lhs.type}, found {op.result.type}")
        check_layout(op, op.lhs)


class EmbeddingOp(Sparsity.Operation, name="embedding", traits=[ext.Pure]):
    """Rows of a table: `result[..., :] = scales[indices[...]] * table[indices[...], :]`.

    ```mlir
    %y = "sparsity.embedding"(%ids, %table) {operandSegmentSizes = array<i32: 1, 1, 0>}
         : (tensor<1x128xi64>, tensor<30522x768xf32>) -> tensor<1x128x768xf32>
    ```
    Operands: `indices` [...] of integers in 0 .. entries - 1, `table` [entries, features], `scales` [entries] f32
    (optional; one, where absent). The table has the result's element type, or it is f16, or i8 with scales, and the
    result f32: then the rows that are read are converted, exactly. Rejected: shapes that do not match, indices that are
    no integers, other element types.
    """

    result: TensorResult
    indices: Tensor
    table: Tensor
    scales: Tensor | None = None

    @verifier
    def verify_invariants(op):
        table = list(op.table.type.shape)
        expect(len(table) == 2, f"expected a table [entries, features], found shape {table}")
        element = op.indices.type.element_type
        expect(isinstance(element, ir.IntegerType), f"expected indices of integers, found {element}")
        expected = [*op.indices.type.shape, table[1]]
        expect(
            list(op.result.type.shape) == expected,
            f"expected a result of shape {expected}, found {op.result.type.shape}",
        )
        stored, read = str(op.table.type.element_type), str(op.result.type.element_type)
        if op.scales is None and stored == read:
            return
        expect(read == "f32", f"expected a result of f32 from a table of {stored}, found {read}")
        check_scales(op, "scales", table[:1], "table")
