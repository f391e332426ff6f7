"""Scratch memory of kernels (`memref.alloca`): how much they take, and how the kernels of a chain share it.

before:
    %s = memref.alloca() : memref<512x16xf32>
after, in a chain:
    %scratch = memref.alloca() {alignment = 64 : i64} : memref<32768xi8>   // the chain's
    %s = memref.view %scratch[%c0][] : memref<32768xi8> to memref<512x16xf32>
"""

import math
from collections.abc import Sequence

from torch_mlir import ir

from secateur.dialects.sparsity.kernel_ops import SCRATCH_BYTES

from .kernels import refuse

# A line of the first-level cache, and the largest vector.
_ALIGNMENT = 64


def scratch_bytes(kernel: ir.Operation) -> int:
    """What the allocations in `kernel` add up to, in bytes.

    Raises `AssemblyError` for an allocation of unknown size, and where the sum is above `SCRATCH_BYTES`.
    """
    found = sum(_bytes(op) for op in _allocations(kernel))
    if found > SCRATCH_BYTES:
        name = ir.StringAttr(kernel.attributes["sym_name"]).value
        refuse(kernel, f"'@{name}' is a kernel with {found} bytes of scratch memory; {SCRATCH_BYTES} are accepted")
    return found


class SharedScratch:
    """One allocation before `end` for all of `kernels`, which run one after the other."""

    def __init__(self, kernels: Sequence[ir.Operation], end: ir.Operation) -> None:
        size = max(scratch_bytes(kernel) for kernel in kernels)
        if size == 0:
            return
        kind = ir.MemRefType.get([size], ir.IntegerType.get_signless(8))
        alignment = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), _ALIGNMENT)
        none = ir.DenseI32ArrayAttr.get([0, 0])
        with ir.InsertionPoint(end):
            made = ir.Operation.create(
                "memref.alloca", [kind], attributes={"alignment": alignment, "operandSegmentSizes": none}
            )
        self._memory = made.result

    def lend(self, kernel: ir.Operation, end: ir.Operation) -> None:
        """Replaces the allocations of `kernel` by parts of this memory, which are named before `end`."""
        index, offset = ir.IndexType.get(), 0
        for op in _allocations(kernel):
            with op.location, ir.InsertionPoint(end):
                attributes = {"value": ir.IntegerAttr.get(index, offset)}
                place = ir.Operation.create("arith.constant", [index], attributes=attributes).result
                part = ir.Operation.create("memref.view", [op.results[0].type], [self._memory, place]).result
            offset += _bytes(op)
            op.results[0].replace_all_uses_with(part)
            op.erase()


def _allocations(kernel: ir.Operation) -> list[ir.Operation]:
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name == "memref.alloca":
            found.append(op)
        return ir.WalkResult.ADVANCE

    kernel.walk(visit)
    return found


def _bytes(op: ir.Operation) -> int:
    """The size of an allocation, in whole lines."""
    kind = ir.MemRefType(op.results[0].type)
    element = kind.element_type
    if not kind.has_static_shape or not isinstance(element, ir.IntegerType | ir.FloatType):
        refuse(op, f"takes scratch memory of the type {kind}; static shapes of integers or floats are accepted")
    size = math.prod(kind.shape) * -(-element.width // 8)
    return -(-size // _ALIGNMENT) * _ALIGNMENT
