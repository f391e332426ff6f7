"""Vectors of a GPU's thread: f32 while it computes, f32 or f16 in memory."""

from collections.abc import Sequence

from torch_mlir import ir
from torch_mlir.dialects import arith, math

from secateur.dialects.number_formats.f16 import LARGEST

from ..target import TOKENS_OF_A_THREAD
from .build import Lanes, Value


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
        if isinstance(ir.MemRefType(target.type).element_type, ir.F16Type):
            fits = arith.cmpf(arith.CmpFPredicate.OLE, math.absf(value), self.constant(LARGEST))
            kept = arith.select(fits, value, self.constant(float("nan")))
            value = arith.truncf(ir.VectorType.get([self.width], ir.F16Type.get()), kept)
        super().store(value, target, at)
