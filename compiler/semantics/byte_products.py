"""What instructions for products of bytes compute, in upstream ops: kernels that have them run on any machine here.

before:
    %s = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%sums, %x, %w)
         : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
after, for each of the four bytes of a lane:
    %b = vector.shuffle %x, %x [0, 4, 8, ...] : vector<64xi8>, vector<64xi8>
    %i = arith.extui %b : vector<16xi8> to vector<16xi32>
    ... the same of %w with arith.extsi, their product, and the sum with %sums

The meanings are those of the manuals: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VPDPBUSD
and PMADDWD; Arm Architecture Reference Manual for A-profile, SDOT (vector) and SADDLP.
"""

from torch_mlir import ir
from torch_mlir.dialects import arith, vector

# Part of an intrinsic's name -> whether the first factor is signed.
_DOTS = {"vpdpbusd": False, "sdot": True}


def expand_byte_products(module: ir.Module) -> None:
    """Replaces every call of an instruction that is known here; others are left alone."""
    calls: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name == "llvm.call_intrinsic":
            calls.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    for op in calls:
        name, operands = ir.StringAttr(op.attributes["intrin"]).value, list(op.operands)
        with op.location, ir.InsertionPoint(op):
            result = _expanded(name, operands, op.results[0].type)
        if result is not None:
            op.results[0].replace_all_uses_with(result)
            op.erase()


def _expanded(name: str, operands: list[ir.Value], result: ir.VectorType) -> ir.Value | None:
    for part, signed in _DOTS.items():
        if f".{part}." in name:
            total, x, weight = operands
            return arith.addi(total, _sum_of_products(x, weight, result, 4, signed))
    if ".pmadd" in name and "ub" not in name:
        return _sum_of_products(*operands, result, 2, True)
    if ".saddlp." in name:
        return arith.addi(*(_part(operands[0], result, 2, i, True) for i in range(2)))
    return None


def _sum_of_products(x: ir.Value, weight: ir.Value, result: ir.VectorType, count: int, signed: bool) -> ir.Value:
    total = None
    for i in range(count):
        product = arith.muli(_part(x, result, count, i, signed), _part(weight, result, count, i, True))
        total = product if total is None else arith.addi(total, product)
    return total


def _part(x: ir.Value, result: ir.VectorType, count: int, place: int, signed: bool) -> ir.Value:
    """Of each lane's `count` numbers in `x`, the one at `place`, in 32 bits."""
    part = vector.shuffle(x, x, [lane * count + place for lane in range(result.shape[0])])
    return arith.extsi(result, part) if signed else arith.extui(result, part)
