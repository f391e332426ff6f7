"""What an instruction does, from its encoding. The words are those of LLVM's assembler."""

import pytest

from secateur.runtime_targets.devices.counting.count import Block, Counts
from secateur.runtime_targets.devices.counting.instructions import Effect, effect_of

LOADS = {
    "ldr q0, [x0, x1, lsl #4]": (0x3CE17800, 16),
    "ldr w0, [x1], #4": (0xB8404420, 4),
    "ldrb w0, [x1]": (0x39400020, 1),
    "ldrsh x0, [x1]": (0x79800020, 2),
    "ldrsw x0, [x1]": (0xB9800020, 4),
    "ldr q0, .+16": (0x9C000080, 16),
    "ldur q0, [x0, #-3]": (0x3CDFD000, 16),
    "ldp q0, q1, [x0], #32": (0xACC10400, 32),
    "ldp w0, w1, [x2]": (0x29400440, 8),
    "ldpsw x0, x1, [x2]": (0x69400440, 8),
    "ldp d0, d1, [x2]": (0x6D400440, 16),
    "ld1r { v0.4s }, [x0]": (0x4D40C800, 4),
    "ld1 { v0.s }[1], [x0]": (0x0D409000, 4),
    "ld1 { v0.4s, v1.4s }, [x0], #32": (0x4CDFA800, 32),
    "ld4 { v0.16b - v3.16b }, [x0]": (0x4C400000, 64),
    "ld2r { v0.8h, v1.8h }, [x0]": (0x4D60C400, 4),
    "ldar x0, [x1]": (0xC8DFFC20, 8),
    "ldapr x0, [x1]": (0xF8BFC020, 8),
    "ldraa x0, [x1]": (0xF8200420, 8),
}
STORES = {
    "str q0, [x1, x2]": (0x3CA26820, 16),
    "strb w0, [x1]": (0x39000020, 1),
    "stp q0, q1, [x0]": (0xAD000400, 32),
    "st1 { v0.4s }, [x0]": (0x4C007800, 16),
    "stlr x0, [x1]": (0xC89FFC20, 8),
}
PRODUCTS = {
    "fmla v0.4s, v1.4s, v2.s[0]": (0x4F821020, 4),
    "fmla v0.2s, v1.2s, v2.2s": (0x0E22CC20, 2),
    "fmls v0.4s, v1.4s, v2.4s": (0x4EA2CC20, 4),
    "fmla v0.2d, v1.2d, v2.d[1]": (0x4FC21820, 2),
    "fmla v0.8h, v1.8h, v2.h[3]": (0x4F321020, 8),
    "fmla v0.8h, v1.8h, v2.8h": (0x4E420C20, 8),
    "fmla s0, s1, v2.s[3]": (0x5FA21820, 1),
    "fmadd s0, s1, s2, s3": (0x1F020C20, 1),
    "fnmsub d0, d1, d2, d3": (0x1F628C20, 1),
    "fmlal v0.4s, v1.4h, v2.4h": (0x4E22EC20, 4),
    "fmlal2 v0.4s, v1.4h, v2.h[2]": (0x6FA28020, 4),
    "sdot v0.4s, v1.16b, v2.4b[1]": (0x4FA2E020, 16),
    "udot v0.4s, v1.16b, v2.16b": (0x6E829420, 16),
    "usdot v0.4s, v1.16b, v2.16b": (0x4E829C20, 16),
    "smmla v0.4s, v1.16b, v2.16b": (0x4E82A420, 32),
    "bfmmla v0.4s, v1.8h, v2.8h": (0x6E42EC20, 16),
    "bfdot v0.4s, v1.8h, v2.8h": (0x6E42FC20, 8),
    "mla v0.4s, v1.4s, v2.s[1]": (0x6FA20020, 4),
}
NEITHER = {
    "fmul v0.4s, v1.4s, v2.s[0]": 0x4F829020,
    "fmul v0.8h, v1.8h, v2.8h": 0x6E421C20,
    "fadd v0.4s, v1.4s, v2.4s": 0x4E22D420,
    "mul v0.4s, v1.4s, v2.4s": 0x4EA29C20,
    "smull v0.4s, v1.4h, v2.h[1]": 0x0F52A020,
    "movi v0.4s, #1": 0x4F000420,
    "dup v0.4s, v1.s[2]": 0x4E140420,
    "zip1 v0.4s, v1.4s, v2.4s": 0x4E823820,
    "prfm pldl1keep, [x0, #24]": 0xF9800C00,
    "prfm pldl1keep, [x0, x1]": 0xF8A16800,
    "prfum pldl1keep, [x0, #-1]": 0xF89FF000,
    "add x0, x1, x2": 0x8B020020,
}


@pytest.mark.parametrize("text", LOADS)
def test_loads(text):
    word, size = LOADS[text]
    assert effect_of(word) == Effect(loaded_bytes=size)


@pytest.mark.parametrize("text", STORES)
def test_stores(text):
    word, size = STORES[text]
    assert effect_of(word) == Effect(stored_bytes=size)


@pytest.mark.parametrize("text", PRODUCTS)
def test_multiply_adds(text):
    word, products = PRODUCTS[text]
    assert effect_of(word) == Effect(products=products)


@pytest.mark.parametrize("text", NEITHER)
def test_what_is_neither(text):
    assert effect_of(NEITHER[text]) == Effect()


def test_what_changes_memory_at_once_loads_and_stores():
    for word in (0xF8200041, 0xF8208041, 0xC8A07C41):  # ldadd, swp, cas
        assert effect_of(word) == Effect(loaded_bytes=8, stored_bytes=8)


def test_a_block_counts_its_instructions():
    code = "".join(f"{word:08x}" for word in (0xACC10400, 0x4F821020, 0x4F821020, 0xAD000400, 0x8B020020))
    expected = Counts(5, loads=1, stores=1, fmas=2, products=8, loaded_bytes=32, stored_bytes=32)
    assert Block("", code).counts == expected
    assert Block("", code).counts * 3 + Counts(1) == Counts(16, 3, 3, 6, 24, 96, 96)
