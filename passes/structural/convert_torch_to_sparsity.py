"""`convert-torch-to-sparsity`: level 1 to level 2."""

import dataclasses

from torch_mlir import ir

from secateur.dialects.sparsity.ops.activation import ActivationOp
from secateur.dialects.sparsity.ops.add import AddOp
from secateur.dialects.sparsity.ops.embedding import EmbeddingOp
from secateur.dialects.sparsity.ops.layer_norm import LayerNormOp
from secateur.dialects.sparsity.ops.linear import LinearOp
from secateur.dialects.sparsity.ops.weight import WeightOp

from ..base import Pass, PassContext, functions
from . import torch_activations
from .torch_attention import convert_attention
from .torch_convolutions import fold_batch_norm, make_convolution, make_max_pool
from .torch_decoders import make_gated, make_rms_norm, make_rotary
from .torch_masks import MaskReader
from .torch_values import (
    FROM_BUILTIN,
    TO_BUILTIN,
    constants,
    from_builtin,
    is_f32,
    is_none,
    number,
    owner,
    shape_of,
    tensor_of,
    to_builtin,
)
from .torch_views import simplify_views

# Values nothing uses any more; all are free of side effects.
_PURE = ("torch.aten.", "torch.constant.", "torch.prim.ListConstruct", "torch_c.", "sparsity.weight", "torch.vtensor.")


def _linear(op: ir.Operation) -> ir.Value | None:
    """aten.linear(x, weight, bias?)"""
    x, weight, bias = op.operands
    if not is_f32(x) or not is_f32(weight) or len(shape_of(weight)) != 2:
        return None
    if not is_none(bias) and not is_f32(bias):
        return None
    if tensor_of(op.results[0]) is None:
        return None
    given = None if is_none(bias) else to_builtin(bias)
    return LinearOp.build(x=to_builtin(x), weight=to_builtin(weight), bias=given).result


def _layer_norm(op: ir.Operation) -> ir.Value | None:
    """aten.layer_norm(x, normalized_shape, weight?, bias?, epsilon, cudnn) over the last axis"""
    x, normalized, weight, bias, epsilon, _ = op.operands
    if not is_f32(x) or constants(normalized) != [shape_of(x)[-1]] or number(epsilon) is None:
        return None
    if not all(is_none(value) or is_f32(value) for value in (weight, bias)):
        return None
    features = shape_of(x)[-1]
    scale = _splat(features, 1.0) if is_none(weight) else to_builtin(weight)
    shift = _splat(features, 0.0) if is_none(bias) else to_builtin(bias)
    return LayerNormOp.build(x=to_builtin(x), weight=scale, bias=shift, epsilon=number(epsilon)).result


def _splat(features: int, value: float) -> ir.Value:
    tensor = ir.RankedTensorType.get([features], ir.F32Type.get())
    attribute = ir.FloatAttr.get(ir.F32Type.get(), value)
    return WeightOp(tensor, source=ir.DenseElementsAttr.get_splat(tensor, attribute)).result


def _add(op: ir.Operation) -> ir.Value | None:
    """aten.add.Tensor(a, b, 1) of equal shapes"""
    left, right, alpha = op.operands
    if not is_f32(left) or left.type != right.type or number(alpha) != 1.0:
        return None
    return AddOp.build(lhs=to_builtin(left), rhs=to_builtin(right)).result


def _embedding(op: ir.Operation) -> ir.Value | None:
    """aten.embedding(table, indices, padding, ...)"""
    table, indices = op.operands[0], op.operands[1]
    found, result = tensor_of(indices), tensor_of(op.results[0])
    if not is_f32(table) or found is None or found.element not in ("si64", "si32") or result is None:
        return None
    return EmbeddingOp.build(indices=to_builtin(indices), table=to_builtin(table)).result


def _activation(op: ir.Operation) -> ir.Value | None:
    """An activation that is one op."""
    return _make_activation(torch_activations.match_single(op))


def _make_activation(found: tuple[str, ir.Value] | None) -> ir.Value | None:
    if found is None:
        return None
    return ActivationOp.build(x=to_builtin(found[1]), kind=found[0]).result


def _spelled_out_activation(op: ir.Operation) -> ir.Value | None:
    made = _make_activation(torch_activations.match_spelled_out(op))
    return from_builtin(made, op.results[0].type) if made is not None else None


_SPELLED_OUT = {
    "mul.Tensor": {"activation": _spelled_out_activation, "rms_norm": make_rms_norm, "gated": make_gated},
    "add.Tensor": {"rotary": make_rotary},
    "cat": {"rotary": make_rotary},
}
_CONVERSIONS = {
    "linear": _linear,
    "convolution": make_convolution,
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), make_max_pool),
    "layer_norm": _layer_norm,
    "add.Tensor": _add,
    "embedding": _embedding,
    **dict.fromkeys(("gelu", "relu", "silu", "tanh", "sigmoid"), _activation),
}


def _replace(op: ir.Operation, made: ir.Value) -> None:
    op.results[0].replace_all_uses_with(from_builtin(made, op.results[0].type))


def _cancel_casts(ops: list[ir.Operation]) -> None:
    """A cast of a cast back is the value before both; a value is cast once."""
    casts: dict[ir.Value, ir.Value] = {}
    for op in ops:
        if op.name == TO_BUILTIN:
            first = casts.setdefault(op.operands[0], op.results[0])
            if first != op.results[0]:
                op.results[0].replace_all_uses_with(first)
                continue
        before = owner(op.operands[0]) if op.name in (FROM_BUILTIN, TO_BUILTIN) else None
        if before is not None and {op.name, before.name} == {FROM_BUILTIN, TO_BUILTIN}:
            op.results[0].replace_all_uses_with(before.operands[0])


def _inline_literals(ops: list[ir.Operation]) -> None:
    """A literal that is no f32 array is index arithmetic of the model, not a weight: a plain constant."""
    for op in ops:
        if op.name != "sparsity.weight" or isinstance(op.attributes["source"], ir.StringAttr):
            continue
        tensor = op.results[0].type
        if tensor.rank == 0 or not isinstance(tensor.element_type, ir.F32Type):
            with ir.InsertionPoint(op), op.location:
                source = {"value": op.attributes["source"]}
                constant = ir.Operation.create("arith.constant", results=[tensor], attributes=source)
            op.results[0].replace_all_uses_with(constant.result)


def _erase_unused(body: ir.Block) -> None:
    for op in reversed(list(body.operations)):
        operation = op.operation
        pure = operation.name.startswith(_PURE) and not operation.name.endswith("_")
        if pure and len(operation.results) and not any(_is_used(result) for result in operation.results):
            operation.erase()


def _is_used(value: ir.Value) -> bool:
    return next(iter(value.uses), None) is not None


@dataclasses.dataclass(frozen=True)
class ConvertTorchToSparsity(Pass):
    """Rewrites torch ops into the structural ops of the sparsity dialect.

    before:
        %w = "sparsity.weight"() {source = "query.weight"} : () -> tensor<768x768xf32>
        %t = torch_c.from_builtin_tensor %w : tensor<768x768xf32> -> !torch.vtensor<[768,768],f32>
        %q = torch.aten.linear %x, %t, %b : ... -> !torch.vtensor<[1,128,768],f32>
        %h = torch.aten.transpose.int (torch.aten.view %q, [1, 128, 12, 64]), 1, 2
        %a = torch.aten.scaled_dot_product_attention %h, %k, %v, %mask, ...
        %o = torch.aten.view (torch.aten.transpose.int %a, 1, 2), [1, 128, 768]
    after:
        %w = "sparsity.weight"() {source = "query.weight"} : () -> tensor<768x768xf32>
        %q = "sparsity.linear"(%x, %w, %b) : ... -> tensor<1x128x768xf32>
        %o = "sparsity.attention"(%q, %k, %v, %key_bias) {heads = 12, ...} : ... -> tensor<1x128x768xf32>

    Converts linear, layer_norm over the last axis, gelu, relu, silu, tanh, sigmoid, add of equal shapes, embedding and
    attention, and what models spell out in arithmetic: attention, activations, root-mean-square norms, rotary
    embeddings and gated units. Drops dropout and other identities.
    Values pass between torch ops and structural ops through casts, which cancel where structural ops meet.

    Preconditions: f32 tensors of static shape; another op is left to torch-mlir's lowering to linalg. Rationale:
    kernels are made for static shapes, and a quiet change of precision would change results.
    A mask that is the same for all queries and heads becomes `key_bias`, whatever size it was computed at. Rationale:
    a bias for every query and key costs as much memory traffic as the scores.
    Counts the ops made by kind (`linear`, `attention`, ...) and the `views-removed`.
    """

    name = "convert-torch-to-sparsity"

    def run(self, module: ir.Module, context: PassContext) -> None:
        with module.context:
            for function in functions(module):
                body = function.regions[0].blocks[0]
                context.count("views-removed", simplify_views(_operations(body)))
                # The features that a rotation leaves as they are come last, and say what it was a part of.
                self._convert_composite([op for op in _operations(body) if op.name == "torch.aten.cat"], context)
                _erase_unused(body)
                self._convert_composite(_operations(body), context)
                # Else what a composite op was made of would be converted for nothing.
                _erase_unused(body)
                context.count("views-removed", simplify_views(_operations(body)))
                self._convert_single(_operations(body), context)
                _cancel_casts(_operations(body))
                _inline_literals(_operations(body))
                _erase_unused(body)

    @staticmethod
    def _convert_composite(ops: list[ir.Operation], context: PassContext) -> None:
        # Before the ops that they are made of, which would be converted one by one.
        masks = MaskReader()
        for op in ops:
            if op.name in ("torch.aten.scaled_dot_product_attention", "torch.aten.matmul", "torch.aten.bmm"):
                if convert_attention(op, masks):
                    context.count("attention")
                continue
            for kind, make in _SPELLED_OUT.get(op.name.removeprefix("torch.aten."), {}).items():
                with ir.InsertionPoint(op), op.location:
                    made = make(op)
                if made is not None:
                    op.results[0].replace_all_uses_with(made)
                    context.count(kind)
                    break

    @staticmethod
    def _convert_single(ops: list[ir.Operation], context: PassContext) -> None:
        for op in ops:
            name = op.name.removeprefix("torch.aten.")
            if (name not in _CONVERSIONS and name != "batch_norm") or not _is_used(op.results[0]):
                continue
            with ir.InsertionPoint(op), op.location:
                made = fold_batch_norm(op, context) if name == "batch_norm" else _CONVERSIONS[name](op)
                if made is not None:
                    _replace(op, made)
                    what = "batch-norms-folded" if name == "batch_norm" else made.owner.name.removeprefix("sparsity.")
                    context.count(what)


def _operations(body: ir.Block) -> list[ir.Operation]:
    return [op.operation for op in body.operations]
