"""SPIR-V that races, or whose threads repeat each other: found in what IREE's compiler made, kept from coming about.

IREE fuses a reduction with the ops that read it into one workgroup's work. Where a reader has its dimensions in another
order, the two are distributed differently. For GPUs without subgroup operations, sums then pass from thread to thread
through workgroup memory with no barrier in between, and results are wrong now and then; for others, wrong results were
seen that are the same on every run. `separate_reductions` gives the two a dispatch each; `unsafe_kernels` finds code
with workgroup memory and no barrier, whatever it comes from. `repeating_kernels` finds code that is right and wastes
threads: IREE distributes some batches of products over more directions of a workgroup than the code then reads.

before:
    %sums = linalg.generic {iterator_types = ["parallel", "reduction"]} ...
    %y = linalg.generic ins(%x, %sums) ...
after:
    %sums = linalg.generic {iterator_types = ["parallel", "reduction"]} ...
    %done = iree_tensor_ext.compute_barrier.start %sums
    %y = linalg.generic ins(%x, %done) ...
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from torch_mlir import ir

_BARRIER = "iree_tensor_ext.compute_barrier.start"
_MAGIC, _HEADER_WORDS = 0x07230203, 5
_OP_VARIABLE, _OP_CONTROL_BARRIER, _WORKGROUP = 59, 224, 4
_OP_EXECUTION_MODE, _LOCAL_SIZE = 16, 17
_OP_DECORATE, _BUILT_IN, _LOCAL_INVOCATION_ID = 71, 11, 27
# Built-in values that a place in the workgroup follows from as well: GlobalInvocationId, LocalInvocationIndex.
_OTHER_PLACES = (28, 29)
_OP_LOAD, _OP_COMPOSITE_EXTRACT = 61, 81
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
                # An optimization barrier would end the submission to the GPU's queue too.
                barrier = ir.Operation.create(_BARRIER, [result.type], [result])
            for use in list(result.uses):
                if use.owner.operation != barrier:
                    use.owner.operation.operands[use.operand_number] = barrier.result


def _iterators(op: ir.Operation) -> ir.Attribute:
    return op.attributes["iterator_types"]


def unsafe_kernels(folder: Path) -> list[str]:
    """The names of the files of SPIR-V in `folder` whose code may race: they use workgroup memory without a barrier."""
    return [file.stem for file in sorted(folder.glob("*.spv")) if _races(file.read_bytes())]


def repeating_kernels(folder: Path) -> list[str]:
    """The names of the files of SPIR-V in `folder` whose threads repeat each other's work: a workgroup has several
    threads in a direction, and the code never asks a thread for its place there."""
    return [file.stem for file in sorted(folder.glob("*.spv")) if _repeats(file.read_bytes())]


def _instructions(code: bytes) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Opcodes with the words behind them."""
    words = struct.unpack(f"<{len(code) // 4}I", code[: len(code) // 4 * 4])
    if len(words) < _HEADER_WORDS or words[0] != _MAGIC:
        raise ValueError("no SPIR-V")
    at = _HEADER_WORDS
    while at < len(words):
        length = max(1, words[at] >> 16)
        yield words[at] & 0xFFFF, words[at + 1 : at + length]
        at += length


def _races(code: bytes) -> bool:
    found = list(_instructions(code))
    memory = any(opcode == _OP_VARIABLE and operands[2] == _WORKGROUP for opcode, operands in found)
    return memory and not any(opcode == _OP_CONTROL_BARRIER for opcode, _ in found)


def _repeats(code: bytes) -> bool:
    found = list(_instructions(code))
    sizes = [operands[2:] for op, operands in found if op == _OP_EXECUTION_MODE and operands[1] == _LOCAL_SIZE]
    built_in = {o[0]: o[2] for op, o in found if op == _OP_DECORATE and o[1] == _BUILT_IN}
    if any(value in _OTHER_PLACES for value in built_in.values()):
        return False
    places = {o[1] for op, o in found if op == _OP_LOAD and built_in.get(o[2]) == _LOCAL_INVOCATION_ID}
    read = {o[3] for op, o in found if op == _OP_COMPOSITE_EXTRACT and o[2] in places}
    return any(size > 1 and direction not in read for each in sizes for direction, size in enumerate(each))
