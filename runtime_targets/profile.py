"""The time of every call of a dispatch, measured by IREE's own tools.

On a CPU, IREE's profiler keeps an event per call (`host-execution`): start, end, and the time summed over workgroups.
So each layer has a time of its own, and not only each kernel. Its `dispatch-events` are for devices with clocks of
their own; a CPU refuses them, and a GPU has only these: the time between two marks in its queue.
"""

import contextlib
import dataclasses
import json
import math
import statistics
import subprocess
import sysconfig
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secateur.dialects.entry_points import MAIN
from secateur.dialects.scratch import ScratchFolder

from .bundle import Bundle
from .iree.vulkan import gpu_uri
from .manifest import BundleError
from .token_count import in_order

# Runs before those that count: the first ones bring the weights into memory.
WARM_UP = 3
# What a process on a GPU may take to load, and for a run; then it is ended, and started once more.
_START_SECONDS, _RUN_SECONDS = 30, 5
# Of a call on a CPU, and on a GPU.
_EVENTS = ("host_dispatch_event", "dispatch_event")


@dataclasses.dataclass(frozen=True)
class CallTime:
    """One call of a dispatch, over the runs: from the start of its first workgroup to the end of its last.

    `median_ms`, `min_ms`: of all runs; `busy_ms`: the median of what its workgroups took together, on all threads (on
    a GPU nobody counts that: the time itself).
    """

    kernel: str
    median_ms: float
    min_ms: float
    busy_ms: float
    workgroups: int


def most_speedup(workgroups: int, threads: int) -> float:
    """How many times faster than one thread a call can be at most, by how IREE hands out its workgroups.

    One by one where there are fewer than 8 a thread, else 8 at a time (`tiles_per_reservation` in the block processor
    of its `local-task` driver): 24 workgroups on 2 threads are 8 + 8 on one and 8 on the other: 1.5 times faster.
    """
    piece = 8 if workgroups >= 8 * threads else 1
    pieces = -(-workgroups // piece)
    rounds = -(-pieces // threads)
    longest = min(workgroups, rounds * piece)
    if pieces % threads == 1 or threads == 1:
        # The last round is one piece, which may be a short one.
        longest = (rounds - 1) * piece + (workgroups - (pieces - 1) * piece)
    return workgroups / longest


class ToolEndedError(BundleError):
    """A tool of IREE's ended with a fault."""


@dataclasses.dataclass(frozen=True)
class RunProfile:
    """Runs of a module on `threads` threads (of the CPU; 1 for a GPU), in milliseconds.

    `calls` in the order of their execution. `latency_median_ms`: of whole runs, with the profiler on.
    `outside_ms`: median of the part of a run in which no dispatch was running.
    """

    threads: int
    runs: int
    calls: tuple[CallTime, ...]
    latency_median_ms: float
    outside_ms: float


@dataclasses.dataclass(frozen=True)
class _Event:
    kernel: str
    start: int
    end: int
    busy: int
    workgroups: int


def profile_bundle(bundle: Bundle, target: str | None = None, threads: int = 1, runs: int = 50) -> RunProfile:
    """Runs the model on zeros and times its dispatches. Raises `BundleError` where a tool of IREE fails."""
    chosen = bundle.target(target)
    gpu = gpu_uri(chosen.subgroup) if chosen.backend == "vulkan" else None
    with ScratchFolder("profile") as scratch:
        inputs = []
        specs = bundle.manifest.function().inputs
        zeros = {spec.name: np.zeros(spec.shape, "int8" if spec.dtype == "bool" else spec.dtype) for spec in specs}
        for position, array in enumerate(in_order(specs, zeros)):
            path = Path(scratch) / f"{position}.npy"
            np.save(path, array)
            inputs.append(f"@{path}")
        return profile_module(bundle.file(chosen.module), bundle.parameters(chosen), inputs, threads, runs, gpu)


def profile_module(
    module: Path,
    parameters: Sequence[Path],
    inputs: Sequence[str],
    threads: int = 1,
    runs: int = 50,
    gpu: str | None = None,
) -> RunProfile:
    """Runs `@main` of a module; `inputs` as `iree-benchmark-module` takes them (`@file.npy`, `4xf32=1.0`). On the CPU,
    or on `gpu`, a URI of IREE's.

    What runs once, when the module is loaded, is left out. Raises `BundleError` where a tool of IREE fails.
    """
    if runs < 1 or threads < 1:
        raise ValueError(f"a profile needs at least 1 run and 1 thread, found {runs} and {threads}")
    device = ["--device=local-sync"]
    if threads > 1:
        device = ["--device=local-task", f"--task_topology_group_count={threads}"]
    mode = "host-execution"
    if gpu is not None:
        device, mode = [f"--device={gpu}"], "dispatch-events"
    repetitions = runs + WARM_UP
    with ScratchFolder("profile") as name:
        record = Path(name) / "profile"
        command = [
            _tool("iree-benchmark-module"),
            *device,
            f"--module={module}",
            f"--function={MAIN}",
            "--benchmark_min_time=1x",
            f"--benchmark_repetitions={repetitions}",
            "--benchmark_format=json",
            f"--device_profiling_mode={mode},executable-metadata",
            f"--device_profiling_output={record}",
            *(f"--input={value}" for value in inputs),
        ]
        command += [f"--parameters=model={archive}" for archive in parameters]
        told = _run(command) if gpu is None else _run_on_gpu(command, _START_SECONDS + _RUN_SECONDS * repetitions)
        times = json.loads(told)["benchmarks"]
        lines = _run([_tool("iree-profile"), "dispatch", "--dispatch_events", "--format=jsonl", str(record)])
    latencies = [t["real_time"] for t in times if t["run_type"] == "iteration"]
    rows = (json.loads(line) for line in lines.splitlines() if line.startswith("{"))
    events = [_event(row) for row in rows if row.get("type") in _EVENTS and row.get("valid")]
    return _summary(threads, latencies[WARM_UP:], list(_by_run(events, repetitions))[WARM_UP:])


def _event(row: dict[str, Any]) -> _Event:
    if row["type"] == "dispatch_event":
        # Ticks of the GPU's clock, which a nanosecond need not be.
        start = row["start_tick"] * row["duration_ns"] // max(1, row["duration_ticks"])
        return _Event(
            row["key"], start, start + row["duration_ns"], row["duration_ns"], math.prod(row["workgroup_count"])
        )
    return _Event(row["key"], row["start_host_time_ns"], row["end_host_time_ns"], row["tile_duration_sum_ns"],
                  row["tile_count"])  # fmt: skip


def _by_run(events: list[_Event], runs: int) -> Iterator[list[_Event]]:
    """The events of each run, in the order of their start."""
    counts = Counter(event.kernel for event in events)
    kept = sorted((e for e in events if counts[e.kernel] >= runs), key=lambda e: e.start)
    size, rest = divmod(len(kept), runs)
    if rest:
        raise BundleError(f"{runs} runs of the module made {len(kept)} dispatches: not the same number in every run")
    for first in range(0, len(kept), size or 1):
        yield kept[first : first + size]


def _summary(threads: int, latencies: list[float], runs: list[list[_Event]]) -> RunProfile:
    times: dict[tuple[str, int], list[_Event]] = {}
    for run in runs:
        seen: Counter[str] = Counter()
        for event in run:
            times.setdefault((event.kernel, seen[event.kernel]), []).append(event)
            seen[event.kernel] += 1
    calls = []
    for (kernel, _), events in times.items():
        best = min(events, key=lambda e: e.end - e.start)
        calls.append(
            CallTime(
                kernel=kernel,
                median_ms=statistics.median((e.end - e.start) / 1e6 for e in events),
                min_ms=(best.end - best.start) / 1e6,
                busy_ms=statistics.median(e.busy / 1e6 for e in events),
                workgroups=best.workgroups,
            )
        )
    inside = [_covered(run) for run in runs] or [0.0] * len(latencies)
    outside = statistics.median(max(0.0, whole - part) for whole, part in zip(latencies, inside, strict=True))
    return RunProfile(threads, len(latencies), tuple(calls), statistics.median(latencies), outside)


def _covered(events: list[_Event]) -> float:
    """Milliseconds in which at least one dispatch ran; they may overlap where there are threads."""
    total, until = 0, 0
    for event in events:
        total += max(0, event.end - max(event.start, until))
        until = max(until, event.end)
    return total / 1e6


def _tool(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


def _run_on_gpu(command: list[str], seconds: float) -> str:
    # Seen on lavapipe of Mesa 22.3: the driver waits for itself, or loses the device. The next process runs.
    with contextlib.suppress(subprocess.TimeoutExpired, ToolEndedError):
        return _run(command, seconds)
    try:
        return _run(command, seconds)
    except subprocess.TimeoutExpired:
        name = Path(command[0]).name
        raise BundleError(f"'{name}' did not end on the GPU within {seconds:g} s, twice") from None


def _run(command: list[str], seconds: float | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds)
    except FileNotFoundError:
        raise BundleError(f"'{command[0]}', a tool of iree-base-runtime, is not installed") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["it said nothing"]
        raise ToolEndedError(f"'{Path(command[0]).name}' failed: {lines[0]}") from None
    return done.stdout
