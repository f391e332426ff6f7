"""Rewrites before the portable lowering: what was arranged for kernels becomes plain again."""

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import linalg
from torch_mlir.dialects import tensor as tensor_dialect

from secateur.dialects.sparsity.ops.linear import LinearOp
from secateur.dialects.sparsity.ops.panels import FromPanelsOp, ToPanelsOp
from secateur.dialects.sparsity.ops.quantized_linear import dense_weight, group_of
from secateur.dialects.sparsity.ops.sliced_linear import column_lists, unpack_slices
from secateur.dialects.sparsity.ops.weight import make_weight, symbol_of, weight_behind
from secateur.dialects.sparsity.rules import layout_of

from ..base import PassContext, PassFailure, operands_by_name


def known_arrays(op: ir.OpView, names: tuple[str, ...], context: PassContext) -> dict[str, np.ndarray]:
    """The arrays of operands that are `sparsity.weight`s, by name; those that are absent are left out.

    Raises `PassFailure` at an operand that is something else.
    """
    arrays = {}
    for name, value in operands_by_name(op).items():
        if name in names:
            weight = weight_behind(value)
            if weight is None:
                raise PassFailure(op, f"expected its {name} to be a 'sparsity.weight'")
            arrays[name] = context.array(weight)
    return arrays


def dense_bytes(op: ir.OpView, context: PassContext) -> dict[str, ir.Value]:
    """The operands of a `quantized_linear` by name, with the weight i8 as `dense`: [rows, features / n, n] for groups
    of n, [rows, features] for rows.
    """
    arrays = known_arrays(op, ("values", "columns", "segments", "offsets", "rows", "work"), context)
    weight = dense_weight(op, list(arrays.values())).astype(np.int8)
    if group_of(op) > 1:
        weight = weight.reshape(len(weight), -1, group_of(op))
    like = weight_behind(op.values)
    symbol = (symbol_of(like) or "literal").removesuffix("/values")
    with op.location, ir.InsertionPoint(op):
        dense = make_weight(weight, f"{symbol}/dense", context.weights, like).result
    return {name: value for name, value in operands_by_name(op).items() if name not in arrays} | {"dense": dense}


def leave_slices(op: ir.OpView, context: PassContext) -> None:
    """Rewrites a layer in slices of rows as one with its dense weight: slices are made for kernels."""
    arrays = known_arrays(op, (*op.CONSTANTS, *op.INDICES), context)
    bias, scales = arrays.pop("slice_bias", None), arrays.pop("slice_scales", None)
    starts, order, features = arrays.pop("starts", None), arrays.pop("order", None), op.x.type.shape[1]
    arrays["columns"] = column_lists(op, arrays["columns"], starts, order, features)
    dense = unpack_slices(op, list(arrays.values()), features).astype(np.float32)
    if scales is not None:
        whole = np.zeros(len(dense), dtype=np.float32)
        whole[arrays["rows"]] = scales
        dense *= whole[:, None]
    like = weight_behind(op.values)
    symbol = (symbol_of(like) or "literal").removesuffix("/slices/values")
    with op.location, ir.InsertionPoint(op):
        weight = make_weight(dense, f"{symbol}/dense", context.weights, like).result
        if bias is not None:
            whole = np.zeros(len(dense), dtype=bias.dtype)
            whole[arrays["rows"]] = bias
            bias = make_weight(whole, f"{symbol}/bias", context.weights, like).result
        activation = op.attributes.get("activation", None)
        new = LinearOp.build(x=op.x, weight=weight, bias=bias, residual=op.residual, activation=activation)
    op.result.replace_all_uses_with(new.result)
    op.operation.erase()


def leave_panels(op: ir.OpView) -> None:
    """Rewrites an op in panels as a token-major one between `from_panels` and `to_panels`, at the padded length."""
    layout = layout_of(op)
    f32 = ir.F32Type.get(context=op.context)

    def token_major(value: ir.Value) -> ir.Value:
        batch, panels, features, panel = layout.sizes(value.type.shape)
        kind = ir.RankedTensorType.get([batch, panels * panel, features], f32)
        return FromPanelsOp(kind, value, layout).result

    with op.location, ir.InsertionPoint(op):
        changed = {name: token_major(getattr(op, name)) for name in op.IN_PANELS if getattr(op, name) is not None}
        if op.operation.name == "sparsity.attention" and op.bias is not None:
            changed["bias"] = _untransposed(op.bias)
        batch, panels, features, panel = layout.sizes(op.result.type.shape)
        kind = ir.RankedTensorType.get([batch, panels * panel, features], f32)
        new = op.rebuild(kind, layout=None, **changed)
        result = ToPanelsOp(op.result.type, new.result, layout).result
    op.result.replace_all_uses_with(result)
    op.operation.erase()


def _untransposed(bias: ir.Value) -> ir.Value:
    first, second, keys, tokens = bias.type.shape
    empty = tensor_dialect.empty([first, second, tokens, keys], ir.F32Type.get())
    return linalg.transpose(bias, outs=[empty], permutation=[0, 1, 3, 2]).result[0]
