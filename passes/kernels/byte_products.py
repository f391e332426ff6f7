"""Sums of products of bytes, four at a time, with the instruction that the target has for them.

A lane of the sums is a token. `x` has four neighbouring features of each token side by side, and a weight is four bytes
that all lanes share:

    vpdpbusd   sum += 4 products of an unsigned and a signed byte                      (AVX-512 VNNI, AVX-VNNI)
    sdot       sum += 4 products of signed bytes                                       (Arm, dotprod)
    smmla      a matrix of 2 rows and 2 tokens += 8 products of signed bytes each      (Arm, i8mm; `byte_matrices.py`)
    vpmaddwd   bytes 0, 2 and 1, 3 as 16 bits; sum += 2 products, twice                (x86 without VNNI)
    saddlp     p = products of bytes 0, 2 and 1, 3, added in 16 bits; sum += 2 of p    (Arm without dotprod)
    (none)     as saddlp, in shifts

Sums are exact in all of them: with bytes of -127 .. 127 two products fit 16 bits (32,258), so nothing saturates.
`vpmaddubsw`, which x86 without VNNI has for bytes, would: it sums products of an unsigned byte.
"""

from collections.abc import Iterator

from torch_mlir import ir
from torch_mlir.dialects import arith, llvm, vector

from secateur.dialects.sparsity import byte_rows

from .build import Lanes, Value, add

_VPDPBUSD = {lanes: f"llvm.x86.avx512.vpdpbusd.{32 * lanes}" for lanes in (4, 8, 16)}
_VPMADDWD = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
_SDOT = "llvm.aarch64.neon.sdot.v4i32.v16i8"
_SADDLP = "llvm.aarch64.neon.saddlp.v4i32.v8i16"


def integers(bits: int, count: int) -> ir.VectorType:
    """The type of vectors of `count` integers."""
    return ir.VectorType.get([count], ir.IntegerType.get_signless(bits))


class ByteProducts:
    """Vectors of 32-bit sums for `lanes`, and products of bytes that are added to them.

    The instruction is that of `lanes`; one for vectors of another length is not used.
    """

    def __init__(self, lanes: Lanes) -> None:
        self.lanes, width, dot = lanes, lanes.width, lanes.dot
        # What has `smmla` has `sdot`.
        dot = "sdot" if dot == "smmla" else dot
        known = {"vpdpbusd": _VPDPBUSD, "vpmaddwd": _VPMADDWD, "sdot": {4: _SDOT}, "saddlp": {4: _SADDLP}}
        self._instruction = known.get(dot, {}).get(width, "")
        self._dot = dot if self._instruction else ""
        self.sums = integers(32, width)
        self._bytes, self._halves = integers(8, 4 * width), integers(16, 2 * width)

    @property
    def unsigned(self) -> bool:
        """Whether activations are unsigned bytes."""
        return self._dot == "vpdpbusd"

    def load(self, source: Value, at: list[Value], token: Value) -> list[Value]:
        """The bytes of `lanes.width` tokens from `token` on, as `multiply` takes them.

        `source`: [.., 4 * tokens], flat in its last dimension; `at`: the indices of the others.
        """
        four = arith.constant(ir.IndexType.get(), 4)
        return self.parts(vector.load(self._bytes, source, [*at, arith.muli(token, four)]))

    def load_bytes(self, source: Value, at: list[Value], count: int) -> Value:
        """`count` bytes from the place `at` on."""
        return vector.load(integers(8, count), source, at)

    def quads(self, rows: list[Value]) -> list[list[Value]]:
        """Four rows of bytes (`byte_rows`) as vectors of quads, in the order of tokens, each as `multiply` takes it."""
        count = rows[0].type.shape[0]

        def unpacked(a: Value, b: Value, unit: int) -> list[Value]:
            return [vector.shuffle(a, b, places) for places in byte_rows.unpacked(count, unit)]

        pairs = [unpacked(rows[i], rows[i + 1], 1) for i in (0, 2)]
        parts = [quad for low, high in zip(*pairs, strict=True) for quad in unpacked(low, high, 2)]
        # Vectors of sums may be longer than what was loaded.
        while parts[0].type.shape[0] < 4 * self.lanes.width:
            size = parts[0].type.shape[0]
            parts = [vector.shuffle(a, b, list(range(2 * size))) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return [self.parts(part) for part in parts]

    def weights(self, source: Value, at: list[Value], count: int) -> Iterator[list[Value]]:
        """`count` weights of four bytes from `source[at]` on, each in all lanes, as `multiply` takes them.

        On Arm neighbours are loaded as whole vectors, and an instruction takes one of its lanes.
        """
        *outer, first = at
        done = 0
        while done < count:
            size = min(4, 1 << ((count - done).bit_length() - 1)) if self.lanes.by_lane else 1
            loaded = vector.load(integers(8, 4 * size), source, [*outer, add(first, 4 * done)])
            words = vector.bitcast(integers(32, size), loaded)
            for n in range(size):
                word = vector.broadcast(self.sums, vector.extract(words, [], [n]))
                yield self.parts(vector.bitcast(self._bytes, word))
            done += size

    def multiply(self, total: Value, x: list[Value], weight: list[Value]) -> Value:
        """`total` and the sum of four products, in each lane."""
        if self._dot in ("vpdpbusd", "sdot"):
            return self._call(self.sums, total, x[0], weight[0])
        if self._dot == "vpmaddwd":
            for a, b in zip(x, weight, strict=True):
                total = arith.addi(total, self._call(self.sums, a, b))
            return total
        products = arith.addi(*(arith.muli(a, b) for a, b in zip(x, weight, strict=True)))
        if self._dot == "saddlp":
            return arith.addi(total, self._call(self.sums, products))
        words = vector.bitcast(self.sums, products)
        high = arith.shrsi(words, self._constant(self.sums, 16))
        low = arith.shrsi(arith.shli(words, self._constant(self.sums, 16)), self._constant(self.sums, 16))
        return arith.addi(total, arith.addi(low, high))

    def parts(self, quads: Value) -> list[Value]:
        """Quads of bytes as `multiply` takes them: as they are, or bytes 0, 2 and bytes 1, 3 as 16 bits."""
        if self._dot in ("vpdpbusd", "sdot"):
            return [quads]
        halves, eight = vector.bitcast(self._halves, quads), self._constant(self._halves, 8)
        return [arith.shrsi(arith.shli(halves, eight), eight), arith.shrsi(halves, eight)]

    def _constant(self, kind: ir.VectorType, value: int) -> Value:
        element = ir.IntegerAttr.get(kind.element_type, value)
        return arith.constant(kind, ir.DenseElementsAttr.get_splat(kind, element))

    def _call(self, result: ir.Type, *operands: Value) -> Value:
        return llvm.call_intrinsic(result, self._instruction, list(operands), [], [])
