"""Bytes that a GPU's kernel reads and writes four at a time, as words of 32 bits.

A GPU need not have numbers of 8 bits: the Android baseline profile has none, and of an Adreno IREE's compiler knows
none in memory. The first byte of a word is its low one. A signed byte becomes a number of 32 bits by two shifts, to the
top and down again:

    word = d c b a,  place 1:   shift left by 16 -> b a 0 0,   shift right by 24, with the sign -> b
"""

import math

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, vector

from .build import Value, index
from .byte_products import integers
from .rounding import splat

WORD_BYTES = 4
_BITS, _TOP = 8, 24


def words(panels: Value) -> Value:
    """A memref of bytes as words: [batch, panels, words of a panel], or [words] of one dimension, of any length."""
    kind, element = ir.MemRefType(panels.type), ir.IntegerType.get_signless(32)
    if kind.rank == 1:
        dynamic = ir.ShapedType.get_dynamic_size()
        size = arith.divui(memref.dim(panels, index(0)), index(WORD_BYTES))
        return memref.view(ir.MemRefType.get([dynamic], element), panels, index(0), [size])
    flat = ir.MemRefType.get([math.prod(kind.shape)], kind.element_type)
    whole = memref.collapse_shape(flat, panels, [list(range(kind.rank))])
    shape = [*kind.shape[:2], math.prod(kind.shape[2:]) // WORD_BYTES]
    return memref.view(ir.MemRefType.get(shape, element), whole, index(0), [])


def word(value: int) -> Value:
    """A constant of 32 bits."""
    return arith.constant(ir.IntegerType.get_signless(32), value)


def elements(of: Value) -> list[Value]:
    """The elements of a vector, each by itself."""
    return [vector.extract(of, [], [n]) for n in range(of.type.shape[0])]


def signed_bytes(source: Value, at: Value) -> Value:
    """The four bytes of a word from the byte `at` of `source` on, a multiple of four, as numbers of 32 bits."""
    kind = integers(32, WORD_BYTES)
    both = vector.broadcast(kind, memref.load(source, [arith.divui(at, index(WORD_BYTES))]))
    number = kind.element_type
    shifts = [ir.IntegerAttr.get(number, _TOP - _BITS * place) for place in range(WORD_BYTES)]
    at_the_top = arith.shli(both, arith.constant(kind, ir.DenseElementsAttr.get(shifts, kind)))
    return arith.shrsi(at_the_top, splat(kind, _TOP))


def signed_byte(source: Value, at: Value) -> Value:
    """The byte `at` of `source`, a memref of words, as a number of 32 bits."""
    loaded = memref.load(source, [arith.divui(at, index(WORD_BYTES))])
    place = arith.index_cast(loaded.type, arith.remui(at, index(WORD_BYTES)))
    shift = arith.subi(word(_TOP), arith.muli(place, word(_BITS)))
    return arith.shrsi(arith.shli(loaded, shift), word(_TOP))
