"""Building blocks of kernels: index arithmetic, loops that carry values, vectors of tokens.

Everything here adds upstream ops (arith, scf, memref, vector) at the current insertion point.
"""

from collections.abc import Callable, Sequence

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, scf, vector

from . import functions

Value = ir.Value
F32_LOWEST = -3.4028234663852886e38
_ACTIVATIONS: dict[str, Callable[[Value], Value]] = {
    "gelu": functions.gelu,
    "gelu_tanh": functions.gelu_tanh,
    "relu": functions.relu,
    "sigmoid": functions.sigmoid,
    "silu": functions.silu,
    "tanh": functions.tanh,
}


def index(value: int) -> Value:
    """An `index` constant."""
    return arith.constant(ir.IndexType.get(), value)


def add(a: Value, b: Value | int) -> Value:
    """`a + b` on indices; adding a literal zero adds no op."""
    if isinstance(b, int):
        if b == 0:
            return a
        b = index(b)
    return arith.addi(a, b)


def mul(a: Value, b: Value | int) -> Value:
    """`a * b` on indices; multiplying by a literal one adds no op."""
    if isinstance(b, int):
        if b == 1:
            return a
        b = index(b)
    return arith.muli(a, b)


def load_index(source: Value, *at: Value) -> Value:
    """An element of an i32 memref as an index."""
    return arith.index_cast(ir.IndexType.get(), memref.load(source, list(at)))


def loop(
    start: Value | int,
    stop: Value | int,
    step: int,
    carried: Sequence[Value],
    body: Callable[[Value, list[Value]], Sequence[Value]],
) -> list[Value]:
    """`scf.for` whose body maps the carried values to new ones; returns the last ones.

    A loop over constants that runs exactly once adds only its body.
    """
    if isinstance(start, int) and isinstance(stop, int) and start + step >= stop > start:
        return list(body(index(start), list(carried)))
    bounds = [index(v) if isinstance(v, int) else v for v in (start, stop)]
    op = scf.ForOp(bounds[0], bounds[1], index(step), list(carried))
    with ir.InsertionPoint(op.body):
        scf.YieldOp(list(body(op.induction_variable, list(op.inner_iter_args))))
    return list(op.results)


class Lanes:
    """Vectors of `width` f32 lanes.

    `by_lane`: a multiply-add takes one lane of a register for all of an operand's (NEON), not one number of memory
    (x86); then what lies side by side in memory is best loaded at once. `dot`: the instruction for products of bytes.
    `gather`: whether one that loads each lane from an address of its own pays.
    """

    def __init__(self, width: int, by_lane: bool = False, dot: str = "", gather: bool = False) -> None:
        self.width = width
        self.by_lane = by_lane
        self.dot = dot
        self.gather = gather
        self.type = ir.VectorType.get([width], ir.F32Type.get())

    def constant(self, value: float) -> Value:
        """A vector of one number."""
        element = ir.FloatAttr.get(ir.F32Type.get(), value)
        return arith.constant(self.type, ir.DenseElementsAttr.get_splat(self.type, element))

    def load(self, source: Value, at: Sequence[Value]) -> Value:
        """`width` neighbouring elements of the last dimension."""
        return vector.load(self.type, source, list(at))

    def load_run(self, source: Value, at: Sequence[Value], last: Sequence[Value]) -> list[Value]:
        """Vectors at the places `last` of the last dimension, which follow each other without a gap.

        By lane, they are one load: from a single address, LLVM pairs them (`ldp`).
        """
        if not self.by_lane or len(last) == 1:
            return [self.load(source, [*at, place]) for place in last]
        run = ir.VectorType.get([self.width * len(last)], ir.F32Type.get())
        whole = vector.load(run, source, [*at, last[0]])
        starts = range(0, self.width * len(last), self.width)
        return [vector.extract_strided_slice(self.type, whole, [start], [self.width], [1]) for start in starts]

    def load_weights(self, source: Value, at: Sequence[Value], count: int | None = None) -> Value:
        """`count` (by default `width`) neighbouring weights, which may be stored as f16 or i8, in f32."""
        element = ir.MemRefType(source.type).element_type
        return self.as_f32(vector.load(ir.VectorType.get([count or self.width], element), source, list(at)))

    def as_f32(self, stored: Value) -> Value:
        """A vector of stored weights (f32, f16 or i8) as f32."""
        kind = ir.VectorType(stored.type)
        result = ir.VectorType.get(kind.shape, ir.F32Type.get())
        if kind.element_type == ir.F32Type.get():
            return stored
        if isinstance(kind.element_type, ir.F16Type):
            return arith.extf(result, stored)
        return arith.sitofp(result, arith.extsi(ir.VectorType.get(kind.shape, ir.IntegerType.get_signless(32)), stored))

    def spread(self, scalar: Value) -> Value:
        """A vector of one scalar."""
        return vector.broadcast(self.type, scalar)

    def spread_load(self, source: Value, at: Sequence[Value]) -> Value:
        """One element of memory in every lane."""
        return self.spread(memref.load(source, list(at)))

    def store(self, value: Value, target: Value, at: Sequence[Value]) -> None:
        """Writes `width` neighbouring elements of the last dimension."""
        vector.store(value, target, list(at))

    def activate(self, kind: str, x: Value) -> Value:
        """`kind(x)`, element-wise; the kinds of `sparsity.activation` and `none`."""
        if kind == "none":
            return x
        if kind not in _ACTIVATIONS:
            raise ValueError(f"no kernel for the activation '{kind}'")
        return _ACTIVATIONS[kind](x)


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that is not above `limit`."""
    return max(d for d in range(1, min(number, limit) + 1) if number % d == 0)
