"""A row of a profile: one call of a dispatch, or several as one."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from .module_paths import summarise_paths


@dataclasses.dataclass(frozen=True)
class Row:
    """A call of a dispatch, or all calls of a kernel (`calls` > 1): figures are sums over them, times in milliseconds.

    `flops` None: not known; `byte_flops`: those among them that multiply bytes and sum the products; `known`: whether
    the bytes and modules are. `compute_ms` and `memory_ms` are the least times for operations, each in its own
    arithmetic, and for bytes (both zero where the machine's limits are not known), `least_ms` the larger of the two
    call by call; `bound` is "compute" or "memory", `roofline_fraction` is `least_ms` over `median_ms`. `busy_ms` is
    what the workgroups took together, on all threads; `one_thread_median_ms` and `speedup` are known where scaling was
    measured. Measured times, and what is made of them, are medians over the runs.
    """

    kernel: str
    paths: tuple[str, ...]
    calls: int
    median_ms: float
    busy_ms: float
    workgroups: int
    threads: int = 1
    flops: int | None = None
    byte_flops: int = 0
    padding_flops: int = 0
    weight_bytes: int = 0
    index_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    compute_ms: float = 0.0
    memory_ms: float = 0.0
    least_ms: float = 0.0
    one_thread_median_ms: float | None = None
    known: bool = False

    @property
    def bytes(self) -> int:
        """All bytes, each array once a call."""
        return self.weight_bytes + self.index_bytes + self.read_bytes + self.written_bytes

    @property
    def gflops(self) -> float | None:
        """GFLOP/s, operations on bytes among them."""
        return None if self.flops is None or not self.median_ms else self.flops / self.median_ms / 1e6

    @property
    def gb_s(self) -> float | None:
        """GB/s."""
        return self.bytes / self.median_ms / 1e6 if self.known and self.median_ms else None

    @property
    def intensity(self) -> float | None:
        """Operations per byte."""
        return None if self.flops is None or not self.bytes else self.flops / self.bytes

    @property
    def bound(self) -> str | None:
        """What holds it."""
        if not self.known or self.flops is None or not (self.compute_ms or self.memory_ms):
            return None
        return "compute" if self.compute_ms >= self.memory_ms else "memory"

    @property
    def roofline_fraction(self) -> float | None:
        """The least time over the measured one."""
        if self.bound is None or not self.median_ms:
            return None
        return self.least_ms / self.median_ms

    @property
    def speedup(self) -> float | None:
        """How many times faster than on one thread."""
        one = self.one_thread_median_ms
        return None if one is None or not self.median_ms else one / self.median_ms

    @property
    def busy_threads(self) -> float | None:
        """How many threads were at work on average; less than there are where some waited or woke late."""
        return self.busy_ms / self.median_ms if self.median_ms else None

    @property
    def most_speedup(self) -> float:
        """The most that handing out its workgroups allows."""
        from secateur.runtime_targets.profile import most_speedup

        return most_speedup(self.workgroups, self.threads) if self.workgroups else 1.0

    def to_dict(self) -> dict[str, Any]:
        """All figures, as values that JSON has."""
        names = ("bytes", "gflops", "gb_s", "intensity", "bound", "roofline_fraction", "speedup", "busy_threads",
                 "most_speedup")  # fmt: skip
        return {**dataclasses.asdict(self), **{name: getattr(self, name) for name in names}}


def add_rows(kernel: str, rows: Sequence[Row]) -> Row:
    """Rows as one. Work that is not known of one of them is not known of all."""

    def total(name: str) -> Any:
        values = [getattr(row, name) for row in rows]
        return None if any(value is None for value in values) else sum(values)

    sums = ("calls", "median_ms", "busy_ms", "flops", "byte_flops", "padding_flops", "weight_bytes", "index_bytes",
            "read_bytes", "written_bytes", "compute_ms", "memory_ms", "least_ms", "one_thread_median_ms")  # fmt: skip
    return Row(
        kernel=kernel,
        paths=summarise_paths([row.paths for row in rows]),
        workgroups=max((row.workgroups for row in rows), default=0),
        threads=max((row.threads for row in rows), default=1),
        known=all(row.known for row in rows),
        **{name: total(name) for name in sums},
    )
