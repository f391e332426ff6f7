"""Simplifies an exported graph before it is imported: constants computed now, masks seen through.

    %batch = arange(2)[:, None, None, None]; %keys = arange(8)[None, None, None, :]
    %m = mask[%batch, %keys] & ones(8, 1)
    ->
    %m = view(mask, [2, 1, 1, 8])                       (and an expand where the result was larger)

Models compute positions, relative-position buckets and masks from `arange` at run time; none of it depends on an
input, and indices spelled out as tensors would hide that a mask is the caller's mask.
"""

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.export.graph_signature import TensorArgument
from torch.fx import Node

# A result larger than this is computed at run time, unless what it is made of is larger still.
_LARGEST_RESULT_BYTES = 32 << 20
# An expanded tensor repeats its storage: beyond this size only what is repeated is kept.
_LARGEST_EXPANDED_BYTES = 64 << 10

_aten = torch.ops.aten
_IDENTITY = {_aten.detach.default, _aten.alias.default, _aten.lift_fresh_copy.default, _aten.clone.default}
_IDENTITY |= {_aten.contiguous.default, _aten.detach_.default}
_CASTS = {_aten.to.dtype, _aten.to.dtype_layout, _aten._to_copy.default, _aten.to.device, _aten.to.other}
_DROPOUT = {_aten.dropout.default, _aten.feature_dropout.default, _aten.alpha_dropout.default}
_AND = {_aten.logical_and.default, _aten.bitwise_and.Tensor}
_CHECKS = {_aten._assert_tensor_metadata.default, _aten._assert_async.msg, _aten._assert_scalar.default}


def simplify(program: ExportedProgram) -> dict[str, str]:
    """Rewrites the graph of `program` in place.

    Returns the attribute of the graph module that holds each folded tensor -> a name for it that says where in the
    model it was computed (`encoder.relative_attention_bias.permute`).
    """
    folder = _Folder(program)
    with torch.no_grad():
        for node in list(program.graph.nodes):
            if node.op == "call_function":
                folder.visit(node)
        folder.materialise()
    program.graph.eliminate_dead_code()
    _update_outputs(program)
    return folder.names


class _Folder:
    def __init__(self, program: ExportedProgram) -> None:
        self.program, self.graph = program, program.graph
        self.values: dict[Node, torch.Tensor] = {}
        self.names: dict[str, str] = {}
        self.folded: list[Node] = []
        signature = program.graph_signature
        sources = {**program.state_dict, **program.constants}
        targets = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        mutated = set(signature.buffers_to_mutate.values())
        for node in self.graph.nodes:
            target = targets.get(node.name)
            if node.op == "placeholder" and target in sources and target not in mutated:
                self.values[node] = sources[target].detach()

    def visit(self, node: Node) -> None:
        """Removes, evaluates or simplifies one node."""
        if node.target in _CHECKS:
            self.graph.erase_node(node)
            return
        other = self._same_as(node)
        if other is not None:
            node.replace_all_uses_with(other)
            self.graph.erase_node(node)
        elif not self._evaluate(node) and node.target == _aten.index.Tensor:
            self._view_for_index(node)
        elif node.target in _AND:
            self._drop_true(node)

    def _same_as(self, node: Node) -> Node | None:
        """The node that `node` merely repeats, or None."""
        if not node.args or not isinstance(node.args[0], Node):
            return None
        source = node.args[0]
        is_identity = node.target in _IDENTITY or (node.target in _DROPOUT and node.args[2] is False)
        if node.target in _CASTS:
            before, after = source.meta.get("val"), node.meta.get("val")
            is_identity = before is not None and after is not None and before.dtype == after.dtype
        return source if is_identity else None

    def _evaluate(self, node: Node) -> bool:
        """Computes a node whose operands are all known. False where it must be left to run time."""
        target, value = node.target, node.meta.get("val")
        if not isinstance(target, torch._ops.OpOverload) or not isinstance(value, torch.Tensor):
            return False
        if any(operand not in self.values for operand in node.all_input_nodes):
            return False
        if target._schema.is_mutable or torch.Tag.nondeterministic_seeded in target.tags:
            return False
        operand_bytes = sum(_bytes(self.values[operand]) for operand in node.all_input_nodes)
        if _bytes(value) > max(_LARGEST_RESULT_BYTES, operand_bytes):
            return False
        if target == _aten.expand.default and _bytes(value) > _LARGEST_EXPANDED_BYTES:
            return False
        args, kwargs = torch.fx.map_arg((node.args, dict(node.kwargs)), lambda operand: self.values[operand])
        # Copies were dropped, so an operand may have other strides than the view was written for.
        result = (_aten.reshape.default if target == _aten.view.default else target)(*args, **kwargs)
        if not isinstance(result, torch.Tensor):
            return False
        self.values[node] = result
        self.folded.append(node)
        return True

    def _view_for_index(self, node: Node) -> None:
        """`x[i, j, ...]` that reads every element of x once and in order is a view of x."""
        source, indices = _arguments(node)[:2]
        before, after = source.meta["val"], node.meta["val"]
        known = all(index is None or index in self.values for index in indices)
        if not known or before.numel() != after.numel() or _bytes(before) > _LARGEST_RESULT_BYTES:
            return
        order = torch.arange(before.numel()).reshape(before.shape)
        read = order[tuple(slice(None) if index is None else self.values[index] for index in indices)]
        if bool((read.reshape(-1) == order.reshape(-1)).all()):
            self._replace_by(node, _aten.view.default, source, list(after.shape))

    def _drop_true(self, node: Node) -> None:
        """`x & true` is x, in the shape of the result."""
        if node in self.values:
            return
        operands = _arguments(node)
        for constant, other in (operands, operands[::-1]):
            if isinstance(constant, Node) and constant in self.values and isinstance(other, Node):
                value = self.values[constant]
                if value.dtype == torch.bool and other.meta["val"].dtype == torch.bool and bool(value.all()):
                    if other.meta["val"].shape == node.meta["val"].shape:
                        node.replace_all_uses_with(other)
                        self.graph.erase_node(node)
                    else:
                        self._replace_by(node, _aten.expand.default, other, list(node.meta["val"].shape))
                    return

    def _replace_by(self, node: Node, target: object, source: Node, shape: list[int]) -> None:
        with self.graph.inserting_before(node):
            new = self.graph.call_function(target, (source, shape))
        new.meta = dict(node.meta)
        node.replace_all_uses_with(new)
        self.graph.erase_node(node)

    def materialise(self) -> None:
        """Puts a tensor in the place of each folded node that run time still uses."""
        folded = set(self.folded)
        root = self.program.graph_module
        outputs = {node for node in self.graph.nodes if node.op == "output"}
        for node in self.folded:
            users = [user for user in node.users if user not in folded]
            # A result of the function must be a node that computes something.
            if not users or outputs.intersection(users):
                continue
            attribute = f"folded_{len(self.names)}"
            value = self.values[node]
            root.register_buffer(attribute, value)
            self.names[attribute] = _place(node)
            with self.graph.inserting_before(node):
                new = self.graph.get_attr(attribute)
            new.meta = dict(node.meta)
            for user in users:
                user.replace_input_with(node, new)


def _arguments(node: Node) -> list[Any]:
    # Their declared type is a union of all that any node may take.
    return list(node.args)


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _place(node: Node) -> str:
    path = module_path(node)
    return f"{path}.{node.name}" if path else node.name


def module_path(node: Node) -> str:
    """The place in the model of the module that a node comes from: `encoder.layer.0.attention.self.query`."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    # The path within the flattening wrapper begins with its one attribute.
    return stack[-1][0].partition(".")[2] if stack else ""


def _update_outputs(program: ExportedProgram) -> None:
    results = next(node for node in program.graph.nodes if node.op == "output").args[0]
    for spec, result in zip(program.graph_signature.output_specs, results, strict=True):
        if isinstance(result, Node) and isinstance(spec.arg, TensorArgument):
            spec.arg = TensorArgument(name=result.name)
