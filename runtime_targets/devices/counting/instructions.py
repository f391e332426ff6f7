"""What an A64 instruction does, from its 32 bits: loads, stores, multiply-adds.

Encodings are those of the Arm Architecture Reference Manual for A-profile, section C4.1 (loads and stores) and C7.2
(multiply-adds of the Advanced SIMD and floating-point instructions). SVE is not known: its instructions count as
instructions, and as nothing else.
"""

import dataclasses
import functools
from collections.abc import Callable

# Registers of `LD1 {...}` and its kin by bits 15-12.
_STRUCTURE_REGISTERS = {0: 4, 2: 4, 4: 3, 6: 3, 7: 1, 8: 2, 10: 2}


@dataclasses.dataclass(frozen=True)
class Effect:
    """What one instruction does: bytes that it loads and stores (None: it does not; a pair is one load), and the
    products that it adds up (0: it is no multiply-add).
    """

    loaded_bytes: int | None = None
    stored_bytes: int | None = None
    products: int = 0


@functools.cache
def effect_of(word: int) -> Effect:
    """What the instruction with the encoding `word` does."""
    if word >> 25 & 0b0101 == 0b0100:
        return _memory(word)
    for mask, value, products in _MULTIPLY_ADDS:
        if word & mask == value:
            return Effect(products=products(16 if word >> 30 & 1 else 8, word))
    return Effect()


def _memory(word: int) -> Effect:
    vector, size, opc = word >> 26 & 1, word >> 30, word >> 22 & 3
    kind = word >> 27 & 0b111
    if kind == 0b101:
        return _access(opc & 1, 2 * ((4 << size) if vector else (8 if size == 2 else 4)))
    if kind == 0b001:
        if vector:
            return _structures(word)
        # With bits 23 and 21 both set it is CAS, which loads and stores.
        return Effect(1 << size, 1 << size) if opc & 2 and word >> 21 & 1 else _access(opc & 1, 1 << size)
    if kind == 0b011 and not word >> 24 & 1:
        if size == 3 and not vector:
            # PRFM (literal).
            return Effect()
        return _access(1, 4 << size if vector else 8 if size == 1 else 4)
    if vector:
        return _access(opc & 1, 16 if opc & 2 else 1 << size)
    if not word >> 24 & 1 and word >> 21 & 1 and not word >> 10 & 3:
        # Atomic operations on memory: LDADD, SWP and their kin; LDAPR among them only loads.
        return Effect(1 << size, None if word >> 12 & 15 == 0b1100 else 1 << size)
    if not word >> 24 & 1 and word >> 21 & 1 and word >> 10 & 1:
        # LDRAA and LDRAB.
        return _access(1, 8)
    if size == 3 and opc == 2:
        # PRFM and PRFUM.
        return Effect()
    return _access(opc != 0, 1 << size)


def _structures(word: int) -> Effect:
    """LD1 to LD4, ST1 to ST4, of whole registers, of one lane, or of one element for all lanes."""
    load, opcode, size = word >> 22 & 1, word >> 12 & 15, word >> 10 & 3
    if not word >> 24 & 1:
        return _access(load, _STRUCTURE_REGISTERS.get(opcode, 1) * (16 if word >> 30 & 1 else 8))
    registers = 1 + (word >> 21 & 1) + 2 * (opcode >> 1 & 1)
    element = (1, 2, 8 if size & 1 else 4, 1 << size)[opcode >> 2]
    return _access(load, registers * element)


def _access(load: int | bool, size: int) -> Effect:
    return Effect(loaded_bytes=size) if load else Effect(stored_bytes=size)


def _floats(register: int, word: int) -> int:
    return register // (8 if word >> 22 & 1 else 4)


_MULTIPLY_ADDS: tuple[tuple[int, int, Callable[[int, int], int]], ...] = (
    # (mask, value, products of a register of 8 or 16 bytes)
    (0xFF000000, 0x1F000000, lambda register, word: 1),  # FMADD, FMSUB, FNMADD, FNMSUB
    (0xBF20FC00, 0x0E20CC00, _floats),  # FMLA, FMLS (vector), f32 and f64
    (0xBF80B400, 0x0F801000, _floats),  # FMLA, FMLS (by element), f32 and f64
    (0xBF60FC00, 0x0E400C00, lambda register, word: register // 2),  # FMLA, FMLS (vector), f16
    (0xBFC0B400, 0x0F001000, lambda register, word: register // 2),  # FMLA, FMLS (by element), f16
    (0xFF80B400, 0x5F801000, lambda register, word: 1),  # FMLA, FMLS (scalar, by element), f32 and f64
    (0xFFC0B400, 0x5F001000, lambda register, word: 1),  # FMLA, FMLS (scalar, by element), f16
    (0xBF60FC00, 0x0E20EC00, lambda register, word: register // 4),  # FMLAL, FMLSL (vector)
    (0xBF60FC00, 0x2E20CC00, lambda register, word: register // 4),  # FMLAL2, FMLSL2 (vector)
    (0xBFC0B400, 0x0F800000, lambda register, word: register // 4),  # FMLAL, FMLSL (by element)
    (0xBFC0B400, 0x2F808000, lambda register, word: register // 4),  # FMLAL2, FMLSL2 (by element)
    (0x9FE0FC00, 0x0E809400, lambda register, word: register),  # SDOT, UDOT (vector)
    (0x9FC0F400, 0x0F80E000, lambda register, word: register),  # SDOT, UDOT (by element)
    (0xBFE0FC00, 0x0E809C00, lambda register, word: register),  # USDOT (vector)
    (0xBF40F400, 0x0F00F000, lambda register, word: register),  # SUDOT, USDOT (by element)
    (0xDFE0FC00, 0x4E80A400, lambda register, word: 32),  # SMMLA, UMMLA
    (0xFFE0FC00, 0x4E80AC00, lambda register, word: 32),  # USMMLA
    (0xFFE0FC00, 0x6E40EC00, lambda register, word: 16),  # BFMMLA
    (0xBFE0FC00, 0x2E40FC00, lambda register, word: register // 2),  # BFDOT (vector)
    (0xBFC0F400, 0x0F40F000, lambda register, word: register // 2),  # BFDOT (by element)
    (0xBFE0FC00, 0x2EC0FC00, lambda register, word: 4),  # BFMLALB, BFMLALT (vector)
    (0xBFC0F400, 0x0FC0F000, lambda register, word: 4),  # BFMLALB, BFMLALT (by element)
    (0x9F20FC00, 0x0E209400, lambda register, word: register >> (word >> 22 & 3)),  # MLA, MLS (vector), integers
    (0xBF00B400, 0x2F000000, lambda register, word: register >> (word >> 22 & 3)),  # MLA, MLS (by element), integers
)
