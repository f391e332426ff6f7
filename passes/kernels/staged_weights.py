"""Weights stored as f16 or int8, as the kernel of `sparsity.packed_linear` reads them where operands come from memory.

A multiply-add of x86 takes one f32 number of memory for all its lanes; a conversion for each weight in between would
cost as much as the multiply-adds. So some columns' weights are converted ahead, whole vectors at a time, into a small
f32 buffer that stays in the first-level cache, and the loop over those columns is that of f32 weights.
"""

from torch_mlir import ir
from torch_mlir.dialects import memref

from secateur.dialects.sparsity.ops.packed_linear import VALUES_PADDING

from .build import Lanes, Value, add, index, loop

# Weights converted at a time: 4 kB, a fraction of any first-level cache, and work enough to hide the loop around it.
STAGED = 1024


class StagedWeights:
    """A buffer of `STAGED` f32 weights; made where the kernel begins."""

    def __init__(self, lanes: Lanes) -> None:
        # Behind stored values stand 16 more, and no vector may reach past them.
        self._lanes = Lanes(min(lanes.width, VALUES_PADDING))
        self.buffer = memref.alloca(ir.MemRefType.get([STAGED], ir.F32Type.get()), [], [])

    def fill(self, values: Value, first: Value, count: Value) -> None:
        """Converts `values[first .. first + count]`, and up to a vector more; `count` is at most `STAGED`."""

        def convert(at: Value, _: list[Value]) -> list[Value]:
            self._lanes.store(self._lanes.load_weights(values, [add(first, at)]), self.buffer, [at])
            return []

        loop(index(0), count, self._lanes.width, [], convert)
