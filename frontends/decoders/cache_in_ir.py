"""Key-value caches in level 1: the ops of `cache_ops` in ops that later levels know, and caches as state of the module.

before:
    func.func @decode(%ids, %position, %old: !torch.vtensor<[1,384,64],f32>) -> (logits, cache) {
      %new = torch.operator "torch.secateur.write_rows"(%old, %rows, %position)
      return %logits, %new
after:
    ml_program.global private mutable @key_0(dense<0.0> : tensor<1x384x64xf32>) : tensor<1x384x64xf32> {sparsity.state}
    func.func @decode(%ids, %position) -> logits {
      %old = ml_program.global_load @key_0
      %new = tensor.insert_slice %rows into %old[0, %row, 0] [1, 1, 64] [1, 1, 1]
      ml_program.global_store @key_0 = %new
      return %logits

`%row` is the position, or the last row from which on the rows fit: a caller's wrong number writes nowhere else.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch_mlir import ir
from torch_mlir.dialects import arith, tensor

from secateur.dialects.sparsity.ops.cached_attention import CachedAttentionOp
from secateur.dialects.sparsity.state import GLOBAL, LOAD, STATE, STORE

from .cache_ops import NAMESPACE

_TO_BUILTIN, _FROM_BUILTIN = "torch_c.to_builtin_tensor", "torch_c.from_builtin_tensor"
_ELEMENTS = {"f32": "f32", "f16": "f16", "si32": "i32"}


def convert_cache_ops(module: ir.Module) -> None:
    """Rewrites what `cache_ops` became when it was imported."""
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name == "torch.operator":
            found.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    made = {"write_rows": _write_rows, "cached_attention": _cached_attention}
    for op in found:
        _, _, name = ir.StringAttr(op.attributes["name"]).value.partition(f"{NAMESPACE}.")
        if name in made:
            with op.location, ir.InsertionPoint(op):
                result = made[name](op)
                cast = ir.Operation.create(_FROM_BUILTIN, [op.results[0].type], [result])
            op.results[0].replace_all_uses_with(cast.result)
            op.erase()


def _write_rows(op: ir.Operation) -> ir.Value:
    cache, rows, position = map(_builtin, op.operands)
    batch, tokens, features = rows.type.shape
    if rows.type.element_type != cache.type.element_type:
        rows = arith.truncf(ir.RankedTensorType.get(rows.type.shape, cache.type.element_type), rows)
    index = ir.IndexType.get()
    first, last = arith.constant(index, 0), arith.constant(index, cache.type.shape[1] - tokens)
    for sequence in range(batch):
        place = arith.index_cast(index, tensor.extract(position, [arith.constant(index, sequence)]))
        place = arith.minsi(arith.maxsi(place, first), last)
        one = _slice(rows, sequence, [1, tokens, features]) if batch > 1 else rows
        cache = _insert(one, cache, sequence, place)
    return cache


def _slice(value: ir.Value, sequence: int, sizes: Sequence[int]) -> ir.Value:
    return ir.Operation.create(
        "tensor.extract_slice",
        [ir.RankedTensorType.get(sizes, value.type.element_type)],
        [value],
        {**_places([sequence, 0, 0], sizes), "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 0, 0, 0])},
    ).result


def _insert(rows: ir.Value, cache: ir.Value, sequence: int, place: ir.Value) -> ir.Value:
    dynamic = ir.ShapedType.get_dynamic_size()
    return ir.Operation.create(
        "tensor.insert_slice",
        [cache.type],
        [rows, cache, place],
        {
            **_places([sequence, dynamic, 0], rows.type.shape),
            "operandSegmentSizes": ir.DenseI32ArrayAttr.get([1, 1, 1, 0, 0]),
        },
    ).result


def _places(offsets: Sequence[int], sizes: Sequence[int]) -> dict[str, ir.Attribute]:
    return {
        "static_offsets": ir.DenseI64ArrayAttr.get(list(offsets)),
        "static_sizes": ir.DenseI64ArrayAttr.get(list(sizes)),
        "static_strides": ir.DenseI64ArrayAttr.get([1] * len(sizes)),
    }


def _cached_attention(op: ir.Operation) -> ir.Value:
    *tensors, heads, kv_heads, scale, causal, window = op.operands
    query, keys, values, length = map(_builtin, tensors)
    return CachedAttentionOp.build(
        _builtin_type(op.results[0]),
        query=query,
        keys=keys,
        values=values,
        length=length,
        heads=_constant(heads),
        kv_heads=_constant(kv_heads),
        scale=float(_constant(scale)),
        causal=bool(_constant(causal)),
        window=_constant(window) or None,
    ).result


def _constant(value: ir.Value) -> Any:
    return value.owner.attributes["value"].value


def _builtin(value: ir.Value) -> Any:
    """A torch tensor of static shape as a builtin one."""
    return ir.Operation.create(_TO_BUILTIN, [_builtin_type(value)], [value]).result


def _builtin_type(value: ir.Value) -> ir.Type:
    shape, _, element = str(value.type).removeprefix("!torch.vtensor<[").removesuffix(">").partition("],")
    return ir.Type.parse(f"tensor<{shape.replace(',', 'x')}x{_ELEMENTS[element]}>")


def keep_in_state(module: ir.Module, caches: Mapping[str, torch.Tensor]) -> None:
    """Makes state of the last arguments and results of every function: one of each for every name in `caches`.

    State begins as the cache that stands for it here, which is one number everywhere.
    """
    for name, cache in caches.items():
        _declare(module, name, cache)
    for op in module.body.operations:
        if op.operation.name == "func.func":
            _keep_in_state(op.operation, list(caches))


def _declare(module: ir.Module, name: str, cache: torch.Tensor) -> None:
    element = {torch.float32: ir.F32Type, torch.float16: ir.F16Type}[cache.dtype].get()
    type_ = ir.RankedTensorType.get(list(cache.shape), element)
    attributes = {
        "sym_name": ir.StringAttr.get(name),
        "sym_visibility": ir.StringAttr.get("private"),
        "type": ir.TypeAttr.get(type_),
        "is_mutable": ir.UnitAttr.get(),
        "value": ir.DenseElementsAttr.get_splat(type_, ir.FloatAttr.get(element, float(cache.flatten()[0]))),
        STATE: ir.UnitAttr.get(),
    }
    with ir.InsertionPoint.at_block_begin(module.body):
        ir.Operation.create(GLOBAL, attributes=attributes)


def _keep_in_state(function: ir.Operation, names: Sequence[str]) -> None:
    block = function.regions[0].blocks[0]
    end = block.operations[len(block.operations) - 1].operation
    first, results = len(block.arguments) - len(names), list(end.operands)
    kept, new = results[: -len(names)], results[-len(names) :]
    for name, argument, value in zip(names, list(block.arguments)[first:], new, strict=True):
        reference = {"global": ir.FlatSymbolRefAttr.get(name)}
        with ir.InsertionPoint(end):
            value = _builtin(value)
            ir.Operation.create(STORE, operands=[value], attributes=reference)
        with ir.InsertionPoint.at_block_begin(block):
            old = ir.Operation.create(LOAD, [value.type], attributes=reference).result
            argument.replace_all_uses_with(ir.Operation.create(_FROM_BUILTIN, [argument.type], [old]).result)
    for _ in names:
        block.erase_argument(first)
    with ir.InsertionPoint(end):
        ir.Operation.create(end.name, operands=kept)
    end.erase()
    kind = ir.FunctionType.get([a.type for a in block.arguments], [value.type for value in kept])
    function.attributes["function_type"] = ir.TypeAttr.get(kind)
