"""How programs on a device fail: signals, exit statuses, time limits, half-written files. No emulator is needed."""

import sys
from pathlib import Path

import pytest

from secateur.runtime_targets.devices.device import Completed, DeviceError, FolderDevice, Properties, run_program


class Here(FolderDevice):
    """A folder of this machine."""

    name = "here"

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def properties(self) -> Properties:
        return Properties("x86_64", frozenset(), 0)

    def program(self, name: str) -> list[str]:
        return [name]


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("", ""),
        ("import os; os.kill(os.getpid(), 4)", "was ended by SIGILL: its code has an instruction that the CPU lacks"),
        ("import sys; sys.exit(128 + 11)", "was ended by SIGSEGV"),
        ("import sys; sys.exit('  first.\\nsecond')", "failed with status 1: first"),
        ("import sys; sys.exit(3)", "failed with status 3"),
    ],
)
def test_faults(code, fault, tmp_path):
    assert Here(tmp_path).shell(_python(code), timeout=60).fault() == fault


def test_a_status_that_is_no_signal():
    assert Completed(255, "", "gone").fault() == "failed with status 255: gone"


def test_a_program_that_does_not_end(tmp_path):
    with pytest.raises(DeviceError, match=r"'python[0-9.]*' on 'here' did not end within 0.2 seconds"):
        Here(tmp_path).shell(_python("import time; time.sleep(60)"), timeout=0.2)


def test_a_program_that_is_not_there():
    with pytest.raises(DeviceError, match="'/nowhere/program' cannot be started: No such file"):
        run_program(["/nowhere/program"], timeout=1)


def test_files_go_there_and_back(tmp_path):
    device = Here(tmp_path / "device")
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    device.push(source, "inner/name")
    sha256_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert device.hashes() == {"inner/name": sha256_of_abc}
    device.pull("inner/name", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"abc"
    assert device.shell(_python("print(open('inner/name').read())"), timeout=60).out == "abc\n"
    device.remove("inner/name")
    device.remove("inner/name")
    assert device.hashes() == {}


def test_a_push_that_fails_leaves_what_was_there(tmp_path):
    device = Here(tmp_path / "device")
    (tmp_path / "source").write_bytes(b"abc")
    device.push(tmp_path / "source", "name")
    with pytest.raises(DeviceError, match=r"cannot be copied to .*No such file"):
        device.push(tmp_path / "gone", "name")
    assert len(device.hashes()) == 1
    assert (tmp_path / "device" / "name").read_bytes() == b"abc"
