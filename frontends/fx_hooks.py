"""How torch-mlir's FX importer is made to write our level 1: weights by name, places in the model as locations."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.fx import Node
from torch_mlir import ir
from torch_mlir.extras.fx_importer import ContextCache, FxImporter, FxImporterHooks, GraphNodeImporter, InputInfo

from secateur.dialects.sparsity.ops.weight import WeightOp
from secateur.dialects.weight_store import WeightStore

from .constant_folding import module_path
from .flattening import PREFIX

# Constants up to these sizes are written into the IR; larger ones would make it unreadable.
_LITERAL_BYTES = 16 << 10
_LITERAL_FLOAT_BYTES = 16

_ELEMENTS = {
    torch.float32: "f32",
    torch.float64: "f64",
    torch.int64: "i64",
    torch.int32: "i32",
    torch.int16: "i16",
    torch.int8: "i8",
    torch.uint8: "ui8",
    torch.bool: "i1",
}
# Where a call passes through on its way to the model's own lines.
_NOT_THE_MODEL = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


class WeightHooks(FxImporterHooks):
    """Turns each parameter, buffer and folded constant into `sparsity.weight` and fills `weights`.

    Arrays are views of the tensors' memory. Tensors that share memory share one symbol. `names` are those of folded
    constants of the program that is imported, `tied` maps the further names of a tied parameter to its first.
    """

    def __init__(self, weights: WeightStore, names: Mapping[str, str], tied: Mapping[str, str]) -> None:
        self.weights = weights
        self.names = names
        self.tied = tied
        self._symbols: dict[tuple, str] = {}

    def resolve_input(self, gni: GraphNodeImporter, value: Any, info: InputInfo) -> ir.Value | None:
        name = info.input_spec.target.removeprefix(PREFIX)
        return self.constant(value, self.tied.get(name, name))

    def resolve_literal(self, gni: GraphNodeImporter, literal: Any, info: InputInfo | None) -> ir.Value | None:
        return self.constant(literal, "constant") if isinstance(literal, torch.Tensor) else None

    def constant(self, tensor: torch.Tensor, name: str, place: str | None = None) -> ir.Value:
        """The torch value of a constant tensor, at the current insertion point.

        `place`: the module it is of, by default its name; where that is empty, the current location.
        """
        tensor = tensor.detach()
        element = _ELEMENTS.get(tensor.dtype)
        if element is None:
            raise NotImplementedError(f"constant '{name}' has the element type {tensor.dtype}")
        # MLIR spells the type of unsigned torch integers `ui8` on both sides of the cast, signed ones without a sign.
        array = tensor.numpy()
        shape = "x".join([*map(str, tensor.shape), element])
        builtin = ir.RankedTensorType(ir.Type.parse(f"tensor<{shape}>"))
        is_float = tensor.is_floating_point()
        size = tensor.numel() * tensor.element_size() // (8 if tensor.dtype == torch.bool else 1)
        if size <= (_LITERAL_FLOAT_BYTES if is_float else _LITERAL_BYTES):
            source: ir.Attribute = _literal(array, builtin)
        else:
            source = ir.StringAttr.get(self._symbol(tensor, array, name))
        with ir.Location.name(name) if place is None else ir.Location.name(place) if place else ir.Location.current:
            weight = ir.Operation.create("sparsity.weight", results=[builtin], attributes={"source": source})
        assert isinstance(weight.opview, WeightOp)
        return ir.Operation.create(
            "torch_c.from_builtin_tensor", results=[_torch_type(tensor)], operands=[weight.result]
        ).result

    def _symbol(self, tensor: torch.Tensor, array: np.ndarray, name: str) -> str:
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        symbol = self._symbols.get(key)
        if symbol is None:
            symbol = self._symbols[key] = self.weights.add(name, array)
        return symbol


def _literal(array: np.ndarray, builtin: ir.RankedTensorType) -> ir.DenseElementsAttr:
    array = np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        if array.all() or not array.any():
            return ir.DenseElementsAttr.get_splat(builtin, ir.BoolAttr.get(bool(array.any())))
        return ir.DenseElementsAttr.get(array)
    if array.size and (array == array.reshape(-1)[0]).all():
        value = array.reshape(-1)[0].item()
        element = builtin.element_type
        is_float = isinstance(element, (ir.F32Type, ir.F64Type))
        attribute = ir.FloatAttr.get(element, value) if is_float else ir.IntegerAttr.get(element, value)
        return ir.DenseElementsAttr.get_splat(builtin, attribute)
    return ir.DenseElementsAttr.get(array, type=builtin.element_type, shape=list(builtin.shape))


def _torch_type(tensor: torch.Tensor) -> ir.Type:
    element = _ELEMENTS[tensor.dtype]
    element = f"s{element}" if element in ("i64", "i32", "i16", "i8") else element
    return ir.Type.parse(f"!torch.vtensor<[{','.join(map(str, tensor.shape))}],{element}>")


class _Places(ContextCache):
    """Locations that name the module of the model an op comes from and the Python line that wrote it."""

    def get_node_location(self, node: Node) -> ir.Location | None:
        if node.op == "placeholder":
            return ir.Location.name(str(node.name), context=self._c)
        line = python_line(node.meta.get("stack_trace") or "")
        path = module_path(node)
        place = ir.Location.file(line[0], line[1], 0, context=self._c) if line else None
        if path:
            return ir.Location.name(path, place, context=self._c)
        return place or ir.Location.unknown(self._c)


def python_line(stack_trace: str) -> tuple[str, int] | None:
    """File and line of the innermost frame of the model, or of the innermost where all are PyTorch's or ours."""
    frames = [(file, int(line)) for file, line in re.findall(r'File "([^"]+)", line (\d+)', stack_trace)]
    own = [frame for frame in frames if not frame[0].startswith(_NOT_THE_MODEL)]
    return (own or frames)[-1] if frames else None


class _Nodes(GraphNodeImporter):
    """Imports folded constants through the hooks, each once however often it is used."""

    __slots__ = ()

    def import_nodes(self, nodes: Iterable[Node], **options: Any) -> None:
        nodes = list(nodes)
        hooks = self.fx_importer._hooks
        for operand in {operand for node in nodes for operand in node.all_input_nodes if operand.op == "get_attr"}:
            tensor = getattr(operand.graph.owning_module, str(operand.target), None)
            if isinstance(tensor, torch.Tensor):
                name = hooks.names.get(str(operand.target), str(operand.target))
                # What was folded is named after its op, which is no module of the model.
                place = name.rpartition(".")[0] if str(operand.target) in hooks.names else None
                self._v[operand, 0] = lambda t=tensor, name=name, place=place: hooks.constant(t, name, place)
        super().import_nodes(nodes, **options)

    def _import_argument(self, loc: ir.Location, arg: Any, expected_jit_type: Any = None) -> ir.Value:
        if isinstance(arg, Node) and arg.op == "get_attr" and (arg, 0) in self._v:
            with loc:
                return self.resolve_node_value(arg)
        return super()._import_argument(loc, arg, expected_jit_type)

    def _import_list_argument(self, loc: ir.Location, arg: Any, expected_jit_type: Any) -> ir.Value:
        # The elements are resolved without a location; a constant among them makes ops.
        with loc:
            return super()._import_list_argument(loc, arg, expected_jit_type)


def make_importer(context: ir.Context, hooks: WeightHooks) -> FxImporter:
    """An importer that writes into `context`."""
    importer = FxImporter(context=context, hooks=hooks, graph_node_importer_cls=_Nodes)
    # The importer offers no way to choose how locations are made.
    importer._cc = _Places(context, py_attr_tracker=importer._py_attr_tracker)
    return importer
