"""What this machine can do at most, measured with kernels that go the way of a model's: MLIR, IREE, its profiler.

    peak_fma       multiply-adds on registers only: chains enough to hide their latency, no memory
    read_l2        reads a buffer of half the L2 cache over and over
    read_memory    reads a buffer of 64 MiB once: from the last-level cache or from memory, wherever 64 MiB stay

All three are in one module, compiled once and kept in the compile cache. Each figure is the best of its runs, summed
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
_FMA_STEPS = 1 << 15
_L2_PASSES = 16
# Workgroups a thread gets: the last one to end is waited for.
_PIECES = 4
_RATES = ("gflops", "l2_gb_s", "memory_gb_s")


@dataclasses.dataclass(frozen=True)
class MachinePeak:
    """Best figures of `threads` threads: GFLOP/s (a multiply-add is two), GB/s of reads, the buffers that were read.

    `now_gflops` is what this run reached, where `gflops` is from an earlier one.
    """

    threads: int
    gflops: float
    l2_gb_s: float
    memory_gb_s: float
    l2_bytes: int
    memory_bytes: int
    now_gflops: float

    def sentence(self) -> str:
        """What was measured, for a person."""
        when = "measured in this run"
        if self.now_gflops < 0.95 * self.gflops:
            when = f"the best measured on this machine so far ({self.now_gflops:.0f} GFLOP/s in this run)"
        return (
            f"Peak of {self.threads} thread(s), {when}: {self.gflops:.0f} GFLOP/s (multiply-adds on registers), "
            f"reading {self.l2_gb_s:.0f} GB/s from L2 ({self.l2_bytes >> 10} KiB over and over), "
            f"{self.memory_gb_s:.1f} GB/s beyond it ({self.memory_bytes >> 20} MiB once)"
        )

    def best(self, other: "MachinePeak") -> "MachinePeak":
        """The better of two measurements, figure by figure."""
        return dataclasses.replace(
            self,
            gflops=max(self.gflops, other.gflops),
            l2_gb_s=max(self.l2_gb_s, other.l2_gb_s),
            memory_gb_s=max(self.memory_gb_s, other.memory_gb_s),
            now_gflops=max(self.now_gflops, other.now_gflops),
        )

    def seconds(self, flops: int, near_bytes: int, far_bytes: int) -> tuple[float, float]:
        """The least time for operations, and for bytes: `near_bytes` from L2, `far_bytes` from beyond it."""
        return flops / self.gflops / 1e9, near_bytes / self.l2_gb_s / 1e9 + far_bytes / self.memory_gb_s / 1e9


def measure_peak(threads: int = 1, runs: int = 30) -> MachinePeak:
    """Measures this machine; figures that it exceeded before are those of then.

    Raises `BundleError` where a tool of IREE fails.
    """
    from secateur.runtime_targets.profile import profile_module
    from secateur.runtime_targets.targets import get_target

    target = get_target("host-cpu", workers=threads)
    lanes, chains, l2_bytes, groups = _sizes(target, threads)
    with ScratchFolder("peak") as scratch:
        module = Path(scratch) / "peak.vmfb"
        module.write_bytes(_compiled(target, threads))
        inputs = [f"{chains}x{lanes}xf32=1.0", f"{l2_bytes // 4}xf32=1.0", f"{MEMORY_BYTES // 4}xf32=1.0"]
        found = profile_module(module, (), inputs, threads, runs)
    best = {call.kernel: call.min_ms / 1e3 for call in found.calls}
    gflops = 2 * groups * _FMA_STEPS * chains * lanes / best["peak_fma"] / 1e9
    measured = MachinePeak(
        threads=threads,
        gflops=gflops,
        l2_gb_s=groups * _L2_PASSES * l2_bytes / best["read_l2"] / 1e9,
        memory_gb_s=MEMORY_BYTES / best["read_memory"] / 1e9,
        l2_bytes=l2_bytes,
        memory_bytes=MEMORY_BYTES,
        now_gflops=gflops,
    )
    return _with_earlier(measured, list(target.cpu_features))


def _with_earlier(measured: MachinePeak, features: list[str]) -> MachinePeak:
    """The better of `measured` and what the cache remembers, which is remembered in turn."""
    folder = caching.cache_folder()
    if folder is None:
        return measured
    sizes = [measured.threads, measured.l2_bytes, measured.memory_bytes]
    key = hashlib.sha256(json.dumps([platform.node(), platform.machine(), features, sizes]).encode()).hexdigest()
    file = folder / f"machine-peak-{key[:32]}.json"
    # A file that cannot be read or written is no reason to stop: the cache only remembers.
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        earlier = json.loads(file.read_text())
        gflops, l2_gb_s, memory_gb_s = (float(earlier[name]) for name in _RATES)
        then = dataclasses.replace(measured, gflops=gflops, l2_gb_s=l2_gb_s, memory_gb_s=memory_gb_s)
        measured = measured.best(then)
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps({name: getattr(measured, name) for name in _RATES}).encode())
    return measured


def _sizes(target: "Target", threads: int) -> tuple[int, int, int, int]:
    """Lanes of a vector, chains of multiply-adds, bytes of the L2 buffer, workgroups."""
    about = target.description
    lanes = about["vector_bytes"] // 4
    chains = min(24, about["registers"] - 4)
    block = lanes * 4 * 8
    return lanes, chains, about["l2_bytes"] // 2 // block * block, _PIECES * threads


def _compiled(target: "Target", threads: int) -> bytes:
    text = _module_text(*_sizes(target, threads))
    key = hashlib.sha256(text.encode()).hexdigest()
    folder = caching.cache_folder()
    if folder is None:
        return _compile(text, target)
    cache = caching.Cache(folder)
    key = caching.cache_key(peak=key, flags=list(target.iree_flags), features=list(target.cpu_features))
    entry = cache.find(key)
    if entry is None:
        # A cache that cannot be written only remembers nothing.
        with contextlib.suppress(OSError), cache.write(key) as new:
            (new / "peak.vmfb").write_bytes(_compile(text, target))
        entry = cache.find(key)
    return (entry / "peak.vmfb").read_bytes() if entry is not None else _compile(text, target)


def _compile(text: str, target: "Target") -> bytes:
    from torch_mlir import ir

    from secateur.compiler.pipeline.context import make_context
    from secateur.runtime_targets import iree

    with make_context():
        return iree.compile_assembly(iree.assemble(ir.Module.parse(text), {}), target)


def _module_text(lanes: int, chains: int, l2_bytes: int, groups: int) -> str:
    from secateur.dialects.sparsity.kernel_ops import segment_sizes

    vector = f"vector<{lanes}xf32>"
    l2, memory = (f"{size // 4}xf32" for size in (l2_bytes, MEMORY_BYTES))
    result = f"{groups}x{lanes}xf32"

    def call(kernel: str, operand: str, type_: str) -> str:
        return (
            f'  %{kernel} = "sparsity.dispatch"(%{operand}) {{kernel = @{kernel}, grid = array<i64: {groups}, 1, 1>, '
            f"{segment_sizes(1)}}} : (tensor<{type_}>) -> tensor<{result}>\n"
        )

    state = f"{chains}x{lanes}xf32"
    outs = ", ".join([f"tensor<{result}>"] * 3)
    return (
        _fma_kernel(chains, vector, state, result)
        + _read_kernel("read_l2", l2_bytes // 4, lanes, result, _L2_PASSES, 1)
        + _read_kernel("read_memory", MEMORY_BYTES // 4, lanes, result, 1, groups)
        + f"func.func @main(%a: tensor<{state}>, %b: tensor<{l2}>, %c: tensor<{memory}>) -> ({outs}) {{\n"
        + call("peak_fma", "a", state)
        + call("read_l2", "b", l2)
        + call("read_memory", "c", memory)
        + f"  return %peak_fma, %read_l2, %read_memory : {outs}\n}}\n"
    )


def _fma_kernel(chains: int, vector: str, state: str, result: str) -> str:
    each = range(chains)
    loads = "".join(
        f"  %i{n} = arith.constant {n} : index\n  %s{n} = vector.load %x[%i{n}, %c0] : memref<{state}>, {vector}\n"
        for n in each
    )
    carried = ", ".join(f"%a{n} = %s{n}" for n in each)
    types = ", ".join([vector] * chains)
    steps = "".join(f"    %n{n} = vector.fma %s0, %s1, %a{n} : {vector}\n" for n in each)
    sums = "".join(f"  %t{n} = arith.addf %{'t' if n > 1 else 'r#'}{n - 1}, %r#{n} : {vector}\n" for n in each[1:])
    return (
        f"func.func private @peak_fma(%x: memref<{state}>, %y: memref<{result}>, %g: index, %u: index, %v: index) "
        f"attributes {{sparsity.kernel}} {{\n  %c0 = arith.constant 0 : index\n  %c1 = arith.constant 1 : index\n"
        f"  %steps = arith.constant {_FMA_STEPS} : index\n{loads}"
        f"  %r:{chains} = scf.for %i = %c0 to %steps step %c1 iter_args({carried}) -> ({types}) {{\n{steps}"
        f"    scf.yield {', '.join(f'%n{n}' for n in each)} : {types}\n  }}\n{sums}"
        f"  vector.store %t{chains - 1}, %y[%g, %c0] : memref<{result}>, {vector}\n  return\n}}\n"
    )


def _read_kernel(name: str, elements: int, lanes: int, result: str, passes: int, pieces: int) -> str:
    """Sums up `1 / pieces` of a buffer `passes` times: a workgroup reads the piece of its number."""
    width, vector, memory = 8, f"vector<{lanes}xf32>", f"memref<{elements}xf32>"
    each = range(width)
    piece = elements // pieces
    types = ", ".join([vector] * width)
    body = "".join(
        f"      %o{n} = arith.constant {n * lanes} : index\n      %p{n} = arith.addi %i, %o{n} : index\n"
        f"      %l{n} = vector.load %x[%p{n}] : {memory}, {vector}\n"
        f"      %n{n} = arith.addf %b{n}, %l{n} : {vector}\n"
        for n in each
    )
    sums = "".join(f"  %t{n} = arith.addf %{'t' if n > 1 else 'r#'}{n - 1}, %r#{n} : {vector}\n" for n in each[1:])
    return (
        f"func.func private @{name}(%x: {memory}, %y: memref<{result}>, %g: index, %u: index, %v: index) "
        "attributes {sparsity.kernel} {\n  %c0 = arith.constant 0 : index\n  %c1 = arith.constant 1 : index\n"
        f"  %zero = arith.constant dense<0.0> : {vector}\n  %passes = arith.constant {passes} : index\n"
        f"  %step = arith.constant {lanes * width} : index\n  %piece = arith.constant {piece} : index\n"
        + ("  %first = arith.muli %g, %piece : index\n" if pieces > 1 else "  %first = arith.constant 0 : index\n")
        + f"  %last = arith.addi %first, %piece : index\n"
        f"  %r:{width} = scf.for %k = %c0 to %passes step %c1 "
        f"iter_args({', '.join(f'%a{n} = %zero' for n in each)}) -> ({types}) {{\n"
        f"    %q:{width} = scf.for %i = %first to %last step %step "
        f"iter_args({', '.join(f'%b{n} = %a{n}' for n in each)}) -> ({types}) {{\n{body}"
        f"      scf.yield {', '.join(f'%n{n}' for n in each)} : {types}\n    }}\n"
        f"    scf.yield {', '.join(f'%q#{n}' for n in each)} : {types}\n  }}\n{sums}"
        f"  vector.store %t{width - 1}, %y[%g, %c0] : memref<{result}>, {vector}\n  return\n}}\n"
    )
