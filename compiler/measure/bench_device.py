"""Times a bundle on a device: it is deployed first, then IREE's own benchmark program runs it on chosen cores.

On a phone figures move with heat and with the core that the system chooses. So the program is kept on the fastest cores
(`taskset`), the temperatures before and after are told, and whether the later runs were slower than the earlier ones.
An emulated CPU is not timed, since its time says nothing; there instructions are counted (`instruction_cost`).
"""

import dataclasses
import os
import re
import statistics
from collections.abc import Callable, Sequence

import numpy as np

from secateur.compiler.verify.comparison import sample
from secateur.runtime_targets.devices import Device, DeviceError, RemoteSession
from secateur.runtime_targets.devices.adb import AdbDevice
from secateur.runtime_targets.devices.local import LocalDevice, pin_words
from secateur.runtime_targets.token_count import in_order

from .deploy import Deployment, deployed
from .self_test import stored_inputs

_SHELL_SECONDS = 60.0
# Later runs that are slower by more than this fraction mean that the device slowed down; of a few runs it says nothing.
_DRIFT, _DRIFT_RUNS = 0.05, 10
# Sensors report thousandths of a degree, a few report degrees; what is outside of this is no temperature.
_SENSIBLE_C = range(1, 150)


@dataclasses.dataclass(frozen=True)
class Temperature:
    """The hottest of a device's CPU sensors, or of all where none is named after a CPU, in degrees Celsius."""

    sensor: str
    celsius: float


@dataclasses.dataclass(frozen=True)
class DeviceLatency:
    """Latency of one call in milliseconds, over `runs` calls.

    `cores`: those the program was kept on (empty: the system chose). `before`, `after`: None where the device tells no
    temperature. `drift_fraction`: by how much the median of the second half of the runs is above that of the first.
    """

    runs: int
    threads: int
    min_ms: float
    median_ms: float
    p90_ms: float
    cores: tuple[int, ...]
    before: Temperature | None
    after: Temperature | None
    drift_fraction: float
    deployment: Deployment
    notes: tuple[str, ...]

    def thermal_note(self) -> str:
        """The temperatures and the drift, as a sentence."""
        if self.before is None or self.after is None:
            heat = "the device tells no temperatures"
        else:
            heat = f"{self.after.sensor} {self.before.celsius:.1f} C before, {self.after.celsius:.1f} C after"
        if self.drift_fraction > _DRIFT:
            heat += f"; the second half of the runs was {100 * self.drift_fraction:.0f} % slower: it may be throttled"
        return heat


def bench_on_device(
    path: str | os.PathLike[str],
    device: str,
    *,
    target: str | None = None,
    threads: int = 1,
    runs: int = 30,
    cores: Sequence[int] = (),
    progress: Callable[[str], None] = lambda stage: None,
) -> DeviceLatency:
    """Deploys the bundle at `path` to `device` and times it there. `cores`: CPU cores to keep it on (default: as many
    of the fastest as there are threads). Raises `DeviceError`, `BundleError` or `SelfTestError`.
    """
    with deployed(path, device, target=target, progress=progress) as (bundle, opened, chosen, deployment):
        if not isinstance(opened, AdbDevice | LocalDevice):
            raise DeviceError(f"'{device}' is emulated: its time says nothing", usage=True)
        if deployment.self_test is None and bundle.target(chosen).backend == "vulkan":
            raise DeviceError(f"the code for '{chosen}' cannot be timed on '{opened.name}': {deployment.notes[-1]}")
        notes = list(deployment.notes)
        opened.pinned, note = _pin(opened, tuple(cores), threads)
        notes += [note] if note else []
        specs = bundle.manifest.function().inputs
        # Any integer is a position in some table; zero and one are in all of them.
        drawn = sample(specs, {s.name: np.array([0, 1]) for s in specs}, None, np.random.default_rng(0))
        arrays = stored_inputs(bundle) or in_order(specs, drawn)
        progress(f"timing on {opened.name}")
        before = _temperature(opened)
        latencies = RemoteSession(opened, bundle, chosen, threads=threads).benchmark(arrays, runs)
        after = _temperature(opened)
    return DeviceLatency(
        runs=len(latencies),
        threads=threads,
        min_ms=min(latencies),
        median_ms=statistics.median(latencies),
        p90_ms=float(np.percentile(latencies, 90)),
        cores=opened.pinned,
        before=before,
        after=after,
        drift_fraction=drift_fraction(latencies),
        deployment=deployment,
        notes=tuple(notes),
    )


def drift_fraction(latencies: Sequence[float]) -> float:
    """By how much the later half is slower than the earlier one, by medians; 0 where there are too few to tell."""
    if len(latencies) < _DRIFT_RUNS:
        return 0.0
    half = len(latencies) // 2
    return statistics.median(latencies[half:]) / statistics.median(latencies[:half]) - 1


def _pin(device: Device, cores: tuple[int, ...], threads: int) -> tuple[tuple[int, ...], str]:
    """The cores to run on, and a note where that is not as it should be. Raises `DeviceError` for cores it lacks."""
    frequencies = _frequencies(device)
    lacking = sorted(set(cores) - set(frequencies))
    if lacking and frequencies:
        known = ", ".join(map(str, sorted(frequencies)))
        raise DeviceError(f"'{device.name}' has no core {lacking[0]}; its cores are {known}", usage=True)
    chosen = cores or fastest(frequencies, threads)
    if not chosen:
        return (), "the device does not tell how fast its cores are: the system chose the cores"
    done = device.shell([*pin_words(chosen), "true"], timeout=_SHELL_SECONDS)
    if not done.status:
        return tuple(sorted(chosen)), ""
    if cores:
        raise DeviceError(f"'{device.name}' does not run programs on the cores {cores}: 'taskset' {done.fault()}")
    return (), f"the device does not run programs on chosen cores ('taskset' {done.fault()}): the system chose"


def _frequencies(device: Device) -> dict[int, int]:
    """Core -> its highest frequency in kHz, 0 where it is not told; empty where no core is listed."""
    command = 'for c in /sys/devices/system/cpu/cpu[0-9]*; do echo "$c $(cat $c/cpufreq/cpuinfo_max_freq)"; done'
    done = device.shell(["sh", "-c", f"{command} 2>/dev/null"], timeout=_SHELL_SECONDS)
    found = re.findall(r"/cpu(\d+) (\d*)$", done.out, re.MULTILINE)
    return {int(core): int(frequency or 0) for core, frequency in found}


def fastest(frequencies: dict[int, int], count: int) -> tuple[int, ...]:
    """The `count` cores with the highest frequency (of equals those numbered last: the first serve interrupts)."""
    known = {core: frequency for core, frequency in frequencies.items() if frequency}
    return tuple(sorted(sorted(known, key=lambda core: (known[core], core))[-count:]))


def _temperature(device: Device) -> Temperature | None:
    command = 'for z in /sys/class/thermal/thermal_zone*; do echo "$(cat $z/type) $(cat $z/temp)"; done'
    done = device.shell(["sh", "-c", f"{command} 2>/dev/null"], timeout=_SHELL_SECONDS)
    found = []
    for sensor, text in re.findall(r"^(\S+) (-?\d+)$", done.out, re.MULTILINE):
        value = int(text) / 1000 if abs(int(text)) >= 1000 else float(text)
        if int(value) in _SENSIBLE_C:
            found.append(Temperature(sensor, value))
    cpus = [t for t in found if "cpu" in t.sensor.lower()]
    return max(cpus or found, key=lambda t: t.celsius, default=None)
