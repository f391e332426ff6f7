"""Makes an exported graph one that torch-mlir can lower: without in-place ops and `cumsum`, squares as products.

%y = aten.add_(%x, %z)              ->  %y = aten.add(%x, %z), later uses of %x become %y
%p = aten.pow(%x, 2)                ->  %p = aten.mul(%x, %x)
%s = aten.cumsum(%x, 1)             ->  %s = sum(where(arange[:, None] >= arange, %x[:, None, :], 0), -1)
"""

from collections.abc import Collection
from typing import Any

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from .decomposition import decompose, rename_aliases
from .exact_variance import make_variances_exact
from .graph_editing import call_before

_aten = torch.ops.aten
# torch-mlir lowers `cumsum` to a dialect of its own; longer sums than this would make the work quadratic in earnest.
_LONGEST_SUM = 4096


def make_functional(program: ExportedProgram, apart: Collection[OpOverload] = ()) -> ExportedProgram:
    """The program without in-place ops, `cumsum` and the ops `apart`, its variances exact for equal values.

    It is rewritten in place, or retraced where views are written to or an op is to be decomposed.
    """
    rename_aliases(program)
    if any(node.target in apart for node in program.graph.nodes) or not _remove_in_place(program.graph):
        program = decompose(program, apart)
        rename_aliases(program)
    for node in list(program.graph.nodes):
        if node.op == "call_function" and node.target == _aten.cumsum.default:
            _expand_cumsum(node)
        elif node.target == _aten.pow.Tensor_Scalar and node.args[1] == 2:
            node.target, node.args = _aten.mul.Tensor, (node.args[0], node.args[0])
    make_variances_exact(program)
    return program


def _remove_in_place(graph: Graph) -> bool:
    """False where an in-place op may write to memory that other nodes see; the graph is then still valid."""
    order = {node: place for place, node in enumerate(graph.nodes)}
    for node in list(graph.nodes):
        if not isinstance(node.target, OpOverload) or not node.target._schema.is_mutable:
            continue
        functional = _functional(node.target)
        if functional is None or not _owns_memory(node.args[0], order[node], order):
            return False
        written = node.args[0]
        node.target = functional
        for user in list(written.users):
            if user is not node and order.get(user, len(order)) > order[node]:
                user.replace_input_with(written, node)
    return True


def _functional(target: OpOverload) -> OpOverload | None:
    """The op of the same name without its underscore, where it writes to its first argument alone."""
    name = target._schema.name.partition("::")[2]
    written = [argument.alias_info is not None for argument in target._schema.arguments]
    packet = getattr(_aten, name.removesuffix("_"), None)
    if not name.endswith("_") or not written[0] or any(written[1:]) or packet is None:
        return None
    return getattr(packet, target._overloadname, None)


def _owns_memory(node: object, place: int, order: dict[Node, int]) -> bool:
    """Whether `node` is a fresh tensor of which no view was taken before `place`."""
    if not isinstance(node, Node) or node.op != "call_function" or _aliases(node):
        return False
    return not any(_aliases(user) for user in node.users if order.get(user, place) < place)


def _aliases(node: Node) -> bool:
    """Whether the results of `node` may share memory with its operands."""
    if not isinstance(node.target, OpOverload):
        return True
    if node.target in (_aten.reshape.default, _aten.contiguous.default, _aten.to.dtype, _aten.to.dtype_layout):
        return True
    return any(result.alias_info is not None for result in node.target._schema.returns)


def _expand_cumsum(node: Node) -> None:
    arguments: list[Any] = list(node.args)
    source, axis = arguments[:2]
    before, after = source.meta["val"], node.meta["val"]
    axis %= max(before.dim(), 1)
    length = before.shape[axis] if before.dim() else 0
    if not 0 < length <= _LONGEST_SUM:
        return
    summed = source if before.dtype == after.dtype else call_before(node, _aten.to.dtype, source, after.dtype)
    last = call_before(node, _aten.transpose.int, summed, axis, before.dim() - 1)
    with before.fake_mode:
        places = call_before(node, _aten.arange.default, length)
    column = call_before(node, _aten.unsqueeze.default, places, 1)
    reached = call_before(node, _aten.ge.Tensor, column, places)
    spread = call_before(node, _aten.unsqueeze.default, last, before.dim() - 1)
    terms = call_before(node, _aten.where.ScalarOther, reached, spread, 0)
    total = call_before(node, _aten.sum.dim_IntList, terms, [-1])
    result = call_before(node, _aten.transpose.int, total, axis, before.dim() - 1)
    node.replace_all_uses_with(result)
    node.graph.erase_node(node)
