"""What the instructions that kernels name compute, in upstream ops: such kernels run on any machine here.

before:
    %s = llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"(%sums, %x, %w)
         : (vector<16xi32>, vector<64xi8>, vector<64xi8>) -> vector<16xi32>
after, for each of the four bytes of a lane:
    %b = vector.shuffle %x, %x [0, 4, 8, ...] : vector<64xi8>, vector<64xi8>
    %i = arith.extui %b : vector<16xi8> to vector<16xi32>
    ... the same of %w with arith.extsi, their product, and the sum with %sums
and of a lookup in two vectors, `vpermi2var.ps`, for each lane:
    %t = vector.shuffle %low, %high [0, 1, ..., 31] : vector<16xf32>, vector<16xf32>
    %v = vector.extract %t[%place] : f32 from vector<32xf32>

and of a product of packed bytes, `spirv.SDot` on words of 32 bits, whose low byte is the first:
    %b = vector.bitcast of each word to vector<4xi8>, then as above

The meanings are those of the manuals: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, VPDPBUSD,
PMADDWD and VPERMI2PS; Arm Architecture Reference Manual for A-profile, SDOT (vector), SMMLA (vector) and SADDLP; SPIR-V
Specification, OpSDot with the format PackedVectorFormat4x8Bit.
"""

from torch_mlir import ir
from torch_mlir.dialects import arith, vector

# Part of an intrinsic's name -> whether the first factor is signed.
_DOTS = {"vpdpbusd": False, "sdot": True}


_PACKED = "spirv.SDot"


def expand_intrinsics(module: ir.Module) -> None:
    """Replaces every call of an instruction that is known here; others are left alone."""
    calls: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name in ("llvm.call_intrinsic", _PACKED):
            calls.append(op)
        return ir.WalkResult.ADVANCE

    module.operation.walk(visit)
    for op in calls:
        operands = list(op.operands)
        with op.location, ir.InsertionPoint(op):
            if op.name == _PACKED:
                result = _packed_product(*operands)
            else:
                result = _expanded(ir.StringAttr(op.attributes["intrin"]).value, operands, op.results[0].type)
        if result is not None:
            op.results[0].replace_all_uses_with(result)
            op.erase()


def _expanded(name: str, operands: list[ir.Value], result: ir.VectorType) -> ir.Value | None:
    for part, signed in _DOTS.items():
        if f".{part}." in name:
            total, x, weight = operands
            return arith.addi(total, _sum_of_products(x, weight, result, 4, signed))
    if ".smmla." in name:
        return arith.addi(operands[0], _product_of_matrices(*operands[1:], result))
    if ".pmadd" in name and "ub" not in name:
        return _sum_of_products(*operands, result, 2, True)
    if ".vpermi2var.ps." in name:
        return _look_up(*operands)
    if ".saddlp." in name:
        return arith.addi(*(_part(operands[0], result, 2, i, True) for i in range(2)))
    return None


def _packed_product(x: ir.Value, weight: ir.Value) -> ir.Value:
    one, four = (ir.VectorType.get([n], x.type) for n in (1, 4))
    bytes_ = ir.VectorType.get([4], ir.IntegerType.get_signless(8))
    wide = [arith.extsi(four, vector.bitcast(bytes_, vector.broadcast(one, word))) for word in (x, weight)]
    return vector.reduction(x.type, vector.CombiningKind.ADD, arith.muli(*wide))


def _sum_of_products(x: ir.Value, weight: ir.Value, result: ir.VectorType, count: int, signed: bool) -> ir.Value:
    total = None
    for i in range(count):
        product = arith.muli(_part(x, result, count, i, signed), _part(weight, result, count, i, True))
        total = product if total is None else arith.addi(total, product)
    return total


def _product_of_matrices(rows: ir.Value, columns: ir.Value, result: ir.VectorType) -> ir.Value:
    """Element 2 i + j is the sum of products of eight bytes of row i and of column j."""
    total = None
    for i in range(8):
        picked = ((rows, [i, i, 8 + i, 8 + i]), (columns, [i, 8 + i, i, 8 + i]))
        product = arith.muli(*(arith.extsi(result, vector.shuffle(x, x, places)) for x, places in picked))
        total = product if total is None else arith.addi(total, product)
    return total


def _part(x: ir.Value, result: ir.VectorType, count: int, place: int, signed: bool) -> ir.Value:
    """Of each lane's `count` numbers in `x`, the one at `place`, in 32 bits."""
    part = vector.shuffle(x, x, [lane * count + place for lane in range(result.shape[0])])
    return arith.extsi(result, part) if signed else arith.extui(result, part)


def _look_up(low: ir.Value, places: ir.Value, high: ir.Value) -> ir.Value:
    """For each lane, the number of `low` and `high`, one after the other, at the low bits of its place."""
    index, width = ir.IndexType.get(), low.type.shape[0]
    table = vector.shuffle(low, high, list(range(2 * width)))
    last = arith.constant(index, 2 * width - 1)
    found = []
    for lane in range(width):
        place = arith.andi(arith.index_castui(index, vector.extract(places, [], [lane])), last)
        dynamic = [ir.ShapedType.get_dynamic_size()]
        found.append(vector.extract(table, [place], dynamic))
    return vector.from_elements(low.type, found)
