"""Parts of decoders in level 1, spelled out in arithmetic: root-mean-square norms, rotary embeddings, gated units.

x * rsqrt(mean(x * x) + epsilon) * weight                                       rms_norm
x * cos + cat(-x[..., half:], x[..., :half]) * sin     [and what is not turned behind it]       rotary
activation(gate) * up                                                           gated
"""

from torch_mlir import ir

from secateur.dialects.sparsity.ops.activation import ActivationOp
from secateur.dialects.sparsity.ops.gated import GatedOp
from secateur.dialects.sparsity.ops.rms_norm import RmsNormOp
from secateur.dialects.sparsity.ops.rotary import RotaryOp

from . import torch_activations
from .torch_values import (
    FROM_BUILTIN,
    TorchTensor,
    constant,
    constants,
    defined_by,
    from_builtin,
    is_f32,
    make_transpose,
    make_view,
    number,
    owner,
    shape_of,
    to_builtin,
)
from .torch_views import token_major


def make_rms_norm(op: ir.Operation) -> ir.Value | None:
    """For the product with the weight, which ends it."""
    for scaled, weight in _both_ways(op):
        product = defined_by(scaled, "mul.Tensor")
        if product is None or not is_f32(weight) or scaled.type != op.results[0].type:
            continue
        if shape_of(weight) != shape_of(scaled)[-1:]:
            continue
        for x, root in _both_ways(product):
            epsilon = _mean_square_root(root, x)
            if epsilon is not None and is_f32(x) and x.type == scaled.type:
                made = RmsNormOp.build(x=to_builtin(x), weight=to_builtin(weight), epsilon=epsilon).result
                return from_builtin(made, op.results[0].type)
    return None


def _mean_square_root(value: ir.Value, x: ir.Value) -> float | None:
    """The epsilon of `rsqrt(mean(x * x, -1) + epsilon)`, else None."""
    root = defined_by(value, "rsqrt")
    shifted = defined_by(root.operands[0], "add.Scalar") if root is not None else None
    if shifted is None or number(shifted.operands[2]) != 1.0:
        return None
    mean, features = shifted.operands[0], shape_of(x)[-1]
    op = defined_by(mean, "mean.dim")
    if op is None:
        divided = defined_by(mean, "div.Scalar")
        if divided is None or number(divided.operands[1]) != features:
            return None
        op = defined_by(divided.operands[0], "sum.dim_IntList")
    if op is None or constants(op.operands[1]) not in ([-1], [len(shape_of(x)) - 1]):
        return None
    if constant(op.operands[2]) is not True:
        return None
    square = defined_by(op.operands[0], "mul.Tensor", "pow.Tensor_Scalar")
    if square is None or square.operands[0] != x:
        return None
    is_square = square.operands[1] == x if square.name.endswith("mul.Tensor") else number(square.operands[1]) == 2.0
    return number(shifted.operands[1]) if is_square else None


def make_gated(op: ir.Operation) -> ir.Value | None:
    """For the product of an activation that nothing else reads and a tensor of its type."""
    for active, up in _both_ways(op):
        if active.type != up.type or not is_f32(up) or len(list(active.uses)) != 1:
            continue
        found = _activation(active)
        if found is not None and found[1] != up:
            made = GatedOp.build(gate=to_builtin(found[1]), up=to_builtin(up), kind=found[0]).result
            return from_builtin(made, op.results[0].type)
    return None


def _activation(value: ir.Value) -> tuple[str, ir.Value] | None:
    """Kind and operand of the activation that gives `value`: a torch op, or one that was converted already."""
    op = owner(value)
    if op is None:
        return None
    if op.name == FROM_BUILTIN:
        made = owner(op.operands[0])
        view = made.opview if made is not None else None
        if not isinstance(view, ActivationOp):
            return None
        return view.kind.value, from_builtin(view.x, value.type)
    return torch_activations.match_single(op)


def make_rotary(op: ir.Operation) -> ir.Value | None:
    """For the sum that ends it on [batch, heads, tokens, depth], or the `cat` with the features that stay."""
    whole, total = None, op
    if op.name == "torch.aten.cat":
        parts = _parts(op)
        if parts is None or len(parts) != 2:
            return None
        kept = _slice(parts[1])
        turned = defined_by(parts[0], "add.Tensor")
        if kept is None or turned is None:
            return None
        whole, total = kept[0], turned
    found = _turned(total)
    if found is None:
        return None
    x, cos, sin = found
    if whole is not None:
        first, size = _slice(x), shape_of(x)[-1]
        wanted = (whole, 0, size), (whole, size, shape_of(whole)[-1])
        if (first, kept) != wanted:
            return None
        x = whole
    heads = shape_of(x)[1]
    made = RotaryOp.build(x=to_builtin(token_major(x)), cos=to_builtin(cos), sin=to_builtin(sin), heads=heads).result
    batch, _, tokens, depth = shape_of(x)
    merged = from_builtin(made, TorchTensor((batch, tokens, heads * depth), "f32").type)
    return make_transpose(make_view(merged, (batch, tokens, heads, depth)), 1, 2)


def _turned(total: ir.Operation) -> tuple[ir.Value, ir.Value, ir.Value] | None:
    """x, cos and sin where `total` is `x * cos + cat(-x[half:], x[:half]) * sin`; the angles as [.., tokens, r]."""
    if total.name != "torch.aten.add.Tensor" or number(total.operands[2]) != 1.0 or not is_f32(total.results[0]):
        return None
    for left, right in _both_ways(total):
        straight, crossed = defined_by(left, "mul.Tensor"), defined_by(right, "mul.Tensor")
        if straight is None or crossed is None:
            continue
        for x, cos in _both_ways(straight):
            for pairs, sin in _both_ways(crossed):
                if not _is_half_turn(pairs, x) or x.type != total.results[0].type:
                    continue
                first, second = _angles(cos, x), _angles(sin, x)
                if first is not None and second is not None:
                    return x, first, second
    return None


def _is_half_turn(value: ir.Value, x: ir.Value) -> bool:
    """Whether `value` is `cat(-x[..., half:], x[..., :half])`."""
    cat = defined_by(value, "cat")
    parts = _parts(cat) if cat is not None else None
    if parts is None or len(parts) != 2 or len(shape_of(x)) != 4:
        return False
    negated, depth = defined_by(parts[0], "neg"), shape_of(x)[-1]
    if negated is None or depth % 2:
        return False
    wanted = (x, depth // 2, depth), (x, 0, depth // 2)
    return (_slice(negated.operands[0]), _slice(parts[1])) == wanted


def _angles(value: ir.Value, x: ir.Value) -> ir.Value | None:
    """[batch or 1, 1, tokens, depth] without the axis of heads, else None."""
    if not is_f32(value):
        return None
    batch, _, tokens, depth = shape_of(x) if len(shape_of(x)) == 4 else (0, 0, 0, 0)
    shape = (1,) * (4 - len(shape_of(value))) + shape_of(value)
    if shape[0] not in (1, batch) or shape[1:] != (1, tokens, depth):
        return None
    return make_view(value, (shape[0], tokens, depth))


def _parts(cat: ir.Operation) -> list[ir.Value] | None:
    """The operands of a `cat` along the last axis, else None."""
    listed = owner(cat.operands[0])
    if listed is None or listed.name != "torch.prim.ListConstruct" or not is_f32(cat.results[0]):
        return None
    rank = len(shape_of(cat.results[0]))
    return list(listed.operands) if constant(cat.operands[1]) in (-1, rank - 1) else None


def _slice(value: ir.Value) -> tuple[ir.Value, int, int] | None:
    """What `value` is a slice of along the last axis, its begin and its end; else None."""
    op = defined_by(value, "slice.Tensor")
    if op is None or not is_f32(op.operands[0]):
        return None
    rank, size = len(shape_of(op.operands[0])), shape_of(op.operands[0])[-1]
    axis, begin, end, step = (constant(operand) for operand in op.operands[1:])
    if axis not in (-1, rank - 1) or step != 1 or not isinstance(begin, int) or not isinstance(end, int):
        return None
    begin, end = (min(n + size if n < 0 else n, size) for n in (begin, end))
    return op.operands[0], begin, end


def _both_ways(op: ir.Operation) -> list[tuple[ir.Value, ir.Value]]:
    return [(op.operands[0], op.operands[1]), (op.operands[1], op.operands[0])]
