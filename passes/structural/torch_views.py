"""Identities and reshapes of level 1: ops that move no data, or undo each other."""

from torch_mlir import ir

from .torch_values import constant, defined_by, make_transpose, make_view, permutation, shape_of, tensor_of

_RESHAPES = (
    "view",
    "reshape",
    "_unsafe_view",
    "unsqueeze",
    "squeeze.dim",
    "squeeze",
    "flatten.using_ints",
    "unflatten.int",
)
_IDENTITIES = ("detach", "alias", "contiguous", "clone", "lift_fresh_copy")
_CASTS = ("to.dtype", "to.dtype_layout", "to.device", "_to_copy", "type_as")
_SLICES = ("slice.Tensor",)


def same_value(op: ir.Operation) -> ir.Value | None:
    """A value that equals the result of `op`, which then need not run; None where there is none.

    Identities, dropout outside training, casts and reshapes to the type already there, a permutation that undoes
    the one before it, a slice of everything.
    """
    name = op.name.removeprefix("torch.aten.")
    if not len(op.operands) or len(op.results) != 1:
        return None
    source = op.operands[0]
    same_type = source.type == op.results[0].type and tensor_of(source) is not None
    if name in _IDENTITIES or name in _CASTS or name in _RESHAPES:
        return source if same_type else None
    if name == "broadcast_to" or name == "expand":
        return source if same_type else None
    if name == "dropout":
        return source if same_type and constant(op.operands[2]) is False else None
    if name in _SLICES:
        return source if same_type and constant(op.operands[4]) == 1 else None
    order = permutation(op)
    if order is None:
        return None
    if order == sorted(order):
        return source
    before = defined_by(source, "transpose.int", "permute")
    first = permutation(before) if before is not None else None
    if before is not None and first is not None and [first[axis] for axis in order] == sorted(order):
        return before.operands[0]
    return None


def merge_reshape(op: ir.Operation) -> ir.Value | None:
    """`reshape(reshape(x))` as one reshape of x, or x itself; None where there is nothing to merge."""
    name = op.name.removeprefix("torch.aten.")
    if name not in _RESHAPES or tensor_of(op.operands[0]) is None or tensor_of(op.results[0]) is None:
        return None
    before = defined_by(op.operands[0], *_RESHAPES)
    if before is None or tensor_of(before.operands[0]) is None:
        return None
    with ir.InsertionPoint(op), op.location:
        return make_view(before.operands[0], shape_of(op.results[0]))


def simplify_views(ops: list[ir.Operation]) -> int:
    """Removes such ops in place. `ops` are in program order; returns how many were removed."""
    removed = 0
    for op in ops:
        replacement = same_value(op) or merge_reshape(op)
        if replacement is not None:
            op.results[0].replace_all_uses_with(replacement)
            removed += 1
    return removed


def reshape_source(value: ir.Value, shape: tuple[int, ...]) -> ir.Value | None:
    """A value of `shape` that `value` is a reshape of, else None."""
    while tensor_of(value) is not None:
        if shape_of(value) == shape:
            return value
        op = defined_by(value, *_RESHAPES)
        if op is None:
            return None
        value = op.operands[0]
    return None


def token_major(value: ir.Value) -> ir.Value:
    """[batch, heads, tokens, depth] as [batch, tokens, heads * depth]: what it was split from, where it was."""
    shape = shape_of(value)
    if len(shape) == 3:
        return value
    batch, heads, tokens, depth = shape
    op = defined_by(value, "transpose.int", "permute")
    already = op is not None and permutation(op) == [0, 2, 1, 3]
    split = op.operands[0] if op is not None and already else make_transpose(value, 1, 2)
    merged = (batch, tokens, heads * depth)
    return reshape_source(split, merged) or make_view(split, merged)
