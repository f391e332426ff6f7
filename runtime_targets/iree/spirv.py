"""SPIR-V that races: found in what IREE's compiler made, and kept from coming about.

IREE fuses a reduction with the ops that read it into one workgroup's work. Where a reader has its dimensions in another
order, the two are distributed differently. For GPUs without subgroup operations, sums then pass from thread to thread
through workgroup memory with no barrier in between, and results are wrong now and then; for others, wrong results were
seen that are the same on every run. `separate_reductions` gives the two a dispatch each; `unsafe_kernels` finds code
with workgroup memory and no barrier, whatever it comes from.

before:
    %sums = linalg.generic {iterator_types = ["parallel", "reduction"]} ...
    %y = linalg.generic ins(%x, %sums) ...
after:
    %sums = linalg.generic {iterator_types = ["parallel", "reduction"]} ...
    %done = util.optimization_barrier %sums
    %y = linalg.generic ins(%x, %done) ...
"""

import struct
from pathlib import Path

from torch_mlir import ir

_MAGIC, _HEADER_WORDS = 0x07230203, 5
_OP_VARIABLE, _OP_CONTROL_BARRIER, _WORKGROUP = 59, 224, 4
_NAMED_REDUCTIONS = ("linalg.matmul", "linalg.batch_matmul", "linalg.matvec", "linalg.vecmat", "linalg.batch_matvec",
                     "linalg.dot", "linalg.reduce")  # fmt: skip


def separate_reductions(function: ir.Operation) -> None:
    """Keeps every reduction of a tensor-level function out of the dispatches of the ops that read it."""
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name in _NAMED_REDUCTIONS or (op.name == "linalg.generic" and "reduction" in str(_iterators(op))):
            found.append(op)
        return ir.WalkResult.ADVANCE

    function.walk(visit, ir.WalkOrder.PRE_ORDER)
    for op in found:
        block = op.block
        later = [o.operation for o in block.operations]
        after = later[later.index(op) + 1]
        for result in op.results:
            with op.location, ir.InsertionPoint(after):
                barrier = ir.Operation.create("util.optimization_barrier", [result.type], [result])
            for use in list(result.uses):
                if use.owner.operation != barrier:
                    use.owner.operation.operands[use.operand_number] = barrier.result


def _iterators(op: ir.Operation) -> ir.Attribute:
    return op.attributes["iterator_types"]


def unsafe_kernels(folder: Path) -> list[str]:
    """The names of the files of SPIR-V in `folder` whose code may race: they use workgroup memory without a barrier."""
    return [file.stem for file in sorted(folder.glob("*.spv")) if _races(file.read_bytes())]


def _races(code: bytes) -> bool:
    words = struct.unpack(f"<{len(code) // 4}I", code[: len(code) // 4 * 4])
    if len(words) < _HEADER_WORDS or words[0] != _MAGIC:
        raise ValueError("no SPIR-V")
    memory = barrier = False
    at = _HEADER_WORDS
    while at < len(words):
        length, opcode = words[at] >> 16, words[at] & 0xFFFF
        memory = memory or (opcode == _OP_VARIABLE and words[at + 3] == _WORKGROUP)
        barrier = barrier or opcode == _OP_CONTROL_BARRIER
        at += max(1, length)
    return memory and not barrier
