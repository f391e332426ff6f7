"""Where a bundle's time goes: every dispatch with its time, work, and how near the machine's limits it is.

Times come from the profiler, work from the record that the compiler left in the bundle, limits from a measurement in
the same run. The least time a dispatch can take is

    compute = flops in floats / peak of multiply-adds + flops on bytes / peak of products of bytes
    memory  = activations / rates of the caches that hold them + weights and indices / rate far away

Flops are those that the result needs, without padding. Activations have just been written by the dispatch before: as
many as L2 holds come from there, the next from L3. Weights and indices have been pushed out by all the other layers.
The larger of the two is what bounds the dispatch; its share of the measured time is the fraction of the roofline that
was reached. Calls of one kernel are told apart, so each layer has its own figures; `by_kernel` adds them up. A GPU's
limits are not measured: its dispatches have times, work and rates only.
"""

import dataclasses
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .machine_peak import MachinePeak, measure_peak
from .profile_rows import Row, add_rows

if TYPE_CHECKING:
    from secateur.runtime_targets.manifest import DispatchWork
    from secateur.runtime_targets.profile import CallTime, RunProfile

RECOMPILE = "this bundle holds no record of its work (FLOPs, bytes, modules): compile the model again to see them"
MODEL_OF_BOUNDS = (
    "roofline: the least time that operations (compute: each at the peak of its arithmetic) or bytes (memory: weights "
    "from far away, activations from the caches that hold them) could take on this machine, over the median time; "
    "arrays count once a call."
)
NO_PEAK = (
    "Times are those between two marks in the GPU's queue; what this GPU can do at most is not measured. Where it is "
    "Mesa's lavapipe, the CPU does its work: kernels may be compared with each other, and not with a GPU."
)
# With threads the runs alternate with those of one thread, so that a slow moment hits both.
_TURNS = 2


@dataclasses.dataclass(frozen=True)
class BundleProfile:
    """A profile. `rows`: every call in order of execution. `latency_median_ms` of whole runs, profiler on; `outside_ms`
    is the time of a run in which no dispatch ran. `one_thread_latency_median_ms`: where scaling was measured.
    `statistic`: that of all measured times, and of what is made of them. `peak`: None on a GPU.
    """

    bundle: str
    model: str
    threads: int
    runs: int
    rows: tuple[Row, ...]
    latency_median_ms: float
    outside_ms: float
    peak: MachinePeak | None
    one_thread_latency_median_ms: float | None = None
    statistic: str = "median"

    @property
    def total(self) -> Row:
        """All dispatches together."""
        return add_rows("total", self.rows)

    @property
    def limits(self) -> tuple[str, ...]:
        """What times are held against, as sentences."""
        return (NO_PEAK,) if self.peak is None else (f"{self.peak.sentence()}.", MODEL_OF_BOUNDS)

    def by_kernel(self) -> list[Row]:
        """The rows of equal kernels added up, the longest first."""
        groups: dict[str, list[Row]] = {}
        for row in self.rows:
            groups.setdefault(row.kernel, []).append(row)
        return sorted((add_rows(k, rows) for k, rows in groups.items()), key=lambda r: (-r.median_ms, r.kernel))

    def to_dict(self) -> dict[str, Any]:
        """The profile as values that JSON has."""
        value = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        value["peak"] = None if self.peak is None else dataclasses.asdict(self.peak)
        value["dispatches"] = [row.to_dict() for row in value.pop("rows")]
        return {**value, "kernels": [row.to_dict() for row in self.by_kernel()], "total": self.total.to_dict()}


def profile(
    path: str | os.PathLike[str],
    *,
    threads: int = 1,
    scaling: bool = False,
    runs: int = 50,
    progress: Callable[[str], None] = lambda stage: None,
) -> BundleProfile:
    """Profiles a bundle on zeros of its full size. `scaling`: also on one thread, in turns with `threads`.

    Raises `BundleError` where it cannot be opened or run here, or has threads and code for a GPU.
    """
    from secateur.runtime_targets.bundle import open_bundle
    from secateur.runtime_targets.manifest import BundleError
    from secateur.runtime_targets.profile import profile_bundle

    progress("opening")
    with open_bundle(path) as bundle:
        chosen = bundle.target()
        on_gpu = chosen.backend == "vulkan"
        if on_gpu and threads > 1:
            raise BundleError(f"threads are a CPU's, and the code of '{chosen.name}' is for a GPU; found {threads}")
        progress("measuring this machine")
        peak = None if on_gpu else measure_peak(threads)
        counts = [1, threads] if scaling and threads > 1 else [threads]
        turns = _TURNS if len(counts) > 1 else 1
        found: dict[int, list[RunProfile]] = {count: [] for count in counts}
        for turn in range(turns):
            for count in counts:
                progress(f"running on {'the GPU' if on_gpu else f'{count} thread(s)'}, turn {turn + 1} of {turns}")
                found[count].append(profile_bundle(bundle, chosen.name, count, max(1, runs // turns)))
        # Measured before and after: the better of two moments.
        peak = peak and peak.best(measure_peak(threads))
        merged = {count: merge(profiles) for count, profiles in found.items()}
        single = merged[1] if len(counts) > 1 else None
        ours = merged[threads]
        return BundleProfile(
            bundle=os.fspath(path),
            model=bundle.manifest.model.name,
            threads=threads,
            runs=ours.runs,
            rows=tuple(join(ours.calls, chosen.dispatches, peak, single.calls if single else None)),
            latency_median_ms=ours.latency_median_ms,
            outside_ms=ours.outside_ms,
            peak=peak,
            one_thread_latency_median_ms=single.latency_median_ms if single else None,
        )


def merge(profiles: "Sequence[RunProfile]") -> "RunProfile":
    """Several profiles of one module as one: each time is the median of theirs."""
    turns = [dict(_numbered(profile.calls)) for profile in profiles]

    def median(items: "Iterable[Any]", name: str) -> float:
        return statistics.median(getattr(item, name) for item in items)

    calls = []
    for key, call in turns[0].items():
        same = [turn[key] for turn in turns]
        least = min(one.min_ms for one in same)
        medians = {name: median(same, name) for name in ("median_ms", "busy_ms")}
        calls.append(dataclasses.replace(call, min_ms=least, **medians))
    return dataclasses.replace(
        profiles[0],
        calls=tuple(calls),
        runs=sum(p.runs for p in profiles),
        latency_median_ms=median(profiles, "latency_median_ms"),
        outside_ms=median(profiles, "outside_ms"),
    )


def _numbered(items: "Iterable[Any]") -> "list[tuple[tuple[str, int], Any]]":
    """Each item with its kernel and how often that came before it."""
    seen: dict[str, int] = {}
    found = []
    for item in items:
        number = seen[item.kernel] = seen.get(item.kernel, -1) + 1
        found.append(((item.kernel, number), item))
    return found


def join(
    calls: "Sequence[CallTime]",
    work: "Sequence[DispatchWork]",
    peak: MachinePeak | None,
    single: "Sequence[CallTime] | None" = None,
) -> list[Row]:
    """The rows of `calls`: the n-th call of a kernel did the n-th work of that kernel.

    A kernel that was called more or less often than its work was recorded has times only.
    """
    known = dict(_numbered(work))
    numbers: dict[bool, dict[str, int]] = {True: {}, False: {}}
    for is_work, items in ((True, work), (False, calls)):
        for item in items:
            numbers[is_work][item.kernel] = numbers[is_work].get(item.kernel, 0) + 1
    one = {key: call.median_ms for key, call in _numbered(single or ())}
    rows = []
    for key, call in _numbered(calls):
        row = Row(
            kernel=call.kernel,
            paths=(),
            calls=1,
            median_ms=call.median_ms,
            busy_ms=call.busy_ms,
            workgroups=call.workgroups,
            threads=peak.threads if peak else 1,
            one_thread_median_ms=one.get(key),
        )
        entry = known.get(key)
        if entry is not None and numbers[True][call.kernel] == numbers[False][call.kernel]:
            figures = entry.model_dump(exclude={"kernel", "paths"})
            compute, memory = _bounds(entry, peak) if peak else (0.0, 0.0)
            row = dataclasses.replace(
                row,
                paths=entry.paths,
                known=True,
                compute_ms=compute,
                memory_ms=memory,
                least_ms=max(compute, memory),
                **figures,
            )
        rows.append(row)
    return rows


def _bounds(work: "DispatchWork", peak: MachinePeak) -> tuple[float, float]:
    floats = (work.flops or 0) - work.byte_flops
    compute = peak.seconds_of_work(floats, work.byte_flops)
    memory = peak.seconds_of_reading(work.read_bytes + work.written_bytes, work.weight_bytes + work.index_bytes)
    return compute * 1e3, memory * 1e3
