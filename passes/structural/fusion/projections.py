"""Sites around an attention: merging the linears that feed it, and where its scores are scaled."""

import numpy as np
from torch_mlir import ir

from secateur.dialects import schemes
from secateur.dialects.sparsity.attributes import ENCODINGS
from secateur.dialects.sparsity.ops.linear import LinearOp
from secateur.dialects.sparsity.ops.weight import WeightOp, encoding_of, symbol_of, weight_behind
from secateur.dialects.sparsity.rules import activation_of, layout_of
from secateur.passes.base import PassContext

from .kinds import Found, Kind, Saving, describe
from .readers import (
    count_readers,
    defined_by,
    derived_weight,
    described,
    fits_f32,
    is_plain,
    joined_location,
    known_array,
    label,
    linear_behind,
    rebuild_linear,
    replace,
    tensor_bytes,
)

_OPERANDS = ("query", "key", "value")
# Which operands of the attention each variant makes one linear of.
_MERGED = {"merged": (0, 1, 2), "merged-key-value": (1, 2)}
SEPARATE, IN_ATTENTION, INTO_QUERY = "separate", "in-attention", "into-query"


def _not_mergeable(op: ir.OpView, variant: str) -> str:
    """Why the linears that `variant` names cannot become one; empty where they can."""
    if "offsets" in op.attributes:
        return "query, key and value are merged already"
    values = [getattr(op, _OPERANDS[i]) for i in _MERGED[variant]]
    if len(set(values)) < len(values):
        return "two of the operands are one value"
    first = None
    for name, value in zip((_OPERANDS[i] for i in _MERGED[variant]), values, strict=True):
        linear = defined_by(value, "sparsity.linear")
        if linear is None:
            return f"the {name} does not come straight from a linear"
        if linear_behind(value) is None:
            return f"{count_readers(value)} (the {name})"
        if not is_plain(linear):
            done = activation_of(linear) if activation_of(linear) != "none" else "addition"
            return f"the {name}'s linear has an epilogue ({done}), which would apply to all rows"
        first = first or linear
        if linear.x != first.x:
            return f"the {name}'s linear reads another input"
        if weight_behind(linear.weight) is None or (linear.bias is not None and weight_behind(linear.bias) is None):
            return f"the {name}'s weight or bias is no constant"
    return ""


def _merged_encoding(linears: list[ir.OpView], context: PassContext) -> tuple[ir.Attribute | None, int, int]:
    """The cheapest encoding for the rows of all `linears`, and how many bytes and kept weights it has more than theirs.

    Candidates are the encodings that the linears have. One that all have, with blocks that divide the rows of each,
    describes the merged weight as it described the parts, and nothing has to be counted.
    """
    known = [encoding_of(weight_behind(linear.weight)) for linear in linears]
    if all(encoding == known[0] for encoding in known):
        values = known[0].values() if known[0] is not None else {}
        unit = values.get("block_rows", values.get("size", 1))
        if all(linear.weight.type.shape[0] % unit == 0 for linear in linears):
            return known[0], 0, 0
    arrays = [known_array(linear.weight, context.weights) for linear in linears]
    if any(array is None for array in arrays):
        return None, 0, 0
    masks = [schemes.nonzeros(array) for array in arrays]
    whole = np.concatenate(masks)
    apart = [described(e, m) for e, m in zip(known, masks, strict=True)]
    legal = [(described(e, whole), e) for e in known if e is not None and described(e, whole).is_legal(whole)]
    legal = legal or [(schemes.Unstructured(), ENCODINGS["unstructured"].of())]
    best, attribute = min(legal, key=lambda pair: pair[0].packed_bytes(whole))
    extra_bytes = best.packed_bytes(whole) - sum(e.packed_bytes(m) for e, m in zip(apart, masks, strict=True))
    kept = sum(int(np.count_nonzero(e.kept(m))) for e, m in zip(apart, masks, strict=True))
    return attribute, extra_bytes, int(np.count_nonzero(best.kept(whole))) - kept


def _projections(op: ir.OpView, context: PassContext) -> Found | None:
    if layout_of(op) or "offsets" in op.attributes:
        return None
    legal, refused = {}, {}
    for variant, which in _MERGED.items():
        why = _not_mergeable(op, variant)
        if why:
            refused[variant] = why
            continue
        linears = [getattr(op, _OPERANDS[i]).owner.opview for i in which]
        _, extra_bytes, extra_weights = _merged_encoding(linears, context)
        moved = (len(linears) - 1) * tensor_bytes(linears[0].x) - extra_bytes
        tokens = int(np.prod(linears[0].x.type.shape[:-1]))
        legal[variant] = Saving(0, moved, 2 * tokens * extra_weights)
    producers = [getattr(op, name) for name in _OPERANDS]
    shape = "; ".join(describe(v, context) for v in producers)
    linears = [defined_by(v, "sparsity.linear") for v in producers]
    shared = all(linear is not None for linear in linears) and len({linear.x for linear in linears}) == 1
    return Found(
        legal={**legal, SEPARATE: Saving()},
        refused=refused,
        shape=f"heads={op.heads.value}/{op.kv_heads.value} {'one' if shared else 'several'} input(s): {shape}",
        name=_attention_name(op),
    )


def _block(value: ir.Value) -> bool:
    return isinstance(value.owner, ir.Block)


def _attention_name(op: ir.OpView) -> str:
    """The path that query, key and value have in common."""
    names = [label(v.owner.opview) for v in (op.query, op.key, op.value) if not _block(v)]
    return names[0].rpartition(".")[0] or names[0] if names else "attention"


def _merged_weight(parts: list[WeightOp | None], rows: list[int], at: ir.OpView, context: PassContext,
                   encoding: ir.Attribute | None = None) -> ir.Value:  # fmt: skip
    """One weight with the rows of all `parts`; a missing one (a bias) is zeros."""
    like = next(part for part in parts if part is not None)
    arrays = [np.zeros(n, np.float32) if p is None else context.array(p) for p, n in zip(parts, rows, strict=True)]
    hint = "+".join("zeros" if p is None else symbol_of(p) or "literal" for p in parts)
    return derived_weight(np.concatenate(arrays), hint, like, at, context, encoding)


def merge_projections(op: ir.OpView, variant: str, context: PassContext) -> bool:
    """Linears that feed an attention from the same x -> one linear with the rows of all of them."""
    if variant == SEPARATE:
        return True
    if layout_of(op) or _not_mergeable(op, variant):
        return False
    which = _MERGED[variant]
    linears = [getattr(op, _OPERANDS[i]).owner.opview for i in which]
    encoding = _merged_encoding(linears, context)[0]
    rows = [linear.weight.type.shape[0] for linear in linears]
    depth = op.query.type.shape[2] // op.heads.value
    weight = _merged_weight([weight_behind(linear.weight) for linear in linears], rows, op, context, encoding)
    biases = [None if linear.bias is None else weight_behind(linear.bias) for linear in linears]
    bias = _merged_weight(biases, rows, op, context) if any(b is not None for b in biases) else None
    x = linears[0].x
    operands, starts = {}, [0, 0, 0]
    with joined_location(*linears), ir.InsertionPoint(op):
        merged = LinearOp.build(x=x, weight=weight, bias=bias).result
    with op.location, ir.InsertionPoint(op):
        for place, i in enumerate(which):
            operands[_OPERANDS[i]], starts[i] = merged, sum(rows[:place])
        new = op.rebuild(**operands, offsets=starts, depth=depth)
    replace(op, new.result, *linears)
    return True


def _not_scalable(op: ir.OpView, context: PassContext) -> str:
    """Why the query's weight cannot take the scale; empty where it can."""
    if op.scale.value == 1.0:
        return "the scale is 1"
    linear = defined_by(op.query, "sparsity.linear")
    if "offsets" in op.attributes:
        return "the query is merged with key or value"
    if linear is None:
        return "the query does not come straight from a linear"
    if linear_behind(op.query) is None:
        return count_readers(op.query)
    if not is_plain(linear):
        return "the query's linear has an epilogue"
    arrays = [known_array(v, context.weights) for v in (linear.weight, linear.bias) if v is not None]
    if any(array is None for array in arrays):
        return "the query's weight or bias is no constant"
    return "" if fits_f32(*(a * op.scale.value for a in arrays)) else "the scaled weight would overflow"


def _scale(op: ir.OpView, context: PassContext) -> Found | None:
    if layout_of(op) or "offsets" in op.attributes:
        return None
    why = _not_scalable(op, context)
    # The present kernel multiplies by the scale even where it is one: no byte and no multiplication is saved.
    return Found(
        legal={IN_ATTENTION: Saving(), **({} if why else {INTO_QUERY: Saving()})},
        refused={INTO_QUERY: why} if why else {},
        shape=f"scale={op.scale.value:.6g} heads={op.heads.value} {describe(op.query, context)}",
        name=_attention_name(op),
    )


def fold_scale(op: ir.OpView, variant: str, context: PassContext) -> bool:
    """`attention(linear(x, W, b)) {scale}` -> `attention(linear(x, scale * W, scale * b)) {scale = 1}`."""
    if variant == IN_ATTENTION:
        return True
    if layout_of(op) or _not_scalable(op, context):
        return False
    linear, factor = op.query.owner.opview, op.scale.value
    changed = {}
    for name, value in (("weight", linear.weight), ("bias", linear.bias)):
        if value is not None:
            old = weight_behind(value)
            hint = f"{symbol_of(old) or 'literal'}*{factor:.6g}"
            array = context.array(old).astype(np.float64) * factor
            changed[name] = derived_weight(array, hint, old, linear, context, encoding_of(old))
    new = rebuild_linear(linear, linear, **changed)
    replace(linear, new.result)
    op.operation.attributes["scale"] = ir.FloatAttr.get(op.scale.type, 1.0)
    return True


QKV = Kind(
    "qkv",
    "sparsity.attention",
    (*_MERGED, SEPARATE),
    "attentions-merged",
    _projections,
    merge_projections,
)
ATTENTION_SCALE = Kind(
    "attention-scale",
    "sparsity.attention",
    (IN_ATTENTION, INTO_QUERY),
    "attention-scales-moved",
    _scale,
    fold_scale,
)
