"""Kernels for a GPU's threads, in the form in which IREE's SPIR-V code generator takes them as they are.

before:
    func.func private @k(%x: memref<1x2x768x64xf32>, ..., %i: index, %j: index, %l: index)
        attributes {sparsity.kernel, sparsity.threads = array<i64: 16, 4, 1>} {
      %v = vector.load %x[%b, %p, %row, %token] : memref<1x2x768x64xf32>, vector<4xf32>
after, in the executable:
    func.func @k(...) attributes {translation_info = #iree_codegen.translation_info<
        pipeline = #iree_gpu.spirv_pipeline<BaseLowering> workgroup_size = [16, 4, 1]>} {
      %i = hal.interface.workgroup.id[0] * 16 + gpu.thread_id x
      %v = memref.load %x[%b, %p, %row, %token / 4] : memref<1x2x768x16xvector<4xf32>>

Rationale: without a pipeline of its own, a function with no linalg op passes IREE's configuration unchanged and a
`vector.load` of a flattened memref stays unlegalized; a vector loaded from a memref of vectors is one load in SPIR-V.
IREE gives a buffer that begins inside of another one a type of its own, too late for a function that is lowered as it
is: all buffers get that type, from an offset that it cannot see to be zero.
"""

from typing import Any

from torch_mlir import ir

THREADS = "sparsity.threads"
_LOADS, _STORES = "vector.load", "vector.store"


def threads_of(kernel: ir.Operation) -> list[int] | None:
    """Threads of a workgroup in the three directions; None for a kernel whose grid points are workgroups."""
    return list(ir.DenseI64ArrayAttr(kernel.attributes[THREADS])) if THREADS in kernel.attributes else None


def translation_info(threads: list[int]) -> ir.Attribute:
    """What makes IREE lower a function as it is, for workgroups of that many threads."""
    sizes = ", ".join(map(str, threads))
    return ir.Attribute.parse(
        f"#iree_codegen.translation_info<pipeline = #iree_gpu.spirv_pipeline<BaseLowering> workgroup_size = [{sizes}]>"
    )


def thread_index(workgroup: ir.Value, dimension: int, threads: int) -> ir.Value:
    """The grid point of a thread in a dimension."""
    if threads == 1:
        return workgroup
    index = ir.IndexType.get()
    name = ir.Attribute.parse(f"#gpu<dim {'xyz'[dimension]}>")
    thread = ir.Operation.create("gpu.thread_id", [index], attributes={"dimension": name}).result
    first = _make("arith.muli", index, workgroup, _constant(threads))
    return _make("arith.addi", index, first, thread)


def as_iree_prints(text: str) -> str:
    """The one attribute of kernels that the two builds of MLIR print differently, the way IREE's does."""
    return text.replace("#gpu<dim ", "#gpu.dim<")


def lower_vectors(kernel: ir.Operation) -> None:
    """Makes memrefs of vectors of the memrefs that `kernel` only reads and writes in whole vectors."""
    block = kernel.regions[0].blocks[0]
    for argument in block.arguments:
        width = _width(argument)
        if not width:
            continue
        shape = list(argument.type.shape)
        if not argument.type.is_dynamic_dim(len(shape) - 1):
            shape[-1] //= width
        vector = ir.VectorType.get([width], argument.type.element_type)
        uses = [(use.owner.operation, use.operand_number) for use in argument.uses]
        argument.set_type(ir.MemRefType.get(shape, vector))
        for op, number in uses:
            _rewrite(op, number, width)
    for argument in block.arguments:
        if isinstance(argument.type, ir.MemRefType):
            argument.set_type(anywhere(argument.type))
    types = [*[a.type for a in block.arguments]]
    kernel.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(types, []))


def unknown_zero() -> ir.Value:
    """Zero, in a form that IREE does not see to be zero."""
    index = ir.IndexType.get()
    attributes = {"dimension": ir.IntegerAttr.get(index, 0)}
    workgroup = ir.Operation.create("hal.interface.workgroup.id", [index], attributes=attributes).result
    return _make("arith.shrui", index, workgroup, _constant(31))


def anywhere(memref: ir.MemRefType) -> ir.MemRefType:
    """The type of a memref that may begin anywhere in a buffer."""
    dynamic = ir.ShapedType.get_dynamic_stride_or_offset()
    strides, size = [], 1
    for i in reversed(range(memref.rank)):
        strides.insert(0, size)
        size = dynamic if dynamic in (size,) or memref.is_dynamic_dim(i) else size * memref.shape[i]
    layout = ir.StridedLayoutAttr.get(dynamic, strides)
    return ir.MemRefType.get(list(memref.shape), memref.element_type, layout)


def _width(argument: ir.Value) -> int:
    """Elements of the vectors in which an argument is accessed; 0 where there is no one width that divides it."""
    if not isinstance(argument.type, ir.MemRefType):
        return 0
    widths = set()
    for use in argument.uses:
        op = use.owner.operation
        place = {_LOADS: 0, _STORES: 1}.get(op.name)
        if place != use.operand_number:
            return 0
        widths.add((op.results[0] if op.name == _LOADS else op.operands[0]).type.shape[0])
    last = argument.type.rank - 1
    if len(widths) != 1 or last < 0:
        return 0
    width = widths.pop()
    return width if argument.type.is_dynamic_dim(last) or argument.type.shape[last] % width == 0 else 0


def _rewrite(op: ir.Operation, memref: int, width: int) -> None:
    operands = list(op.operands)
    with op.location, ir.InsertionPoint(op):
        operands[-1] = _in_vectors(operands[-1], width)
        if op.name == _LOADS:
            new = ir.Operation.create("memref.load", [op.results[0].type], operands[memref:])
            op.results[0].replace_all_uses_with(new.result)
        else:
            ir.Operation.create("memref.store", [], operands)
    op.erase()


def _in_vectors(place: ir.Value, width: int) -> ir.Value:
    """An index of elements, a multiple of `width`, as one of vectors."""
    owner: Any = place.owner
    if not isinstance(owner, ir.Block) and owner.name == "arith.muli":
        factor = owner.operands[1].owner
        if not isinstance(factor, ir.Block) and factor.name == "arith.constant":
            value = ir.IntegerAttr(factor.attributes["value"]).value
            if value == width:
                return owner.operands[0]
    return _make("arith.divui", ir.IndexType.get(), place, _constant(width))


def _constant(value: int) -> ir.Value:
    index = ir.IndexType.get()
    return ir.Operation.create("arith.constant", [index], attributes={"value": ir.IntegerAttr.get(index, value)}).result


def _make(name: str, type_: ir.Type, *operands: ir.Value) -> ir.Value:
    return ir.Operation.create(name, [type_], list(operands)).result
