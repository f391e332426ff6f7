"""Numbers of `x` for the lanes of a vector, each from a place of its own, looked up in two vectors of a window.

Where a CPU gathers slowly (AMD's Zen 4: more cycles than lanes), a lookup in registers is 20 times faster, but it sees
only a window of `x`; `sparsity.sliced_linear` says which one at which step.
"""

from torch_mlir import ir
from torch_mlir.dialects import arith, llvm, memref, vector

from secateur.dialects.sparsity.ops.sliced_linear import WINDOW_VECTORS, window_steps_of

from .build import Lanes, Value, add, index, loop

# By the lanes of a vector. AVX-512F: each lane of the result is one of 32 numbers, by the low five bits of its place.
LOOKUPS = {16: "llvm.x86.avx512.vpermi2var.ps.512"}


class Windows:
    """Reads `x` at the places in a window that the steps of a slice name. Made where the kernel begins."""

    def __init__(self, op: ir.OpView, arguments: dict[str, Value], lanes: Lanes) -> None:
        self._a, self._lanes, self._x = arguments, lanes, arguments["x"]
        self.steps = window_steps_of(op)
        if op.order is not None:
            self._x = self._in_order(op.x.type.shape[0], op.order.type.shape[0])

    def _in_order(self, tokens: int, places: int) -> Value:
        """A copy of `x` with its columns in the order of the op."""
        copy = memref.alloca(ir.MemRefType.get([tokens, places], ir.F32Type.get()), [], [])

        def one(place: Value, _: list[Value]) -> list[Value]:
            column = memref.load(self._a["order"], [place])
            column = arith.index_castui(ir.IndexType.get(), column)
            for token in map(index, range(tokens)):
                memref.store(memref.load(self._a["x"], [token, column]), copy, [token, place])
            return []

        loop(index(0), index(places), 1, [], one)
        return copy

    def read(self, first: Value, tokens: list[Value]) -> list[list[Value]]:
        """For the steps of the window that begins with the step `first`: token by token."""
        window = arith.divui(first, index(self.steps))
        start = arith.index_castui(ir.IndexType.get(), memref.load(self._a["starts"], [window]))
        width = self._lanes.width
        starts = [add(start, v * width) for v in range(WINDOW_VECTORS)]
        tables = [[self._lanes.load(self._x, [token, at]) for at in starts] for token in tokens]
        found = []
        for step in range(self.steps):
            small = vector.load(_integers(8, width), self._a["columns"], [add(first, step), index(0)])
            places = arith.extui(_integers(32, width), small)
            found.append([self._look_up(table, places) for table in tables])
        return found

    def _look_up(self, table: list[Value], places: Value) -> Value:
        low, high = table
        return llvm.call_intrinsic(self._lanes.type, LOOKUPS[self._lanes.width], [low, places, high], [], [])


def _integers(bits: int, count: int) -> ir.VectorType:
    return ir.VectorType.get([count], ir.IntegerType.get_signless(bits))
