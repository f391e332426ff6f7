"""Phones over adb: the real `adb` program against a server that speaks its protocol."""

import os
import re
import shutil
from pathlib import Path

import pytest

from secateur.runtime_targets.devices import DeviceError, open_device
from secateur.runtime_targets.devices.adb import phones

VKJSON = '{"devices": [{"properties": {"deviceName": "Mali-G715", "apiVersion": 4206859}, "core11": {"properties": \
{"subgroupSize": 16}}, "core13": {"properties": {"minSubgroupSize": 16, "maxSubgroupSize": 16}}}]}'


def test_what_a_phone_is(phone):
    found = open_device("adb:PHONE1").properties()
    assert (found.architecture, found.android_api, found.free_bytes) == ("aarch64", 34, phone.free_kb * 1024)
    assert {"asimddp", "fphp"} <= found.cpu_features and "i8mm" not in found.cpu_features
    assert found.vulkan is None


def test_features_are_those_that_every_core_has(phone):
    info = phone.root / "proc/cpuinfo"
    info.write_text(info.read_text() + "processor\t: 99\nFeatures\t: fp asimd\n")
    assert open_device("adb").properties().cpu_features == {"fp", "asimd"}


def test_the_gpu_of_a_phone(phone):
    (phone.root / "vulkan.json").write_text(VKJSON)
    phone.program("cmd", f"cat {phone.root}/vulkan.json")
    gpu = open_device("adb").properties().vulkan
    assert (gpu.device_name, gpu.api_version, gpu.subgroup_sizes) == ("Mali-G715", "1.3.267", (16,))


@pytest.mark.parametrize(
    ("abis", "architecture"), [("x86_64,arm64-v8a", "x86_64"), ("armeabi-v7a,armeabi", "armv7l"), ("", "aarch64")]
)
def test_the_abi_decides_not_the_kernel(serve, abis, architecture):
    serve("PHONE1", abis=abis)
    assert open_device("adb").properties().architecture == architecture


def test_files_go_there_and_come_back(phone, tmp_path):
    source = tmp_path / "some file"
    source.write_bytes(bytes(range(256)) * 1000)
    device = open_device("adb")
    assert device.hashes() == {}
    device.push(source, "a/it's $HOME.bin")
    (digest,) = {name: d for name, d in device.hashes().items() if name == "a/it's $HOME.bin"}.values()
    device.pull("a/it's $HOME.bin", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == source.read_bytes() and len(digest) == 64
    device.remove("a/it's $HOME.bin")
    device.remove("never there")
    assert device.hashes() == {} and phone.files() == []
    with pytest.raises(DeviceError, match=r"'nothing' cannot be copied from 'adb:PHONE1': .*No such file"):
        device.pull("nothing", tmp_path / "nothing")
    assert not list(tmp_path.glob(".*.new"))


def test_programs_of_the_phone(phone):
    device = open_device("adb")
    done = device.shell(["sh", "-c", "echo out; echo err >&2; exit 7"], timeout=20)
    assert (done.status, done.out, done.err) == (7, "out\n", "err\n")
    done = device.shell(["sh", "-c", "kill -ILL $$"], timeout=20)
    assert "SIGILL" in done.fault()
    assert device.shell(["printf", "%s", "no newline"], timeout=20).out == "no newline"
    assert device.shell(["pwd"], timeout=20).out == "/data/local/tmp/secateur\n"


def test_a_phone_that_goes_away_in_a_command_is_no_success(phone):
    # adb itself ends with status 0 and with what came until then.
    device = open_device("adb")
    phone.program("slow", "echo half; exit 0")
    original = phone.run

    def pull_cable(command):
        found = original(command)
        phone.state = "offline"
        return found

    phone.run = pull_cable
    with pytest.raises(DeviceError, match=r"^'adb:PHONE1' does not answer: it is offline: unplug it"):
        device.shell(["slow"], timeout=20)


def test_a_program_that_hangs(phone):
    with pytest.raises(DeviceError, match=r"^'adb:PHONE1' did not answer within 1 seconds$"):
        open_device("adb").shell(["sleep", "3"], timeout=0.6)


@pytest.mark.parametrize(
    ("states", "name", "sentence"),
    [
        ({}, "adb", "no phone is attached: connect one with USB debugging"),
        ({}, "adb:PHONE1", "there is no phone 'PHONE1'; attached: none"),
        ({"A": "device"}, "adb:B", "there is no phone 'B'; attached: A"),
        ({"A": "device", "B": "device"}, "adb", "2 phones are attached; say which one is meant: adb:A, adb:B"),
        ({"A": "unauthorized"}, "adb", "the phone 'A' does not trust this computer: unlock it"),
        ({"A": "offline"}, "adb:A", "the phone 'A' is offline: unplug it"),
        ({"A": "no permissions (user in plugdev group)"}, "adb", "the phone 'A' may not be opened by this user"),
        ({"A": "recovery"}, "adb", "the phone 'A' runs its recovery system"),
        ({"A": "rescue"}, "adb", "the phone 'A' is not ready: adb calls its state 'rescue'"),
    ],
)
def test_phones_that_are_not_ready(serve, states, name, sentence):
    for phone, state in zip(serve(*states), states.values(), strict=True):
        phone.state = state
    with pytest.raises(DeviceError, match=f"^{re.escape(sentence)}"):
        open_device(name)


def test_the_phone_that_the_environment_names(serve, monkeypatch):
    serve("A", "B")
    monkeypatch.setenv("ANDROID_SERIAL", "B")
    assert open_device("adb").name == "adb:B"
    assert phones() == {"A": "device", "B": "device"}


def test_a_phone_on_the_network(serve):
    serve("192.168.1.7:5555")
    assert open_device("adb:192.168.1.7:5555").properties().architecture == "aarch64"


def test_trust_that_is_withdrawn(phone, tmp_path):
    device = open_device("adb")
    phone.state = "unauthorized"
    for use in (device.hashes, device.properties, lambda: device.push(Path(__file__), "x")):
        with pytest.raises(DeviceError, match="it does not trust this computer: unlock it and accept"):
            use()


def test_adb_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("ANDROID_HOME", raising=False)
    monkeypatch.delenv("ANDROID_SDK_ROOT", raising=False)
    with pytest.raises(DeviceError, match=r"^phones are reached by 'adb', which is not installed"):
        open_device("adb")


def test_adb_of_an_sdk_is_found(phone, monkeypatch, tmp_path):
    (tmp_path / "platform-tools").mkdir()
    (tmp_path / "platform-tools" / "adb").symlink_to(str(shutil.which("adb")))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("ANDROID_HOME", str(tmp_path))
    assert open_device("adb").name == "adb:PHONE1"


def test_a_server_that_does_not_start(monkeypatch, tmp_path):
    adb = tmp_path / "adb"
    adb.write_text(
        "#!/bin/sh\necho '* daemon not running; starting now at tcp:5037' >&2\n"
        "echo 'adb: error: cannot connect to daemon at tcp:5037: Connection refused.' >&2\nexit 1\n"
    )
    adb.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(DeviceError) as found:
        open_device("adb")
    assert str(found.value) == "'adb devices' failed: cannot connect to daemon at tcp:5037: Connection refused"
