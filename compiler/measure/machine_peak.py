"""What this machine can do at most, measured with kernels that go the way of a model's: MLIR, IREE, its profiler.

    peak_fma       multiply-adds on registers only: chains enough to hide their latency, no memory
    peak_bytes     products of bytes with the instruction that kernels use, likewise
    read_l2        reads a buffer of half the L2 cache over and over
    read_l3        reads one of four times the L2 cache over and over: from L3, or from memory where there is none
    read_memory    reads one of 64 MiB once: from the last-level cache or from memory, wherever 64 MiB stay

All are in one module, compiled once and kept in the compile cache. Each figure is the best of its runs, summed
over the threads. The best figures that were ever measured on this machine are kept in the cache as well: a machine that
others use at the moment does not show what it can do, least of all with threads.
"""

import contextlib
import dataclasses
import hashlib
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.compiler.build import cache as caching
from secateur.dialects.output_places import write_whole
from secateur.dialects.scratch import ScratchFolder

if TYPE_CHECKING:
    from secateur.runtime_targets.targets import Target

MEMORY_BYTES = 64 << 20
# Workgroups a thread gets: the last one to end is waited for.
_PIECES = 4
_RATES = ("gflops", "byte_gops", "l2_gb_s", "l3_gb_s", "memory_gb_s")
# What each kernel gets: floats of one, and bytes of one in every word.
_FILLED = ("=1.0", f"={0x01010101}", "=1.0", "=1.0", "=1.0")

# Products that a word of bytes takes part in.
_QUAD = 4


@dataclasses.dataclass(frozen=True)
class PeakSizes:
    """What the kernels are made for: numbers of 32 bits in a vector, workgroups, vectors of sums that one of them holds
    (`chains`), `steps` in which something is added to each, bytes of the buffers that are read, and how often those in
    caches are.
    """

    lanes: int
    groups: int
    chains: int
    l2_bytes: int
    l3_bytes: int
    memory_bytes: int
    steps: int = 1 << 15
    l2_passes: int = 16
    l3_passes: int = 2

    @property
    def inputs(self) -> list[str]:
        """Shapes and types of the arguments of `@main`, a kernel's each: `24x16xf32`.

        The last vector of `peak_bytes` holds weights, the others the sums to begin with.
        """
        return [
            f"{self.chains}x{self.lanes}xf32",
            f"{self.chains + 1}x{self.lanes}xi32",
            *(f"{size // 4}xf32" for size in (self.l2_bytes, self.l3_bytes, self.memory_bytes)),
        ]


@dataclasses.dataclass(frozen=True)
class MachinePeak:
    """Best figures of `threads` threads: GFLOP/s (a multiply-add is two), GOP/s on bytes (a product and its sum are
    two) by the instruction `dot` ("": by several), GB/s of reads, the buffers that were read.

    `now_gflops` is what this run reached, where `gflops` is from an earlier one.
    """

    threads: int
    gflops: float
    byte_gops: float
    dot: str
    l2_gb_s: float
    l3_gb_s: float
    memory_gb_s: float
    l2_bytes: int
    l3_bytes: int
    memory_bytes: int
    now_gflops: float

    def sentence(self) -> str:
        """What was measured, for a person."""
        when = "measured in this run"
        if self.now_gflops < 0.95 * self.gflops:
            when = f"the best measured on this machine so far ({self.now_gflops:.0f} GFLOP/s in this run)"
        dot = f", {self.dot}" if self.dot else ""
        return (
            f"Peak of {self.threads} thread(s), {when}: {self.gflops:.0f} GFLOP/s (multiply-adds on registers), "
            f"{self.byte_gops:.0f} GOP/s (products of bytes{dot}), "
            f"reading {self.l2_gb_s:.0f} GB/s from L2 ({self.l2_bytes >> 10} KiB over and over), "
            f"{self.l3_gb_s:.0f} behind it ({self.l3_bytes >> 10} KiB over and over), "
            f"{self.memory_gb_s:.1f} far away ({self.memory_bytes >> 20} MiB once)"
        )

    def best(self, other: "MachinePeak") -> "MachinePeak":
        """The better of two measurements, figure by figure."""
        return dataclasses.replace(
            self,
            **{name: max(getattr(self, name), getattr(other, name)) for name in (*_RATES, "now_gflops")},
        )

    def seconds_of_work(self, flops: int, byte_flops: int) -> float:
        """The least time for operations in floats and, after them, on bytes."""
        return (flops / self.gflops + byte_flops / self.byte_gops) / 1e9

    def seconds_of_reading(self, used_lately: int, others: int) -> float:
        """The least time for bytes: of those `used_lately` as many as a cache holds (twice what was read from it; each
        thread has an L2) come from L2, then from L3; the rest come from far away, as `others` do.
        """
        in_l2 = min(used_lately, 2 * self.l2_bytes * self.threads)
        in_l3 = min(used_lately - in_l2, 2 * self.l3_bytes)
        far = used_lately - in_l2 - in_l3 + others
        return (in_l2 / self.l2_gb_s + in_l3 / self.l3_gb_s + far / self.memory_gb_s) / 1e9


def measure_peak(threads: int = 1, runs: int = 30) -> MachinePeak:
    """Measures this machine; figures that it exceeded before are those of then.

    Raises `BundleError` where a tool of IREE fails.
    """
    from secateur.runtime_targets.profile import profile_module
    from secateur.runtime_targets.targets import get_target

    target = get_target("host-cpu", workers=threads)
    sizes = _sizes(target, threads)
    with ScratchFolder("peak") as scratch:
        module = Path(scratch) / "peak.vmfb"
        module.write_bytes(_compiled(target, sizes))
        inputs = [given + value for given, value in zip(sizes.inputs, _FILLED, strict=True)]
        found = profile_module(module, (), inputs, threads, runs)
    best = {call.kernel: call.min_ms / 1e3 for call in found.calls}
    added = sizes.groups * sizes.steps * sizes.chains * sizes.lanes / 1e9
    gflops = 2 * added / best["peak_fma"]
    measured = MachinePeak(
        threads=threads,
        gflops=gflops,
        byte_gops=2 * _QUAD * added / best["peak_bytes"],
        dot=_dot(target),
        l2_gb_s=sizes.groups * sizes.l2_passes * sizes.l2_bytes / best["read_l2"] / 1e9,
        l3_gb_s=sizes.groups * sizes.l3_passes * sizes.l3_bytes / best["read_l3"] / 1e9,
        memory_gb_s=MEMORY_BYTES / best["read_memory"] / 1e9,
        l2_bytes=sizes.l2_bytes,
        l3_bytes=sizes.l3_bytes,
        memory_bytes=MEMORY_BYTES,
        now_gflops=gflops,
    )
    return _with_earlier(measured, list(target.cpu_features))


def _with_earlier(measured: MachinePeak, features: list[str]) -> MachinePeak:
    """The better of `measured` and what the cache remembers, which is remembered in turn."""
    folder = caching.cache_folder()
    if folder is None:
        return measured
    sizes = [measured.threads, measured.l2_bytes, measured.l3_bytes, measured.memory_bytes]
    key = hashlib.sha256(json.dumps([platform.node(), platform.machine(), features, sizes]).encode()).hexdigest()
    file = folder / f"machine-peak-{key[:32]}.json"
    # A file that cannot be read or written is no reason to stop: the cache only remembers.
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        earlier = json.loads(file.read_text())
        measured = measured.best(dataclasses.replace(measured, **{name: float(earlier[name]) for name in _RATES}))
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps({name: getattr(measured, name) for name in _RATES}).encode())
    return measured


def _sizes(target: "Target", threads: int) -> PeakSizes:
    about = target.description
    lanes = about["vector_bytes"] // 4
    block = lanes * 4 * 8
    l2_bytes = about["l2_bytes"] // 2 // block * block
    return PeakSizes(
        lanes=lanes,
        groups=_PIECES * threads,
        chains=min(24, about["registers"] - 4),
        l2_bytes=l2_bytes,
        l3_bytes=8 * l2_bytes,
        memory_bytes=MEMORY_BYTES,
    )


def _dot(target: "Target") -> str:
    return str(target.description.get("dot", ""))


def _compiled(target: "Target", sizes: PeakSizes) -> bytes:
    folder = caching.cache_folder()
    if folder is None:
        return _compile(target, sizes)
    cache = caching.Cache(folder)
    flags, features = list(target.iree_flags), list(target.cpu_features)
    key = caching.cache_key(peak=dataclasses.asdict(sizes), dot=_dot(target), flags=flags, features=features)
    entry = cache.find(key)
    if entry is None:
        # A cache that cannot be written only remembers nothing.
        with contextlib.suppress(OSError), cache.write(key) as new:
            (new / "peak.vmfb").write_bytes(_compile(target, sizes))
        entry = cache.find(key)
    return (entry / "peak.vmfb").read_bytes() if entry is not None else _compile(target, sizes)


def _compile(target: "Target", sizes: PeakSizes) -> bytes:
    from secateur.compiler.pipeline.context import make_context
    from secateur.runtime_targets import iree

    from .peak_kernels import peak_module

    with make_context():
        return iree.compile_assembly(iree.assemble(peak_module(sizes, _dot(target)), {}), target)
