"""Kernel functions of level 4 as IREE executables, and the check that a dispatch fits its kernel."""

import dataclasses
from typing import NoReturn

from torch_mlir import ir

from secateur.dialects.errors import SecateurError
from secateur.dialects.sparsity.kernel_ops import DispatchOp, kernel_positions, ties_of

from .gathers import lower_gathers
from .in_outs import first_write
from .threads import lower_vectors, thread_index, threads_of, translation_info, unknown_zero
from .words import lower_words

KERNEL = "sparsity.kernel"


class AssemblyError(SecateurError):
    """A module cannot be given to IREE; the text is one sentence with the place and the op at fault."""


def refuse(op: ir.Operation, message: str) -> NoReturn:
    """Raises `AssemblyError` in the form of a diagnostic at `op`."""
    place = str(op.location).removeprefix("loc(").removesuffix(")")
    prefix = "" if place == "unknown" else f"{place}: "
    raise AssemblyError(f"{prefix}'{op.name}' op {message}")


def is_kernel(op: ir.Operation) -> bool:
    """Whether `op` is a function that `sparsity.dispatch` may call."""
    return op.name == "func.func" and KERNEL in op.attributes


def kernel_memrefs(kernel: ir.Operation) -> list[ir.Type]:
    """The memrefs of a kernel, without the three indices at the end."""
    name = ir.StringAttr(kernel.attributes["sym_name"]).value
    types = list(ir.FunctionType(ir.TypeAttr(kernel.attributes["function_type"]).value).inputs)
    if len(types) < 3 or not all(isinstance(t, ir.IndexType) for t in types[-3:]):
        refuse(kernel, f"'@{name}' is a kernel whose last three arguments are not of type index")
    for position, type_ in enumerate(types[:-3]):
        if not isinstance(type_, ir.MemRefType):
            refuse(kernel, f"'@{name}' is a kernel whose argument {position} is {type_}; a memref is accepted")
        if type_.affine_map != ir.AffineMap.get_identity(type_.rank):
            refuse(kernel, f"'@{name}' is a kernel whose argument {position} has a layout, {type_}; none is accepted")
        if str(type_.element_type) == "i1":
            refuse(kernel, f"'@{name}' is a kernel whose argument {position} is of i1, which IREE stores as i8")
    return types[:-3]


def check_dispatch(op: DispatchOp, kernel: ir.Operation) -> None:
    """Raises `AssemblyError` unless `kernel` takes the tensors of `op` and writes to no operand but in-outs.

    Rationale: other operands may be weights, which all calls share.
    """
    wanted = kernel_memrefs(kernel)
    name, ties = op.attributes["kernel"], ties_of(op)
    made = [r.type for r, tie in zip(op.operation.results, ties, strict=True) if tie is None]
    tensors = [*(v.type for v in op.operation.operands), *made]
    if len(tensors) != len(wanted):
        refuse(op.operation, f"gives {name} {len(tensors)} tensors, which takes {len(wanted)}")
    for position, (tensor, memref) in enumerate(zip(tensors, wanted, strict=True)):
        sizes = zip(tensor.shape, memref.shape, strict=False)
        fits = tensor.rank == memref.rank and tensor.element_type == memref.element_type
        fits = fits and all(memref.is_dynamic_dim(i) or t == m for i, (t, m) in enumerate(sizes))
        if not fits:
            refuse(op.operation, f"gives {name} {tensor} as argument {position}, which takes {memref}")
    for position, argument in enumerate(list(kernel.regions[0].blocks[0].arguments)[: len(wanted)]):
        write = None if position in kernel_positions(op) else first_write(argument)
        if write is not None:
            refuse(write, f"writes to operand {position} of the kernel '{name}', which is read only")


@dataclasses.dataclass
class Call:
    """One call of a kernel in place of `members`, dispatches of which `at` is the last.

    `inputs` are the tensors it reads, in the order of the kernel's memrefs; `results` are those of the members that
    something may read. `ties`: for every result, the position of the input whose storage it takes, or None; the
    memrefs of those that take none stand behind the inputs'.
    """

    at: ir.Operation
    kernel: str
    inputs: list[ir.Value]
    results: list[ir.Value]
    ties: list[int | None]
    grid: list[int]
    members: list[ir.Operation]


def _dynamic(type_: ir.MemRefType) -> list[int]:
    return [i for i in range(type_.rank) if type_.is_dynamic_dim(i)]


def call_sizes(call: Call, kernel: ir.Operation) -> list[int]:
    """The sizes that the kernel leaves dynamic, argument by argument."""
    made = [r for r, tie in zip(call.results, call.ties, strict=True) if tie is None]
    tensors = [v.type for v in (*call.inputs, *made)]
    pairs = zip(tensors, kernel_memrefs(kernel), strict=True)
    return [tensor.shape[i] for tensor, memref in pairs for i in _dynamic(memref)]


def build_executable(kernel: ir.Operation, executable: str) -> None:
    """Adds `stream.executable @<executable>` before `kernel`, whose body moves into it.

    Raises `AssemblyError` where the body has more than one block.
    """
    name = ir.StringAttr(kernel.attributes["sym_name"]).value
    memrefs = given = kernel_memrefs(kernel)
    if len(kernel.regions[0].blocks) != 1:
        refuse(kernel, f"'@{name}' is a kernel of {len(kernel.regions[0].blocks)} blocks; one is accepted")
    lower_gathers(kernel)
    if threads_of(kernel) is not None:
        lower_words(kernel)
        lower_vectors(kernel)
        memrefs = [a.type for a in list(kernel.regions[0].blocks[0].arguments)[:-3]]
    symbol, index = ir.StringAttr.get, ir.IndexType.get()
    with kernel.location, ir.InsertionPoint(kernel):
        outer = ir.Operation.create(
            "stream.executable",
            attributes={"sym_name": symbol(executable), "sym_visibility": symbol("private")},
            regions=1,
        )
        block = outer.regions[0].blocks.append()
        with ir.InsertionPoint(block):
            export = ir.Operation.create(
                "stream.executable.export",
                attributes={
                    "sym_name": symbol(name),
                    "sym_visibility": symbol("public"),
                    "function_ref": ir.FlatSymbolRefAttr.get(name),
                },
                regions=1,
            )
            grid = export.regions[0].blocks.append(index, index, index)
            with ir.InsertionPoint(grid):
                ir.Operation.create("stream.return", operands=list(grid.arguments))
            inner = ir.Operation.create("builtin.module", regions=1)
            ir.Operation.create("stream.executable.end")
        with ir.InsertionPoint(inner.regions[0].blocks.append()):
            _move_body(kernel, name, memrefs, given)


def _move_body(kernel: ir.Operation, name: str, memrefs: list[ir.MemRefType], tensors: list[ir.MemRefType]) -> None:
    """Adds the function of `kernel` on buffers of the types `memrefs`; dispatches give its operands as `tensors`."""
    index, binding = ir.IndexType.get(), ir.Type.parse("!stream.binding")
    sizes = sum(len(_dynamic(m)) for m in memrefs)
    types = [index] * sizes + [binding] * len(memrefs)
    function = ir.Operation.create(
        "func.func",
        attributes={
            "sym_name": ir.StringAttr.get(name),
            "function_type": ir.TypeAttr.get(ir.FunctionType.get(types, [])),
        },
        regions=1,
    )
    threads = threads_of(kernel)
    if threads is not None:
        function.attributes["translation_info"] = translation_info(threads)
    block = function.regions[0].blocks.append(*types)
    old = kernel.regions[0].blocks[0]
    with ir.InsertionPoint(block):
        attributes = {"value": ir.IntegerAttr.get(index, 0)}
        zero = ir.Operation.create("arith.constant", [index], attributes=attributes).result
        if threads is not None:
            zero = unknown_zero()
        given = iter(list(block.arguments)[:sizes])
        values = []
        for memref, tensor, argument in zip(memrefs, tensors, list(block.arguments)[sizes:], strict=True):
            operands = [argument, zero, *(_in_units(next(given), memref, tensor, i) for i in _dynamic(memref))]
            values.append(ir.Operation.create("stream.binding.subspan", [memref], operands).result)
        for dimension in range(3):
            attributes = {"dimension": ir.IntegerAttr.get(index, dimension)}
            point = ir.Operation.create("hal.interface.workgroup.id", [index], attributes=attributes).result
            values.append(point if threads is None else thread_index(point, dimension, threads[dimension]))
    for argument, value in zip(old.arguments, values, strict=True):
        argument.replace_all_uses_with(value)
    for op in list(old.operations):
        block.append(op)


def _in_units(size: ir.Value, memref: ir.MemRefType, tensor: ir.MemRefType, dimension: int) -> ir.Value:
    """A size in elements of `tensor` as one in elements of `memref`, which may be words or vectors of several."""
    several = _bits(memref.element_type) // _bits(tensor.element_type)
    if several == 1 or dimension < memref.rank - 1:
        return size
    index = ir.IndexType.get()
    attributes = {"value": ir.IntegerAttr.get(index, several)}
    width = ir.Operation.create("arith.constant", [index], attributes=attributes).result
    return ir.Operation.create("arith.divui", [index], [size, width]).result


def _bits(element: ir.Type) -> int:
    if isinstance(element, ir.VectorType):
        return int(element.shape[0] * _bits(element.element_type))
    return 32 if isinstance(element, ir.IndexType) else int(element.width)
