"""Sites where an element-wise op joins its neighbour: activations and residual additions.

Both are one-to-one after many-to-many (into the linear or convolution that feeds them) or before it (into the layer
norm that reads them), which the published table allows without a measurement. What a linear takes is its activation and
then a residual; a convolution takes a residual before its activation, too.
"""

from torch_mlir import ir

from secateur.dialects.sparsity.rules import activation_of, layout_of
from secateur.passes.base import PassContext

from .classes import CONSTANTS
from .kinds import Found, Kind, Pair, Saving, describe
from .readers import (
    count_readers,
    defined_by,
    joined_location,
    label,
    layer_of,
    readers,
    rebuild_layer,
    replace,
    tensor_bytes,
)

INTO_LINEAR, INTO_LAYER_NORM, SEPARATE = "into-linear", "into-layer-norm", "separate"
INTO_CONVOLUTION = "into-convolution"


def _no_layer(value: ir.Value) -> str:
    """Why no layer takes the reader of `value` into its epilogue; empty where one may."""
    if layer_of(value) is None:
        owner = value.owner
        if not isinstance(owner, ir.Block) and owner.name in CONSTANTS:
            return "a constant is no linear"
        producer = "an argument" if isinstance(owner, ir.Block) else f"'{owner.name}'"
        return f"{producer} has no kernel with an epilogue"
    return "" if len(readers(value)) == 1 else count_readers(value)


def _kind(layer: ir.OpView) -> str:
    return "linear" if layer.operation.name == "sparsity.linear" else "convolution"


def _no_activation(value: ir.Value) -> str:
    """Why no layer takes an activation of `value`; empty where one does."""
    refused = _no_layer(value)
    if refused:
        return refused
    layer = value.owner.opview
    if activation_of(layer) != "none":
        return f"the {_kind(layer)} has an activation already"
    if layer.residual is not None and _kind(layer) == "linear":
        return "the linear has a residual already"
    return ""


def _no_residual(value: ir.Value) -> str:
    """Why no layer takes an addition to `value`; empty where one does."""
    refused = _no_layer(value)
    if not refused and value.owner.opview.residual is not None:
        return f"the {_kind(value.owner.opview)} has a residual already"
    return refused


def _activation(op: ir.OpView, context: PassContext) -> Found | None:
    if layout_of(op):
        return None
    refused = _no_activation(op.x)
    owner = op.x.owner
    fused = () if refused else (INTO_LINEAR,)
    pairs = () if isinstance(owner, ir.Block) else (Pair(owner.opview, op, fused, refused),)
    size = tensor_bytes(op.x)
    return Found(
        legal={**({} if refused else {INTO_LINEAR: Saving(size, 2 * size)}), SEPARATE: Saving()},
        refused={INTO_LINEAR: refused} if refused else {},
        shape=f"{op.kind.value} of {describe(op.x, context)}",
        name=label(owner.opview) if pairs else op.kind.value,
        pairs=pairs,
    )


def fuse_activation(op: ir.OpView, variant: str, context: PassContext) -> bool:
    """`activation(layer(x))` -> the activation as the layer's epilogue."""
    if variant == SEPARATE:
        return True
    if layout_of(op) or _no_activation(op.x):
        return False
    layer = op.x.owner.opview
    changed: dict[str, object] = {"activation": op.kind}
    if layer.residual is not None:
        changed["residual_first"] = ir.UnitAttr.get(op.context)
    new = rebuild_layer(layer, op, **changed)
    replace(op, new.result, layer)
    return True


def _activation_of_sum(op: ir.OpView, context: PassContext) -> Found | None:
    total = defined_by(op.x, "sparsity.add")
    if layout_of(op) or total is None:
        return None
    taking = [v for v in (total.lhs, total.rhs) if layer_of(v) is not None and not _no_residual(v)]
    taking = [v for v in taking if _kind(v.owner.opview) == "convolution" and not _no_activation(v)]
    refused = "" if taking else "no convolution takes the addition in"
    if not refused and len(readers(op.x)) > 1:
        refused = count_readers(op.x)
    size = tensor_bytes(op.x)
    return Found(
        legal={**({} if refused else {INTO_CONVOLUTION: Saving(size, 2 * size)}), SEPARATE: Saving()},
        refused={INTO_CONVOLUTION: refused} if refused else {},
        shape=f"{op.kind.value} of {describe(total.lhs, context)} + {describe(total.rhs, context)}",
        name=label(taking[0].owner.opview) if taking else op.kind.value,
    )


def _residual_producer(value: ir.Value) -> tuple[ir.Value, str]:
    """The value to look for a layer behind, past an activation that may join the layer; why there is none."""
    activation = defined_by(value, "sparsity.activation")
    if activation is None:
        return value, _no_residual(value)
    if len(readers(value)) > 1:
        return value, count_readers(value)
    return activation.x, _no_residual(activation.x)


def _no_layer_norm(op: ir.OpView) -> str:
    """Why no layer norm takes the addition in; empty where one does."""
    found = readers(op.result)
    if len(found) != 1:
        return count_readers(op.result)
    if found[0].operation.name != "sparsity.layer_norm":
        return f"'{found[0].operation.name}', which reads the sum, has no kernel that adds first"
    norm = found[0].operation.opview
    if norm.residual is not None:
        return "the layer norm has a residual already"
    return "the layer norm reads the sum as its weight or bias" if norm.x != op.result else ""


def _residual(op: ir.OpView, context: PassContext) -> Found | None:
    if layout_of(op) or not isinstance(op.result.type, ir.RankedTensorType):
        return None
    size = tensor_bytes(op.result)
    legal: dict[str, Saving] = {}
    refused, pairs = {}, []
    behind = [_residual_producer(value) for value in (op.lhs, op.rhs)]
    why = [reason for _, reason in behind]
    if op.lhs == op.rhs:
        refused[INTO_LINEAR] = "both operands are the same value"
    elif "" in why:
        legal[INTO_LINEAR] = Saving(size, 2 * size)
    else:
        refused[INTO_LINEAR] = "; ".join(dict.fromkeys(why))
    why_not = _no_layer_norm(op)
    if why_not:
        refused[INTO_LAYER_NORM] = why_not
    else:
        legal[INTO_LAYER_NORM] = Saving(size, 2 * size)
    # Of two linears the first takes the addition in.
    taker = why.index("") if INTO_LINEAR in legal else None
    for place, value in enumerate((op.lhs, op.rhs)):
        if not isinstance(value.owner, ir.Block):
            fused = (INTO_LINEAR,) if place == taker else ()
            reason = why[place] or "the other operand's linear takes the addition in and reads this one from memory"
            pairs.append(Pair(value.owner.opview, op, fused, refused.get(INTO_LINEAR, reason)))
    reader = readers(op.result)
    for consumer in reader:
        pairs.append(Pair(op, consumer.operation.opview, () if why_not else (INTO_LAYER_NORM,), why_not))
    made = [v.owner.opview for v in (op.lhs, op.rhs) if not isinstance(v.owner, ir.Block)]
    names = [label(v.owner.opview) for (v, reason) in behind if not reason]
    names += [label(producer) for producer in made if producer.operation.name != "sparsity.weight"]
    read_by = ", ".join(sorted({r.operation.name for r in reader}))
    return Found(
        legal={**legal, SEPARATE: Saving()},
        refused=refused,
        shape=f"{describe(op.lhs, context)} + {describe(op.rhs, context)} read by {read_by}",
        name=names[0] if names else "add",
        pairs=tuple(pairs),
    )


def fuse_residual(op: ir.OpView, variant: str, context: PassContext) -> bool:
    """`layer(x) + r` -> the addition as the layer's epilogue; `layer_norm(a + b)` -> inside the layer norm."""
    if variant == SEPARATE:
        return True
    if layout_of(op):
        return False
    if variant == INTO_LAYER_NORM:
        return not _no_layer_norm(op) and _into_layer_norm(op)
    if op.lhs == op.rhs:
        return False
    for value, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        if not _no_residual(value):
            layer = value.owner.opview
            new = rebuild_layer(layer, op, residual=other)
            replace(op, new.result, layer)
            return True
    return False


def _into_layer_norm(add: ir.OpView) -> bool:
    norm = readers(add.result)[0].operation.opview
    with joined_location(norm, add), ir.InsertionPoint(norm):
        new = norm.rebuild(x=add.lhs, residual=add.rhs)
    replace(norm, new.result, add)
    return True


ACTIVATION = Kind(
    "activation",
    "sparsity.activation",
    (INTO_LINEAR, SEPARATE),
    "activations-fused",
    _activation,
    fuse_activation,
)
RESIDUAL = Kind(
    "residual",
    "sparsity.add",
    (INTO_LINEAR, INTO_LAYER_NORM, SEPARATE),
    "residuals-fused",
    _residual,
    fuse_residual,
)
# After the residual has joined the convolution.
ACTIVATION_OF_SUM = Kind(
    "activation-of-sum",
    "sparsity.activation",
    (INTO_CONVOLUTION, SEPARATE),
    "activations-fused",
    _activation_of_sum,
    fuse_activation,
)
