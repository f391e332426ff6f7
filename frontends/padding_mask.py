"""Hides the tokens of padding from every softmax over tokens, whatever mask the model has.

A shorter sequence runs padded to the length that was compiled. A model's own mask need not tell padding from what it
hides itself: where it adds a large finite number and hides all keys of a row, softmax averages over them, and would
average over the padding too. So the compiled model takes one more input, the number of tokens, and each softmax gets
minus infinity at the tokens behind them:

before: %p = softmax(%scores, -1)                                       %scores [batch, heads, tokens, keys]
after:  %b = where(arange(keys) < %token_count, 0, -inf)
        %p = softmax(%scores + view(%b, [1, 1, 1, keys]), -1)
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import Graph, Node

from .axes import TOKENS, TensorSpec
from .errors import FrontendError
from .graph_editing import call_before

TOKEN_COUNT = "token_count"

IsTokenAxis = Callable[[Node, int], bool]
"""Whether an axis of a node's tensor follows the sequence length."""

_aten = torch.ops.aten
# Ops that divide a tensor's axis among its values, by the position of the axis in their arguments.
_OVER_AN_AXIS = {
    _aten.softmax.int: 1,
    _aten._softmax.default: 1,
    _aten._safe_softmax.default: 1,
    _aten.log_softmax.int: 1,
    _aten._log_softmax.default: 1,
    _aten.logsumexp.default: 1,
}


def hide_padding(
    program: ExportedProgram,
    module: nn.Module,
    inputs: Sequence[TensorSpec],
    arguments: Sequence[torch.Tensor],
    export: Callable[[tuple[torch.Tensor, ...]], ExportedProgram],
) -> list[TensorSpec]:
    """Masks padding in the program of `module` whose last input is the number of tokens: the spec of that input.

    Where no axis of the `inputs` follows the sequence length, or no softmax goes over tokens, the program loses that
    input, and the list is empty. `export` makes the program for other `arguments`, to tell axes of tokens from others
    of their length.
    """
    lengths = {n for spec in inputs for n, axis in zip(spec.shape, spec.axes, strict=True) if axis == TOKENS}
    if not lengths:
        mask_padding(program, 0, lambda node, axis: False)
        return []
    (length,) = lengths
    is_token_axis = by_size(length)
    if length in _fixed_sizes(module, inputs):
        fewer = tuple(
            value[:, :-1].contiguous() if TOKENS in spec.axes else value
            for spec, value in zip(inputs, arguments, strict=True)
        )
        with contextlib.suppress(FrontendError):
            is_token_axis = by_comparison(program, export(fewer)) or is_token_axis
    if not mask_padding(program, length, is_token_axis):
        return []
    taken = {spec.name for spec in inputs}
    name = next(name for name in (TOKEN_COUNT, f"{TOKEN_COUNT}_of_inputs") if name not in taken)
    return [TensorSpec(name, (1,), "int32", (None,), counts=TOKENS)]


def _fixed_sizes(module: nn.Module, inputs: Sequence[TensorSpec]) -> set[int]:
    """Sizes of axes that do not follow the sequence length."""
    tensors = [*module.parameters(), *module.buffers()]
    own = {size for tensor in tensors for size in tensor.shape}
    return own | {n for spec in inputs for n, axis in zip(spec.shape, spec.axes, strict=True) if axis is None}


def mask_padding(program: ExportedProgram, length: int, is_token_axis: IsTokenAxis) -> bool:
    """Masks padding in a program for `length` tokens whose last input is the number of tokens, [1] of int32.

    Without a softmax over tokens the program loses that input, and False is returned.
    """
    count = _last_input(program.graph)
    bias = _Bias(program.graph, count, length)
    masked = 0
    for node in list(program.graph.nodes):
        if node.op != "call_function":
            continue
        bias.use_in(node)
        if node.target is _aten.scaled_dot_product_attention.default:
            masked += _mask_attention(node, bias, is_token_axis)
        elif node.target in _OVER_AN_AXIS:
            masked += _mask_scores(node, node.args[_OVER_AN_AXIS[node.target]], bias, is_token_axis)
    if not masked:
        program.graph.erase_node(count)
        signature = program.graph_signature
        signature.input_specs[:] = [s for s in signature.input_specs if getattr(s.arg, "name", None) != count.name]
    return bool(masked)


def by_size(length: int) -> IsTokenAxis:
    """An axis is one of tokens if it is as long as the sequence."""
    return lambda node, axis: node.meta["val"].shape[axis] == length


def by_comparison(program: ExportedProgram, other: ExportedProgram) -> IsTokenAxis | None:
    """An axis is one of tokens if it is shorter in `other`, the program of the same module for fewer tokens.

    None where the two are not made of the same ops.
    """
    nodes, others = list(program.graph.nodes), list(other.graph.nodes)
    if [node.target for node in nodes if node.op == "call_function"] != [
        node.target for node in others if node.op == "call_function"
    ] or len(nodes) != len(others):
        return None
    shapes = {node: _shape(twin) for node, twin in zip(nodes, others, strict=True) if _shape(node) is not None}

    def differs(node: Node, axis: int) -> bool:
        known = shapes.get(node)
        return known is not None and node.meta["val"].shape[axis] != known[axis]

    return differs


class _Bias:
    """Which tokens are counted, and what is added to scores: 0 for these, minus infinity for the others.

    All tensors have one axis longer than one, and are made when they are first used.
    """

    def __init__(self, graph: Graph, count: Node, length: int) -> None:
        self._place = next(node for node in graph.nodes if node.op not in ("placeholder", "get_attr"))
        self._count, self._length = count, length
        self._user: Node | None = None
        self._made: dict[Any, Node] = {}

    def use_in(self, node: Node) -> None:
        """What is made from now on is of the module that `node` is of."""
        self._user = node

    def counted(self, rank: int, axis: int) -> Node:
        """Booleans of `rank` axes along `axis`: true for tokens that are counted."""

        def make() -> Node:
            with self._count.meta["val"].fake_mode:
                places = self._call(_aten.arange.default, self._length)
            # Floats: GPUs of phones have no integers of 64 bits.
            places = self._call(_aten.to.dtype, places, torch.float32)
            count = self._call(_aten.to.dtype, self._count, torch.float32)
            return self._call(_aten.lt.Tensor, places, count)

        shape = [self._length if a == axis else 1 for a in range(rank)]
        return self._once(
            ("counted", rank, axis), lambda: self._call(_aten.view.default, self._once("lt", make), shape)
        )

    def along(self, rank: int, axis: int, dtype: torch.dtype) -> Node:
        """The bias, of `rank` axes along `axis`."""

        def make() -> Node:
            flat = self._call(_aten.where.Scalar, self.counted(rank, axis), 0.0, -torch.inf)
            return flat if dtype == torch.float32 else self._call(_aten.to.dtype, flat, dtype)

        return self._once(("bias", rank, axis, dtype), make)

    def _once(self, key: Any, make: Callable[[], Node]) -> Node:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _call(self, target: Any, *arguments: Any) -> Node:
        return call_before(self._place, target, *arguments, like=self._user)


def _mask_attention(node: Node, bias: _Bias, is_token_axis: IsTokenAxis) -> bool:
    given = dict(zip((a.name for a in node.target._schema.arguments), node.args, strict=False))  # type: ignore[union-attr]
    arguments: dict[str, Any] = {**given, **node.kwargs}
    key = arguments["key"]
    rank = key.meta["val"].dim()
    # A causal query sees no key behind itself, and padding is behind all that are asked for.
    if arguments.get("is_causal") or not is_token_axis(key, rank - 2):
        return False
    mask = arguments.get("attn_mask")
    if mask is None:
        mask = bias.along(rank, rank - 1, torch.float32)
    elif mask.meta["val"].dtype == torch.bool:
        mask = call_before(node, _aten.logical_and.default, mask, bias.counted(rank, rank - 1))
    else:
        mask = call_before(node, _aten.where.ScalarOther, bias.counted(rank, rank - 1), mask, -torch.inf)
    node.args = (*node.args[:3], mask, *node.args[4:])
    node.kwargs = {name: value for name, value in node.kwargs.items() if name != "attn_mask"}
    return True


def _mask_scores(node: Node, axes: Any, bias: _Bias, is_token_axis: IsTokenAxis) -> bool:
    scores: Any = node.args[0]
    value = scores.meta["val"]
    if isinstance(axes, (list, tuple)):
        if len(axes) != 1:
            return False
        (axes,) = axes
    if not value.dim() or not value.dtype.is_floating_point or not is_token_axis(scores, axes % value.dim()):
        return False
    padding = bias.along(value.dim(), axes % value.dim(), value.dtype)
    node.update_arg(0, call_before(node, _aten.add.Tensor, scores, padding))
    return True


def _last_input(graph: Graph) -> Node:
    return [node for node in graph.nodes if node.op == "placeholder"][-1]


def _shape(node: Node) -> tuple[int, ...] | None:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None
