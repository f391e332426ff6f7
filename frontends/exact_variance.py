"""Makes variances of an exported graph exact for equal values: torch-mlir subtracts a mean that is rounded.

%v = aten.var(%x, [1])              ->  %d = %x - %x[:, :1];  %v = aten.var(%d, [1])
%y = aten.group_norm(%x, ...)       ->  %y = aten.group_norm(%x - first of each group, ...)
%c = %x - aten.mean(%x, [1])        ->  %d = %x - %x[:, :1];  %c = %d - aten.mean(%d, [1])

Equal values have differences of exactly zero, in any order of summation; a variance does not change where all values
are shifted by one number (Chan, Golub, LeVeque, The American Statistician 37(3), 1983). `aten.layer_norm` over the
last axis has kernels of its own, which do the same.
"""

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from .graph_editing import call_before

_aten = torch.ops.aten
_MEANS_TOO = (_aten.var_mean, _aten.std_mean)
_VARIANCES = (_aten.var, _aten.std, *_MEANS_TOO)


def make_variances_exact(program: ExportedProgram) -> None:
    """Rewrites the graph of `program` in place. What it does not understand stays."""
    for node in list(program.graph.nodes):
        packet = getattr(node.target, "overloadpacket", None)
        if node.op != "call_function" or packet is None:
            continue
        if packet is _aten.instance_norm:
            node = _as_group_norm(node)
            packet = getattr(node.target, "overloadpacket", None)
        if packet in _VARIANCES:
            _shift_variance(node, packet in _MEANS_TOO)
        elif packet in (_aten.layer_norm, _aten.native_layer_norm):
            _shift_layer_norm(node)
        elif packet in (_aten.group_norm, _aten.native_group_norm):
            _shift_group_norm(node)
        elif packet is _aten.batch_norm and node.args[5] and node.args[3] is None:
            _replace_input(node, _shifted(node, [d for d in range(_value(node).dim()) if d != 1]))
        elif packet is _aten.sub:
            _shift_centred(node)


def _value(node: Node) -> torch.Tensor:
    """The first operand of `node`, as a tensor without data."""
    return node.args[0].meta["val"]


def _shifted(node: Node, dims: Sequence[int]) -> Node | None:
    """The first operand less its first element along `dims`; None where there is none."""
    x, first = node.args[0], node.args[0]
    value = _value(node)
    if not value.is_floating_point() or not dims or any(value.shape[d] == 0 for d in dims):
        return None
    for dim in dims:
        first = call_before(node, _aten.slice.Tensor, first, dim, 0, 1)
    return call_before(node, _aten.sub.Tensor, x, first)


def _replace_input(node: Node, shifted: Node | None) -> None:
    if shifted is not None:
        node.args = (shifted, *node.args[1:])


def _reduced(node: Node) -> tuple[list[int], bool]:
    """Which dimensions `node` reduces, by its arguments' names, and whether it keeps them."""
    names = [argument.name for argument in node.target._schema.arguments]
    given: dict[str, Any] = {**dict(zip(names, node.args, strict=False)), **node.kwargs}
    rank = _value(node).dim()
    dims = given.get("dim")
    dims = [dims] if isinstance(dims, int) else list(dims or range(rank))
    return [d % rank for d in dims], bool(given.get("keepdim", False))


def _shift_variance(node: Node, mean_too: bool) -> None:
    dims, keeps = _reduced(node)
    shifted = _shifted(node, dims)
    means = [user for user in node.users if user.target is operator.getitem and user.args[1] == 1] if mean_too else []
    if shifted is None or (means and any(user.target is not operator.getitem for user in node.users)):
        return
    first = shifted.args[1]
    _replace_input(node, shifted)
    for mean in means:
        after = mean.next
        kept = first
        for dim in [] if keeps else sorted(dims, reverse=True):
            kept = call_before(after, _aten.squeeze.dim, kept, dim, like=mean)
        restored = call_before(after, _aten.add.Tensor, mean, kept, like=mean)
        mean.replace_all_uses_with(restored, delete_user_cb=lambda user, made=restored: user is not made)


def _only_values_are_used(node: Node) -> bool:
    """False where the mean of a `native_..._norm` is a result as well."""
    return all(user.target is not operator.getitem or user.args[1] == 0 for user in node.users)


def _shift_layer_norm(node: Node) -> None:
    rank, value = len(node.args[1]), _value(node)
    whole = node.target == _aten.layer_norm.default and rank == 1 and value.dtype == torch.float32
    if not whole and _only_values_are_used(node):
        _replace_input(node, _shifted(node, range(value.dim() - rank, value.dim())))


def _shift_group_norm(node: Node) -> None:
    groups = node.args[1 if node.target == _aten.group_norm.default else 6]
    value = _value(node)
    if not _only_values_are_used(node) or value.numel() == 0:
        return
    shape = list(value.shape)
    grouped = call_before(
        node, _aten.reshape.default, node.args[0], [shape[0], groups, value.numel() // shape[0] // groups]
    )
    first = call_before(node, _aten.slice.Tensor, grouped, 2, 0, 1)
    shifted = call_before(node, _aten.sub.Tensor, grouped, first)
    _replace_input(node, call_before(node, _aten.reshape.default, shifted, shape))


def _as_group_norm(node: Node) -> Node:
    """An `instance_norm` over the input's own statistics is a `group_norm` of one channel a group."""
    x, weight, bias, mean, variance, own, _, epsilon, *_ = node.args
    if not own or mean is not None or variance is not None:
        return node
    made = call_before(node, _aten.group_norm.default, x, _value(node).shape[1], weight, bias, epsilon)
    node.replace_all_uses_with(made)
    node.graph.erase_node(node)
    return made


def _shift_centred(node: Node) -> None:
    """`x - mean(x)`: the mean of distances to the first element, subtracted from these."""
    x, mean = node.args[0], node.args[1] if len(node.args) == 2 else None
    if node.kwargs or not isinstance(mean, Node) or mean.target != _aten.mean.dim or mean.args[0] is not x:
        return
    dims, keeps = _reduced(mean)
    shifted = _shifted(node, dims) if keeps else None
    if shifted is None:
        return
    average = call_before(node, _aten.mean.dim, shifted, dims, True)
    node.args = (shifted, average)
    _drop(mean)


def _drop(node: Node) -> None:
    if not node.users:
        node.graph.erase_node(node)
