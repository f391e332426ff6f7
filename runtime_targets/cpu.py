"""What the CPU of this machine can do: instruction sets, registers, caches, cores."""

import dataclasses
import functools
import os
import platform
import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_GATHER_DATA_SAMPLING = Path("/sys/devices/system/cpu/vulnerabilities/gather_data_sampling")

# Instruction sets that compiled code may use. /proc/cpuinfo lists many more flags that say nothing about code.
_X86 = """
    sse sse2 pni ssse3 sse4_1 sse4_2 popcnt cx16 movbe avx f16c fma avx2 bmi1 bmi2 abm aes pclmulqdq
    sha_ni adx gfni vaes vpclmulqdq avx_vnni avx_ifma avx_vnni_int8 avx512f avx512bw avx512cd avx512dq
    avx512vl avx512ifma avx512vbmi avx512_vbmi2 avx512_vnni avx512_bitalg avx512_vpopcntdq avx512_bf16
    avx512_fp16 avx512_vp2intersect amx_tile amx_int8 amx_bf16 amx_fp16
"""
_ARM = """
    fp asimd aes pmull sha1 sha2 sha3 sha512 crc32 atomics fphp asimdhp asimdrdm jscvt fcma lrcpc dcpop
    asimddp asimdfhm sve sve2 svei8mm svebf16 i8mm bf16 flagm frint sme sme2
"""


@dataclasses.dataclass(frozen=True)
class HostCpu:
    """Sizes in bytes; `registers` counts vector registers; `features` are names of /proc/cpuinfo, sorted.

    `gather`: whether loading each lane of a vector from an address of its own, by the instruction for that, pays.
    """

    vector_bytes: int
    registers: int
    gather: bool
    l1_bytes: int
    l2_bytes: int
    workers: int
    features: tuple[str, ...]


@functools.cache
def cpu_features() -> frozenset[str]:
    """The instruction sets of this machine that compiled code may use; empty where the system does not list them."""
    try:
        text = _CPUINFO.read_text()
    except OSError:
        return frozenset()
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    known = {*_X86.split(), *_ARM.split()}
    return frozenset(f for f in (line.group(1).split() if line else ()) if f in known)


def _gather_pays(features: frozenset[str]) -> bool:
    """Known of vendors, not measured: the same machine always gets the same code.

    Intel's cores with AVX-512 or AVX-VNNI gather faster than they load and insert lane by lane, as long as the
    microcode does not guard them against gather data sampling (Intel, INTEL-SA-00828), which makes gathers slow. AMD's
    take more cycles for a gather than it has lanes: lanes one by one took 0.7 of its time on Zen 4.
    """
    try:
        intel = re.search(r"^vendor_id\s*:\s*GenuineIntel$", _CPUINFO.read_text(), re.MULTILINE) is not None
    except OSError:
        return False
    try:
        guarded = _GATHER_DATA_SAMPLING.read_text().startswith("Mitigation: Microcode")
    except OSError:
        guarded = False
    return intel and not guarded and not features.isdisjoint(("avx512f", "avx_vnni"))


def _cache_bytes(level: int, default: int) -> int:
    for folder in sorted(_CACHES.glob("index*")):
        try:
            if int((folder / "level").read_text()) != level or (folder / "type").read_text().strip() == "Instruction":
                continue
            size = re.fullmatch(r"(\d+)([KM]?)", (folder / "size").read_text().strip())
        except (OSError, ValueError):
            continue
        if size:
            return int(size.group(1)) * {"": 1, "K": 1 << 10, "M": 1 << 20}[size.group(2)]
    return default


def _workers() -> int:
    # A container or `taskset` may leave the process fewer CPUs than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def host_cpu() -> HostCpu:
    """This machine's CPU. Where a figure cannot be read, the smallest common one is given."""
    features = cpu_features()
    if "avx512f" in features:
        vector_bytes, registers = 64, 32
    elif "avx2" in features:
        vector_bytes, registers = 32, 16
    else:
        vector_bytes, registers = 16, 16 if platform.machine() in ("x86_64", "AMD64") else 32
    return HostCpu(
        vector_bytes=vector_bytes,
        registers=registers,
        gather=_gather_pays(features),
        l1_bytes=_cache_bytes(1, 32 << 10),
        l2_bytes=_cache_bytes(2, 512 << 10),
        workers=_workers(),
        features=tuple(sorted(features)),
    )
