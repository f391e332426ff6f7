"""What ops share: their panel layout, the epilogue of linears, stored weights; and the rules that verifiers check.

Activations are `[batch, tokens, features]` (or `[tokens, features]`, or any leading dimensions for the
element-wise ops). With the attribute `layout = #sparsity.layout<...>` the same op works on feature-major
panels `[batch, panels, features, panel]`; its formula does not change.
"""

from collections.abc import Sequence

from torch_mlir import ir

from .attributes import Layout, to_python
from .dialect import expect

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


def alike(op: ir.OpView, a: ir.Value, b: ir.Value) -> bool:
    """Whether two activations of `op` have one type; in panels, one shape, and numbers of f32 or f16 in each."""
    if layout_of(op) is None:
        return a.type == b.type
    elements = {str(v.type.element_type) for v in (a, b)}
    return a.type == b.type or (list(a.type.shape) == list(b.type.shape) and elements == {"f16", "f32"})


def check_epilogue(op: ir.OpView, rows: int, panels: Sequence[ir.Value] = ()) -> None:
    """Bias, residual and activation, which linears share; `panels`: what has the op's layout (x and the result)."""
    if op.bias is not None:
        found = list(op.bias.type.shape)
        expect(found == [rows], f"expected a bias of shape [{rows}], found {found}")
    if op.residual is not None:
        expect(
            alike(op, op.residual, op.result),
            f"expected the residual to have the result's type {op.result.type}, found {op.residual.type}",
        )
    activation = activation_of(op)
    expect(
        activation in ACTIVATIONS,
        f"expected an activation among {', '.join(ACTIVATIONS)}, found '{activation}'",
    )
    check_layout(op, *(panels or (op.x, op.result)))


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
