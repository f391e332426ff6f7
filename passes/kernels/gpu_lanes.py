"""Vectors of a GPU's thread: f32 or f16 in memory, and f32 while it computes but where it multiplies in f16."""

from collections.abc import Sequence

from torch_mlir import ir
from torch_mlir.dialects import arith, math, vector

from secateur.dialects.number_formats.f16 import LARGEST

from ..target import TOKENS_OF_A_THREAD
from .build import Lanes, Value


def is_half(memory: Value) -> bool:
    """Whether a memref is of f16."""
    return isinstance(ir.MemRefType(memory.type).element_type, ir.F16Type)


class GpuLanes(Lanes):
    """The tokens of a thread.

    What f16 cannot hold is written as NaN, never as an infinity: a score of minus infinity would hide a key, and
    nobody would be told. NaN passes through sums, products and exponentials to the results.
    """

    def __init__(self) -> None:
        super().__init__(TOKENS_OF_A_THREAD)

    def load(self, source: Value, at: Sequence[Value]) -> Value:
        return self.load_weights(source, at)

    def store(self, value: Value, target: Value, at: Sequence[Value]) -> None:
        if is_half(target):
            value = arith.truncf(ir.VectorType.get([self.width], ir.F16Type.get()), self.within(value, LARGEST))
        super().store(value, target, at)

    def within(self, value: Value, largest: float) -> Value:
        """`value`, and NaN in the lanes where its size is above `largest`."""
        fits = arith.cmpf(arith.CmpFPredicate.OLE, math.absf(value), self.constant(largest))
        return arith.select(fits, value, self.constant(float("nan")))


class HalfLanes(Lanes):
    """The tokens of a thread that multiplies in f16, which memory has too."""

    def __init__(self) -> None:
        super().__init__(TOKENS_OF_A_THREAD)
        self.type = ir.VectorType.get([self.width], ir.F16Type.get())

    def constant(self, value: float) -> Value:
        element = ir.FloatAttr.get(ir.F16Type.get(), value)
        return arith.constant(self.type, ir.DenseElementsAttr.get_splat(self.type, element))

    def load_weights(self, source: Value, at: Sequence[Value], count: int | None = None) -> Value:
        return vector.load(ir.VectorType.get([count or self.width], ir.F16Type.get()), source, list(at))

    def widened(self, value: Value) -> Value:
        """A vector in f32."""
        return arith.extf(ir.VectorType.get([self.width], ir.F32Type.get()), value)
