"""Gathers of kernels in the form that becomes the CPU's own gather instruction.

before:
    %v = vector.gather %x[%first] [%columns], %mask, %rest : memref<768xf32>, vector<16xi32>, ...
after:
    %p = llvm.getelementptr %x's pointer[%first], then [%columns] : vector<16x!llvm.ptr>
    %v = llvm.intr.masked.gather %p, %mask, %rest : vector<16xf32>

IREE's own lowering makes of every `vector.gather` one load per lane, behind a test of its mask bit, on CPUs that have a
gather instruction too; with AVX-512 that takes three times as long. LLVM's intrinsic becomes `vgatherdps` where the CPU
has a fast one (not on Haswell), and loads without tests elsewhere.
"""

from torch_mlir import ir

_DYNAMIC = -(1 << 31)


def lower_gathers(kernel: ir.Operation) -> None:
    """Rewrites the gathers in `kernel` whose base is an f32 memref of one dimension with a static or dynamic size."""
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name == "vector.gather" and _fits(op):
            found.append(op)
        return ir.WalkResult.ADVANCE

    kernel.walk(visit)
    for op in found:
        with op.location, ir.InsertionPoint(op):
            new = _lowered(op)
        op.results[0].replace_all_uses_with(new)
        op.erase()


def _fits(op: ir.Operation) -> bool:
    base = op.operands[0].type
    return isinstance(base, ir.MemRefType) and base.rank == 1 and isinstance(base.element_type, ir.F32Type)


def _lowered(op: ir.Operation) -> ir.Value:
    base, first, columns, mask, rest = op.operands
    i64, pointer = ir.IntegerType.get_signless(64), ir.Type.parse("!llvm.ptr")
    pointers = ir.Type.parse(f"vector<{columns.type.shape[0]}x!llvm.ptr>")

    def make(name: str, result: ir.Type, *operands: ir.Value, **attributes: ir.Attribute) -> ir.Value:
        return ir.Operation.create(name, [result], list(operands), attributes).result

    def element(of: ir.Value, at: ir.Value, result: ir.Type) -> ir.Value:
        return make(
            "llvm.getelementptr",
            result,
            of,
            at,
            elem_type=ir.TypeAttr.get(ir.F32Type.get()),
            noWrapFlags=ir.IntegerAttr.get(ir.IntegerType.get_signless(32), 0),
            rawConstantIndices=ir.DenseI32ArrayAttr.get([_DYNAMIC]),
        )

    address = make("memref.extract_aligned_pointer_as_index", ir.IndexType.get(), base)
    start = make("llvm.inttoptr", pointer, make("arith.index_cast", i64, address))
    row = element(start, make("arith.index_cast", i64, first), pointer)
    lanes = element(row, columns, pointers)
    alignment = ir.IntegerAttr.get(i64, 4)
    return make("llvm.intr.masked.gather", op.results[0].type, lanes, mask, rest, alignment=alignment)
