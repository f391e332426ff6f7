"""Timing on a device: where it runs, on which cores, how warm it gets. What it takes is nothing to test."""

import json
import os

import pytest

from secateur.commands.app import main
from secateur.commands.bench_device import parse_cores
from secateur.compiler.measure.bench_device import bench_on_device, drift_fraction, fastest
from secateur.runtime_targets.devices import DeviceError

CORES = sorted(os.sched_getaffinity(0))


def started(phone):
    """The commands that started the benchmark program."""
    return [command for command in phone.commands if "iree-benchmark-module --module" in command]


def test_on_a_phone(phone, emulated, make_bundle):
    found = bench_on_device(make_bundle(), "adb", runs=5)
    assert found.runs == 5 and 0 < found.min_ms <= found.median_ms <= found.p90_ms
    # The stand-in's last core is its fastest.
    assert found.cores == (CORES[-1],) and f"taskset {1 << CORES[-1]:x} /data" in started(phone)[0]
    assert (found.before.sensor, found.before.celsius) == ("cpu-1-0", 38.5)
    assert "cpu-1-0 38.5 C before, 38.5 C after" in found.thermal_note()
    assert found.deployment.self_test is not None and any("never run on a phone" in note for note in found.notes)


def test_a_second_time_nothing_is_pushed(phone, emulated, make_bundle):
    path = make_bundle()
    bench_on_device(path, "adb", runs=3)
    assert bench_on_device(path, "adb", runs=3).deployment.pushed == {}


def test_heat(phone, emulated, make_bundle):
    zones = phone.root / "sys/class/thermal"
    for name, kind, value in (("thermal_zone1", "battery", "99000"), ("thermal_zone2", "CPU2", "61500"),
                              ("thermal_zone3", "cpu-broken", "-274000")):  # fmt: skip
        (zones / name).mkdir()
        (zones / name / "type").write_text(f"{kind}\n")
        (zones / name / "temp").write_text(f"{value}\n")
    assert bench_on_device(make_bundle(), "adb", runs=3).before.celsius == 61.5


def test_a_phone_that_tells_no_temperature(phone, emulated, make_bundle):
    (phone.root / "sys/class/thermal/thermal_zone0/temp").unlink()
    found = bench_on_device(make_bundle(), "adb", runs=3)
    assert found.before is None and "tells no temperatures" in found.thermal_note()


def test_chosen_cores(phone, emulated, make_bundle):
    path = make_bundle()
    assert bench_on_device(path, "adb", runs=3, cores=[CORES[0]]).cores == (CORES[0],)
    with pytest.raises(DeviceError, match=r"^'adb:PHONE1' has no core 4000; its cores are 0"):
        bench_on_device(path, "adb", runs=3, cores=[4000])


def test_a_phone_without_taskset(phone, emulated, make_bundle):
    phone.program("taskset", "echo 'taskset: not allowed' >&2; exit 1")
    path = make_bundle()
    found = bench_on_device(path, "adb", runs=3)
    assert found.cores == () and "taskset: not allowed" in found.notes[-1] and "taskset" not in started(phone)[0]
    with pytest.raises(DeviceError, match="does not run programs on the cores"):
        bench_on_device(path, "adb", runs=3, cores=[CORES[0]])


def test_fastest():
    phone = {0: 1_800_000, 1: 1_800_000, 4: 2_400_000, 5: 2_400_000, 7: 2_900_000, 8: 0}
    assert fastest(phone, 1) == (7,) and fastest(phone, 2) == (5, 7) and fastest(phone, 99) == (0, 1, 4, 5, 7)
    assert fastest({0: 0, 1: 0}, 1) == ()


def test_a_device_that_slows_down(phone, emulated, make_bundle, monkeypatch):
    assert drift_fraction([10.0] * 10 + [12.0] * 10) == pytest.approx(0.2)
    assert drift_fraction([10.0, 20.0]) == 0.0
    slow = [1.0] * 10 + [1.3] * 10
    monkeypatch.setattr("secateur.compiler.measure.bench_device.RemoteSession.benchmark", lambda *_: slow)
    found = bench_on_device(make_bundle(), "adb", runs=20)
    assert "the second half of the runs was 30 % slower: it may be throttled" in found.thermal_note()
    assert (found.median_ms, found.p90_ms) == (1.15, 1.3)


def test_here(make_bundle):
    found = bench_on_device(make_bundle(), "local", runs=3, cores=[CORES[0]])
    assert (found.deployment.target, found.cores, found.runs) == ("host-cpu", (CORES[0],), 3)


def test_an_emulated_cpu_has_no_time(emulated, make_bundle):
    with pytest.raises(DeviceError, match="is emulated: its time says nothing"):
        bench_on_device(make_bundle(), "qemu:cortex-a76", runs=3)


def test_cores_as_text():
    assert parse_cores("4-7,1") == (4, 5, 6, 7, 1) and parse_cores(None) == ()


def test_the_command(phone, emulated, make_bundle, capsys):
    path = str(make_bundle())
    assert main(["bench", path, "--device", "adb", "--rounds", "3"]) == 0
    shown = capsys.readouterr()
    assert "android-arm64:cortex-a76 on adb:PHONE1" in shown.out and "p90" in shown.out and "heat: cpu-1-0" in shown.out
    assert "never run on a phone" in shown.err
    assert main(["bench", path, "--device", "local", "--rounds", "3", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["p90_ms"] >= value["median_ms"] and value["deployment"]["target"] == "host-cpu"
    assert main(["bench", path, "--device", "local", "--cores", "x"]) == 2
    assert "expected core numbers such as 4,5 or 4-7, found 'x'" in capsys.readouterr().err
