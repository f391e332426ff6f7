"""Reading and writing level 1: types, constants and casts of the torch dialect, which has no Python classes."""

import dataclasses
import re
from collections.abc import Sequence

from torch_mlir import ir

FROM_BUILTIN = "torch_c.from_builtin_tensor"
TO_BUILTIN = "torch_c.to_builtin_tensor"

_VTENSOR = re.compile(r"!torch\.vtensor<\[([0-9,]*)\],([a-z0-9]+)>")


@dataclasses.dataclass(frozen=True)
class TorchTensor:
    """The shape and element type (`f32`, `si64`, `i1`) of a torch value tensor with static shape."""

    shape: tuple[int, ...]
    element: str

    @property
    def type(self) -> ir.Type:
        """As a torch type."""
        return ir.Type.parse(f"!torch.vtensor<[{','.join(map(str, self.shape))}],{self.element}>")

    @property
    def builtin(self) -> ir.RankedTensorType:
        """As a builtin tensor type."""
        element = self.element.removeprefix("s") if self.element.startswith("si") else self.element
        return ir.RankedTensorType(ir.Type.parse("tensor<" + "".join(f"{n}x" for n in self.shape) + f"{element}>"))


def tensor_of(value: ir.Value) -> TorchTensor | None:
    """Shape and element type of `value`; None where it is no torch tensor of static shape."""
    found = _VTENSOR.fullmatch(str(value.type))
    if found is None:
        return None
    return TorchTensor(tuple(int(size) for size in found[1].split(",") if size), found[2])


def is_f32(value: ir.Value) -> bool:
    """Whether `value` is a torch f32 tensor of static shape."""
    tensor = tensor_of(value)
    return tensor is not None and tensor.element == "f32"


def shape_of(value: ir.Value) -> tuple[int, ...]:
    """The shape of a value that is known to be a torch tensor of static shape."""
    tensor = tensor_of(value)
    assert tensor is not None, f"no static torch tensor: {value.type}"
    return tensor.shape


def owner(value: ir.Value) -> ir.Operation | None:
    """The op that defines `value`; None for a block argument."""
    return None if isinstance(value.owner, ir.Block) else value.owner.operation


def defined_by(value: ir.Value, *names: str) -> ir.Operation | None:
    """The op that defines `value` where it is one of `names` (without `torch.aten.`), else None."""
    op = owner(value)
    return op if op is not None and op.name.removeprefix("torch.aten.") in names else None


def constant(value: ir.Value) -> int | float | bool | str | None:
    """The value of a `torch.constant.*`; None where it is another op, or the constant `none`."""
    op = owner(value)
    if op is None or not op.name.startswith("torch.constant.") or op.name == "torch.constant.none":
        return None
    return op.attributes["value"].value


def number(value: ir.Value) -> float | None:
    """The value of a constant number; None where it is none."""
    found = constant(value)
    return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def is_none(value: ir.Value) -> bool:
    """Whether `value` is the constant `none`."""
    op = owner(value)
    return op is not None and op.name == "torch.constant.none"


def constants(value: ir.Value) -> list[int] | None:
    """The integers of a list of constants, else None."""
    op = owner(value)
    if op is None or op.name != "torch.prim.ListConstruct":
        return None
    found = [constant(operand) for operand in op.operands]
    return found if all(isinstance(item, int) for item in found) else None  # type: ignore[return-value]


def make(name: str, result: ir.Type, *operands: ir.Value, **attributes: ir.Attribute) -> ir.Value:
    """Creates an op with one result at the insertion point."""
    return ir.Operation.create(name, results=[result], operands=list(operands), attributes=attributes).result


def make_int(value: int) -> ir.Value:
    """A constant torch integer."""
    attribute = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), value)
    return make("torch.constant.int", ir.Type.parse("!torch.int"), value=attribute)


def make_float(value: float) -> ir.Value:
    """A constant torch float."""
    attribute = ir.FloatAttr.get(ir.F64Type.get(), value)
    return make("torch.constant.float", ir.Type.parse("!torch.float"), value=attribute)


def make_view(value: ir.Value, shape: Sequence[int], op: str = "view") -> ir.Value:
    """`aten.view` (or `broadcast_to`) of `value`; the value itself where it has this shape already."""
    tensor = tensor_of(value)
    assert tensor is not None
    if tensor.shape == tuple(shape):
        return value
    sizes = make("torch.prim.ListConstruct", ir.Type.parse("!torch.list<int>"), *[make_int(size) for size in shape])
    return make(f"torch.aten.{op}", TorchTensor(tuple(shape), tensor.element).type, value, sizes)


def make_transpose(value: ir.Value, first: int, second: int) -> ir.Value:
    """`aten.transpose.int` of `value`."""
    tensor = tensor_of(value)
    assert tensor is not None
    shape = list(tensor.shape)
    shape[first], shape[second] = shape[second], shape[first]
    result = TorchTensor(tuple(shape), tensor.element).type
    return make("torch.aten.transpose.int", result, value, make_int(first), make_int(second))


def to_builtin(value: ir.Value) -> ir.Value:
    """`value` as a builtin tensor, without a cast where it was cast from one."""
    op = owner(value)
    if op is not None and op.name == FROM_BUILTIN:
        return op.operands[0]
    tensor = tensor_of(value)
    assert tensor is not None
    return make(TO_BUILTIN, tensor.builtin, value)


def from_builtin(value: ir.Value, torch_type: ir.Type) -> ir.Value:
    """A builtin tensor as a torch value of `torch_type`."""
    return make(FROM_BUILTIN, torch_type, value)


def permutation(op: ir.Operation) -> list[int] | None:
    """The permutation that a `transpose.int` or `permute` performs, else None."""
    tensor = tensor_of(op.operands[0]) if len(op.operands) else None
    if tensor is None:
        return None
    rank = len(tensor.shape)
    if op.name == "torch.aten.transpose.int":
        first, second = constant(op.operands[1]), constant(op.operands[2])
        if not isinstance(first, int) or not isinstance(second, int):
            return None
        order = list(range(rank))
        order[first % rank], order[second % rank] = second % rank, first % rank
        return order
    if op.name == "torch.aten.permute":
        axes = constants(op.operands[1])
        return [axis % rank for axis in axes] if axes is not None else None
    return None
