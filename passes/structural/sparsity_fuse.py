"""Joins neighbouring structural ops, so that fewer tensors travel through memory.

before:
    %q = "sparsity.linear"(%x, %wq, %bq);  %k = ...(%x, %wk, %bk);  %v = ...(%x, %wv, %bv)
    %a = "sparsity.attention"(%q, %k, %v, %mask) {...}
    %h = "sparsity.linear"(%a, %w1, %b1);  %g = "sparsity.activation"(%h) {kind = "gelu"}
    %o = "sparsity.linear"(%g, %w2, %b2);  %s = "sparsity.add"(%o, %a)
    %n = "sparsity.layer_norm"(%s, %gamma, %beta)
after:
    %qkv = "sparsity.linear"(%x, %w, %b)
    %a = "sparsity.attention"(%qkv, %qkv, %qkv, %mask) {..., offsets = [0, 768, 1536], depth = 64 : i64}
    %g = "sparsity.linear"(%a, %w1, %b1) {activation = "gelu"}
    %s = "sparsity.linear"(%g, %w2, %b2, residual %a)
    %n = "sparsity.layer_norm"(%s, %gamma, %beta)

An addition whose operands are no linear layers joins the layer norm that reads it.

Preconditions: a producer that is joined has no other reader. Rationale: its result disappears.
  Merged linears read the same x, feed the same attention, are without epilogue, have equal encodings whose row blocks
  divide their rows, and have all a bias or none. Rationale: the merged weight must keep its zeros describable, and an
  epilogue applies to all rows.
"""

import dataclasses

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attention_op import AttentionOp
from secateur.dialects.sparsity.attributes import ENCODING
from secateur.dialects.sparsity.structural_ops import (
    LayerNormOp,
    LinearOp,
    activation_of,
    layout_of,
)
from secateur.dialects.sparsity.weights import (
    encoding_of,
    make_weight,
    symbol_of,
    weight_behind,
)

from ..base import Pass, PassContext, walk


def _linear_behind(value: ir.Value) -> ir.OpView | None:
    """The linear layer that makes `value` for one reader only, or None."""
    owner = value.owner
    if isinstance(owner, ir.Block) or owner.name != "sparsity.linear" or len(list(value.uses)) != 1:
        return None
    return owner.opview


def _rebuild(linear: ir.OpView, at: ir.OpView, **changed: ir.Value) -> ir.OpView:
    """`linear` again, just before `at`, with other operands; the old one is left for the caller to erase."""
    operands = {"bias": linear.bias, "residual": linear.residual, **changed}
    with linear.location, ir.InsertionPoint(at):
        new = LinearOp(linear.result.type, linear.x, linear.weight, **operands)
    for name, attribute in linear.operation.attributes.items():
        if name != "operandSegmentSizes":
            new.attributes[name] = attribute
    return new


def _replace(op: ir.OpView, value: ir.Value, *dead: ir.OpView) -> None:
    op.operation.results[0].replace_all_uses_with(value)
    for gone in (op, *dead):
        gone.operation.erase()


def fuse_activation(op: ir.OpView) -> bool:
    """`activation(linear(x))` -> the activation as the linear's epilogue."""
    linear = _linear_behind(op.x)
    if linear is None or layout_of(op) or activation_of(linear) != "none" or linear.residual is not None:
        return False
    new = _rebuild(linear, op)
    new.attributes["activation"] = op.kind
    _replace(op, new.result, linear)
    return True


def fuse_residual(op: ir.OpView) -> bool:
    """`linear(x) + r` -> the addition as the linear's epilogue."""
    if layout_of(op) or op.lhs == op.rhs:
        return False
    for value, other in ((op.lhs, op.rhs), (op.rhs, op.lhs)):
        linear = _linear_behind(value)
        if linear is not None and linear.residual is None:
            new = _rebuild(linear, op, residual=other)
            _replace(op, new.result, linear)
            return True
    return False


def fuse_layer_norm(op: ir.OpView) -> bool:
    """`layer_norm(a + b)` -> the addition inside the layer norm."""
    owner = op.x.owner
    if op.residual is not None or layout_of(op) or isinstance(owner, ir.Block) or owner.name != "sparsity.add":
        return False
    if len(list(op.x.uses)) != 1:
        return False
    add = owner.opview
    with op.location, ir.InsertionPoint(op):
        new = LayerNormOp(op.result.type, add.lhs, op.weight, op.bias, op.epsilon, residual=add.rhs)
    _replace(op, new.result, add)
    return True


def _mergeable(linears: list[ir.OpView | None]) -> bool:
    if any(linear is None for linear in linears):
        return False
    first, weights = linears[0], [weight_behind(linear.weight) for linear in linears]
    for linear, weight in zip(linears, weights, strict=True):
        plain = activation_of(linear) == "none" and linear.residual is None and linear.x == first.x
        if not plain or weight is None or (linear.bias is None) != (first.bias is None):
            return False
        if linear.bias is not None and weight_behind(linear.bias) is None:
            return False
    encodings = [encoding_of(w) for w in weights]
    if any(encoding != encodings[0] for encoding in encodings):
        return False
    values = encodings[0].values() if encodings[0] is not None else {}
    unit = values.get("block_rows", values.get("size", 1))
    return all(linear.weight.type.shape[0] % unit == 0 for linear in linears)


def _merged(weights: list[ir.OpView], at: ir.OpView, context: PassContext) -> ir.OpView:
    """One weight op with the rows of all of `weights`."""
    array = np.concatenate([context.array(weight) for weight in weights])
    hint = "+".join(symbol_of(weight) or "literal" for weight in weights)
    with at.location, ir.InsertionPoint(at):
        made = make_weight(array, hint, context.weights, weights[0])
    if ENCODING in weights[0].attributes:
        made.attributes[ENCODING] = weights[0].attributes[ENCODING]
    return made


def merge_query_key_value(op: ir.OpView, context: PassContext) -> bool:
    """Three linears that feed an attention from the same x -> one linear with the rows of all three."""
    linears = [_linear_behind(v) for v in (op.query, op.key, op.value)]
    if "offsets" in op.attributes or layout_of(op) or not _mergeable(linears):
        return False
    weight = _merged([weight_behind(linear.weight) for linear in linears], op, context)
    bias = None
    if linears[0].bias is not None:
        bias = _merged([weight_behind(linear.bias) for linear in linears], op, context).result
    x, rows = linears[0].x, [linear.weight.type.shape[0] for linear in linears]
    depth = rows[0] // op.heads.value
    shape = [*x.type.shape[:-1], sum(rows)]
    i64 = ir.IntegerType.get_signless(64)
    with op.location, ir.InsertionPoint(op):
        merged = LinearOp(ir.RankedTensorType.get(shape, x.type.element_type), x, weight.result, bias=bias).result
        new = AttentionOp(
            op.result.type,
            merged,
            merged,
            merged,
            op.heads,
            op.kv_heads,
            op.scale,
            causal=op.causal,
            key_bias=op.key_bias,
            bias=op.bias,
        )
        starts = [0, rows[0], rows[0] + rows[1]]
        new.attributes["offsets"] = ir.ArrayAttr.get([ir.IntegerAttr.get(i64, s) for s in starts])
        new.attributes["depth"] = ir.IntegerAttr.get(i64, depth)
    _replace(op, new.result, *linears)
    return True


@dataclasses.dataclass(frozen=True)
class SparsityFuse(Pass):
    """Fuses activations, residuals and layer norms into their producers; merges query, key and value."""

    merge_qkv: bool = True

    name = "sparsity-fuse"

    def run(self, module: ir.Module, context: PassContext) -> None:
        for op in walk(module, "sparsity.activation"):
            context.count("activations-fused", fuse_activation(op))
        for op in walk(module, "sparsity.add"):
            context.count("residuals-fused", fuse_residual(op))
        for op in walk(module, "sparsity.layer_norm"):
            context.count("layer-norms-fused", fuse_layer_norm(op))
        if self.merge_qkv:
            for op in walk(module, "sparsity.attention"):
                context.count("attentions-merged", merge_query_key_value(op, context))
