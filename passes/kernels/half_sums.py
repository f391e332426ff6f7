"""Products and sums in f16: a register holds twice as many as of f32 (Armv8.2's `fmla v0.8h, v1.8h, v2.h[3]`).

Weights are stored as f16 and need no conversion; x is rounded to f16 where it is loaded. A sum of f16 loses bits with
every product, so only a run of columns is summed in f16, and then added to the sums in f32, which wait in memory:

    sums = bias
    for run of columns:
      part = 0                     // f16, in registers
      for column in run:
        part = fma(weight[column], f16(x[column]), part)
      sums += f32(part)

A number or a sum of a run above 65504 becomes infinite.
"""

from collections.abc import Sequence

from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from .build import Lanes, Value


class HalfLanes(Lanes):
    """Vectors of f16 in as many bytes as `lanes`, made of f32 in memory; weights are f16 in memory too."""

    def __init__(self, lanes: Lanes) -> None:
        super().__init__(2 * lanes.width, by_lane=True)
        self._single = lanes
        self.type = ir.VectorType.get([self.width], ir.F16Type.get())

    def constant(self, value: float) -> Value:
        element = ir.FloatAttr.get(ir.F16Type.get(), value)
        return arith.constant(self.type, ir.DenseElementsAttr.get_splat(self.type, element))

    def load_run(self, source: Value, at: Sequence[Value], last: Sequence[Value]) -> list[Value]:
        run = ir.VectorType.get([self.width * len(last)], ir.F32Type.get())
        whole = arith.truncf(ir.VectorType.get(run.shape, ir.F16Type.get()), vector.load(run, source, [*at, last[0]]))
        starts = range(0, self.width * len(last), self.width)
        return [vector.extract_strided_slice(self.type, whole, [start], [self.width], [1]) for start in starts]

    def load_weights(self, source: Value, at: Sequence[Value], count: int | None = None) -> Value:
        return vector.load(ir.VectorType.get([count or self.width], ir.F16Type.get()), source, list(at))

    def widened(self, value: Value) -> list[Value]:
        """The two halves of a vector, as vectors of f32."""
        wide = arith.extf(ir.VectorType.get([self.width], ir.F32Type.get()), value)
        width = self._single.width
        return [vector.extract_strided_slice(self._single.type, wide, [i * width], [width], [1]) for i in range(2)]
