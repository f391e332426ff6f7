"""Products of bytes on a GPU: `OpSDot` of SPIR-V multiplies four signed bytes with four and sums them in 32 bits.

Bytes lie in memory as words (`gpu_words.py`). A word holds four features of a token (groups), or four tokens of a
feature (rows). A thread multiplies four features of four tokens with the four weights of a row: sixteen products and
their sums in four instructions. Where it reads rows, it first makes fours of features of them, by exchanging bytes
between words:

    a0 a1 a2 a3     s = 8      a0 b0 a2 b2     s = 16     a0 b0 c0 d0
    b0 b1 b2 b3    ------->    a1 b1 a3 b3    ------->    a1 b1 c1 d1
    c0 c1 c2 c3                c0 d0 c2 d2                a2 b2 c2 d2
    d0 d1 d2 d3                c1 d1 c3 d3                a3 b3 c3 d3

in 24 operations on words, once for all rows of a tile.
Source of the exchange: Warren, "Hacker's Delight", section 7-3.
"""

from collections.abc import Iterator

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, vector

from secateur.dialects.sparsity.byte_rows import LANES
from secateur.dialects.sparsity.ops.quantize_tokens import lanes_of
from secateur.dialects.sparsity.ops.quantized_linear import QUAD, group_of, run_of

from ..target import TOKENS_OF_A_THREAD
from .build import Lanes, Value, add, index, load_index, loop, mul
from .byte_products import integers
from .gpu_columns import Column
from .gpu_words import WORD_BYTES, elements, word, words
from .rounding import splat

_DOT_PRODUCT = "spirv.SDot"
_FORMAT = "#spirv.packed_vector_format<PackedVectorFormat4x8Bit>"


def multiplies_bytes(op: ir.OpView) -> bool:
    """Whether a GPU's kernel reads the bytes of a `quantized_linear` as they lie: signed, in fours of features or in
    rows, the four weights of a row side by side."""
    return not op.zero_point.value and run_of(op) == QUAD and group_of(op) in (1, QUAD) and lanes_of(op) == LANES[0]


def _exchanged(a: Value, b: Value, shift: int, mask: int) -> tuple[Value, Value]:
    """`a` and `b` with what `mask` shifted by `shift` selects of `a` and what `mask` selects of `b` exchanged."""
    changed = arith.andi(arith.xori(arith.shrui(a, word(shift)), b), word(mask))
    return arith.xori(a, arith.shli(changed, word(shift))), arith.xori(b, changed)


def quads(rows: list[Value]) -> list[Value]:
    """Four features of each of four tokens, from four words that hold a feature of four tokens each."""
    a, b, c, d = rows
    (a, b), (c, d) = (_exchanged(*pair, 8, 0x00FF00FF) for pair in ((a, b), (c, d)))
    (a, c), (b, d) = (_exchanged(*pair, 16, 0x0000FFFF) for pair in ((a, c), (b, d)))
    return [a, b, c, d]


class ByteColumns:
    """How a thread adds products of bytes to the sums of its rows; `gpu_columns.FloatColumns` says what for."""

    def __init__(self, op: ir.OpView, a: dict[str, Value], panel: list[Value], runs: list[Value], full: bool) -> None:
        self._a, self._panel, self._runs, self._full = a, panel, runs, full
        self._x, self._values = words(a["x"]), words(a["values"])
        self._lanes, self._grouped = Lanes(TOKENS_OF_A_THREAD), group_of(op) == QUAD
        self.entries = 1 if self._grouped else QUAD
        self._sums = integers(32, TOKENS_OF_A_THREAD)

    def zero(self) -> Value:
        return splat(self._sums, 0)

    def plus(self, a: Value, b: Value) -> Value:
        return arith.addi(a, b)

    def first_weight(self, offset: Value) -> Value:
        return arith.divui(offset, index(WORD_BYTES))

    def add(self, entry: Value, weight: Value, totals: list[Value]) -> list[Value]:
        parts = self._groups(entry) if self._grouped else self._rows(entry)
        new = []
        for n, w in enumerate(self._weights(weight, len(totals) // len(parts))):
            for tokens, total in zip(parts, totals[n * len(parts) :], strict=False):
                sums = [_dot_product(token, w) for token in tokens]
                new.append(arith.addi(total, vector.from_elements(self._sums, sums)))
        return new

    def in_f32(self, total: Value, run: Value) -> Value:
        scales = self._lanes.load(self._a["token_scales"], [*self._panel, mul(run, TOKENS_OF_A_THREAD)])
        return arith.mulf(arith.sitofp(self._lanes.type, total), scales)

    def walk(self, first: Value, stop: Value, step: int, carried: list[Value], column: Column) -> list[Value]:
        return loop(first, stop, step, carried, column)

    def _groups(self, entry: Value) -> list[list[Value]]:
        """Four features of the tokens of every run: a load of four words."""
        place = arith.divui(load_index(self._a["columns"], entry), index(TOKENS_OF_A_THREAD * WORD_BYTES))
        loaded = [vector.load(self._sums, self._x, [*self._panel, mul(arith.addi(place, run), TOKENS_OF_A_THREAD)])
                  for run in self._runs]  # fmt: skip
        return [elements(tokens) for tokens in loaded]

    def _rows(self, entry: Value) -> list[list[Value]]:
        """The same of four rows: a word of each."""
        places = vector.load(self._sums, self._a["columns"], [entry])
        of_words = arith.shrui(places, splat(self._sums, 2))
        starts = [arith.index_cast(ir.IndexType.get(), place) for place in elements(of_words)]
        return [quads([memref.load(self._x, [*self._panel, arith.addi(start, run)]) for start in starts])
                for run in self._runs]  # fmt: skip

    def _weights(self, first: Value, count: int) -> Iterator[Value]:
        if not self._full:
            yield from (memref.load(self._values, [add(first, n)]) for n in range(count))
            return
        for n in range(0, count, TOKENS_OF_A_THREAD):
            yield from elements(vector.load(self._sums, self._values, [add(first, n)]))


def _dot_product(x: Value, weight: Value) -> Value:
    attributes = {"format": ir.Attribute.parse(_FORMAT)}
    return ir.Operation.create(_DOT_PRODUCT, [x.type], [x, weight], attributes).result
