"""64-bit Arm CPUs: one row a core.

Names and instruction sets are those of LLVM's AArch64 processors, as IREE's compiler has them. Caches are of a size
that phones commonly have with the core: L1 is the data cache of one core, L2 the private one of one core (half of the
shared one, where two cores share it); a wrong size costs speed and nothing else. Vectors are NEON's.
"""

import dataclasses

VECTOR_BYTES = 16
REGISTERS = 32

# What compiled code may use, as /proc/cpuinfo names it. Half-precision arithmetic is fphp (scalar) and asimdhp
# (vectors), dot products of bytes are asimddp, matrix products of bytes i8mm.
ARMV8_0 = ("asimd", "crc32", "fp")
ARMV8_2 = (*ARMV8_0, "asimddp", "asimdhp", "asimdrdm", "atomics", "fphp", "lrcpc")
ARMV9_0 = (*ARMV8_2, "asimdfhm", "bf16", "fcma", "flagm", "frint", "i8mm", "jscvt")
# The cores of Armv9.0 have SVE too, but many phones switch it off, where its instructions end the process, and LLVM
# uses them wherever it may (a product of 64-bit integers, for one): the compiler is told that there is none.
WITHOUT_SVE = "-sve"


@dataclasses.dataclass(frozen=True)
class CpuModel:
    """A core. `name`: LLVM's; `features`: names of /proc/cpuinfo; `qemu`: a CPU of QEMU that has them; sizes in KiB."""

    name: str
    l1_kib: int
    l2_kib: int
    features: tuple[str, ...]
    qemu: str
    summary: str

    @property
    def disabled(self) -> str:
        """What the compiler must not use although the core has it, in LLVM's words; empty where there is nothing."""
        return WITHOUT_SVE if set(ARMV9_0) <= set(self.features) else ""


_TABLE = (
    # name, L1 KiB, L2 KiB, instruction set, QEMU's model, where it is found
    ("generic", 32, 256, ("asimd", "fp"), "cortex-a53", "any 64-bit Arm CPU"),
    ("cortex-a53", 32, 256, ARMV8_0, "cortex-a53", "small cores, 2013-2017"),
    ("cortex-a55", 32, 128, ARMV8_2, "cortex-a76", "small cores, 2018-2022"),
    ("cortex-a510", 32, 128, ARMV9_0, "max", "small cores, 2022-2023"),
    ("cortex-a520", 32, 128, ARMV9_0, "max", "small cores, since 2024"),
    ("cortex-a72", 32, 512, ARMV8_0, "cortex-a72", "big cores, 2016; Raspberry Pi 4"),
    ("cortex-a73", 64, 512, ARMV8_0, "cortex-a72", "big cores, 2017"),
    ("cortex-a75", 64, 256, ARMV8_2, "cortex-a76", "big cores, 2018"),
    ("cortex-a76", 64, 256, ARMV8_2, "cortex-a76", "big cores, 2019; Raspberry Pi 5"),
    ("cortex-a77", 64, 256, ARMV8_2, "cortex-a76", "big cores, 2020"),
    ("cortex-a78", 64, 512, ARMV8_2, "cortex-a76", "big cores, 2021-2024"),
    ("cortex-a710", 64, 512, ARMV9_0, "max", "big cores, 2022"),
    ("cortex-a715", 64, 512, ARMV9_0, "max", "big cores, 2023"),
    ("cortex-a720", 64, 512, ARMV9_0, "max", "big cores, since 2024"),
    ("cortex-x1", 64, 1024, ARMV8_2, "cortex-a76", "prime core, 2021"),
    ("cortex-x2", 64, 1024, ARMV9_0, "max", "prime core, 2022"),
    ("cortex-x3", 64, 1024, ARMV9_0, "max", "prime core, 2023"),
    ("cortex-x4", 64, 2048, ARMV9_0, "max", "prime core, 2024"),
    ("neoverse-n1", 64, 1024, ARMV8_2, "neoverse-n1", "servers; the same core as cortex-a76"),
)

CPU_MODELS = {row[0]: CpuModel(*row) for row in _TABLE}

# Its instructions are those of every core from cortex-a55 on, and it is the core that QEMU emulates.
DEFAULT_CPU = "cortex-a76"
