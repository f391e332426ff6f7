"""Ops without a lowering as ops that have one: aliases renamed, others taken apart by PyTorch's own decompositions.

%m = aten.__and__.Tensor(%a, %b)    ->  %m = aten.bitwise_and.Tensor(%a, %b)
%y = aten.im2col(%x, ...)           ->  %y = the pads, indices and views that PyTorch defines it by
"""

import functools
import operator
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch._ops import OpOverload
from torch.export import ExportedProgram

from .elementary import ELEMENTARY
from .scattering import SCATTERING
from .sorting import SORTING

_aten = torch.ops.aten
_BATCH_NORM = _aten._native_batch_norm_legit_no_training.default
# Names that PyTorch keeps beside another of the same arguments. The passes and torch-mlir know only the latter.
_ALIASES = {
    **{"__and__": "bitwise_and", "__or__": "bitwise_or", "__xor__": "bitwise_xor"},
    **{"__lshift__": "bitwise_left_shift", "__rshift__": "bitwise_right_shift"},
    **{"clip": "clamp", "multiply": "mul", "divide": "div", "true_divide": "div", "subtract": "sub"},
    **{"absolute": "abs", "negative": "neg", "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le"},
    **{"not_equal": "ne", "concat": "cat", "concatenate": "cat", "swapaxes": "transpose", "special_expit": "sigmoid"},
    **{"special_erf": "erf", "special_expm1": "expm1", "special_log1p": "log1p", "fix": "trunc"},
    **{"arccos": "acos", "arcsin": "asin", "arctan": "atan", "arccosh": "acosh", "arcsinh": "asinh"},
    **{"arctanh": "atanh", "arctan2": "atan2", "special_softmax": "softmax", "swapdims": "transpose"},
    **{"_unsafe_index": "index", "_unsafe_index_put": "index_put"},
}
_OVERLOADS = {"swapaxes": "int", "swapdims": "int", "special_softmax": "int"}


def _renamed() -> dict[OpOverload, OpOverload]:
    found = {}
    for alias, name in _ALIASES.items():
        for suffix in ("", "_"):
            packet, other = getattr(_aten, alias + suffix, None), getattr(_aten, name + suffix, None)
            # `__iand__` and its like are spelled otherwise.
            if packet is None or other is None:
                continue
            for overload in packet.overloads():
                same = getattr(other, _OVERLOADS.get(alias, overload), None)
                if same is not None:
                    found[getattr(packet, overload)] = same
    for letter, name in (("and", "bitwise_and"), ("or", "bitwise_or"), ("xor", "bitwise_xor")):
        packet = getattr(_aten, f"__i{letter}__")
        for overload in packet.overloads():
            found[getattr(packet, overload)] = getattr(getattr(_aten, f"{name}_"), overload)
    return found


_RENAMED = _renamed()


def _batch_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    mean: torch.Tensor,
    variance: torch.Tensor,
    momentum: float,
    eps: float,
) -> Any:
    if weight is not None and bias is not None:
        # It stays whole, for the passes to fold.
        return NotImplemented
    shape = [1, -1, *[1] * (x.dim() - 2)]
    scale = torch.rsqrt(variance + eps)
    scale = scale if weight is None else scale * weight
    y = (x - mean.view(shape)) * scale.view(shape)
    return y if bias is None else y + bias.view(shape), x.new_empty(0), x.new_empty(0)


def _squeeze(x: torch.Tensor, dims: Collection[int]) -> torch.Tensor:
    gone = {dim % max(x.dim(), 1) for dim in dims}
    return x.view([size for axis, size in enumerate(x.shape) if axis not in gone or size != 1])


_OWN: dict[OpOverload, Callable[..., Any]] = {
    **SORTING,
    **SCATTERING,
    **ELEMENTARY,
    _BATCH_NORM: _batch_norm,
    _aten.squeeze.dims: _squeeze,
}
# Torch-mlir takes these, and then fails where it can no longer name them, or loses a padding of one side.
ALWAYS = frozenset(
    {
        *(_aten.meshgrid.default, _aten.meshgrid.indexing),
        *(_aten.conv1d.padding, _aten.conv2d.padding, _aten.conv3d.padding),
    }
)


def rename_aliases(program: ExportedProgram) -> None:
    """Gives ops their usual names, in place."""
    for node in program.graph.nodes:
        if node.op == "call_function" and node.target in _RENAMED:
            node.target = _RENAMED[node.target]


def decompose(program: ExportedProgram, ops: Collection[OpOverload]) -> ExportedProgram:
    """The program with each of `ops` taken apart; also without in-place ops."""
    _keep_statistics(program)
    ops = {*ops, _BATCH_NORM}
    # Decompositions of others use the aliases too.
    ops |= {alias for alias, op in _RENAMED.items() if op in ops}
    program = program.run_decompositions({op: found for op in ops if (found := _decomposition(op)) is not None})
    _restore_batch_norms(program)
    return program


def _keep_statistics(program: ExportedProgram) -> None:
    """Batch norms outside training as an op that only reads; export would make them one that writes statistics."""
    for node in list(program.graph.nodes):
        if node.target != _aten.batch_norm.default or node.args[5]:
            continue
        node.target, node.args = _BATCH_NORM, (*node.args[:5], *node.args[6:8])
        with program.graph.inserting_after(node):
            first = program.graph.call_function(operator.getitem, (node, 0))
        node.replace_all_uses_with(first, lambda user, first=first: user is not first)
        first.meta = dict(node.meta)


def _restore_batch_norms(program: ExportedProgram) -> None:
    """What `_keep_statistics` renamed and no decomposition took apart, under its own name again."""
    for node in list(program.graph.nodes):
        if node.target != _BATCH_NORM:
            continue
        x, *arrays, momentum, epsilon = node.args
        for user in list(node.users):
            # Nothing reads the other two results.
            if user.args[1] == 0:
                user.target, user.args = _aten.batch_norm.default, (x, *arrays, False, momentum, epsilon, False)
            else:
                program.graph.erase_node(user)
        program.graph.erase_node(node)


def decomposable(names: Collection[str]) -> set[OpOverload]:
    """Those of the ops `aten.name` or `aten.name.overload` that PyTorch has a decomposition for."""
    found = {_overload(name) for name in names}
    return {op for op in found if op is not None and _decomposition(op) is not None}


def _overload(name: str) -> OpOverload | None:
    namespace, _, rest = name.partition(".")
    name, _, overload = rest.partition(".")
    packet = getattr(getattr(torch.ops, namespace), name, None)
    return getattr(packet, overload or "default", None)


def _decomposition(op: OpOverload) -> Callable[..., Any] | None:
    found = _OWN.get(_RENAMED.get(op, op)) or _core().get(op)
    if found is not None:
        return found
    composite = torch._C.DispatchKey.CompositeImplicitAutograd
    kernel = op.py_kernels.get(composite)
    if callable(kernel):
        return kernel
    if torch._C._dispatch_has_kernel_for_dispatch_key(op.name(), composite):
        return lambda *args, **kwargs: op._op_dk(composite, *args, **kwargs)
    # The rest are references for tests; those of views are made of primitives that export does not take.
    return None if op.is_view else torch._decomp.decomposition_table.get(op)


@functools.cache
def _core() -> Mapping[OpOverload, Callable[..., Any]]:
    return torch._decomp.core_aten_decompositions()
