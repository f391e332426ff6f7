"""Android phones over adb: files go to a folder below /data/local/tmp, programs are started in adb's shell.

This goes through the `adb` program of Android's platform tools, which whoever has a phone for development has. The
library `adbutils` (2.12) was weighed and not taken: it starts the same program for its server, ships a second copy of
it, needs `requests` and Pillow, knows no time limit on a push and keeps to itself why the phone refused one.

It was tested against a stand-in for adb's server with an emulated Arm CPU behind it, and never on a phone.
"""

import contextlib
import copy
import os
import re
import secrets
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .device import Completed, Device, DeviceError, Properties, VulkanProperties
from .local import pin_words
from .runner_folder import LOADER, RUNNER_FILES, runner_folder
from .staging import Plan, SourceFile, plan, staged
from .vulkan_device import parse_vkjson

ROOT = "/data/local/tmp/secateur"
"""Where everything of Secateur's lies on a phone. Programs may be started below /data/local/tmp, and not on /sdcard."""

LABEL = (
    "this way onto a phone was tested against a stand-in adb server with an emulated Arm CPU behind it, never run on a "
    "phone"
)
"""What is known of this way onto a phone, for whoever is shown its results."""

_QUICK_SECONDS = 60.0
# The slowest cable or wireless connection that is still waited for.
_BYTES_A_SECOND = 250_000
_STATES = {
    "unauthorized": "does not trust this computer: unlock it and accept its question about USB debugging",
    "authorizing": "is still being asked whether it trusts this computer: unlock it and accept",
    "offline": "is offline: unplug it and plug it in again, or run 'adb reconnect offline'",
    "no permissions": "may not be opened by this user: Android's udev rules are missing "
    "(Debian has them in 'android-sdk-platform-tools-common')",
    "recovery": "runs its recovery system: start Android on it",
    "sideload": "runs its recovery system: start Android on it",
    "bootloader": "is in its boot loader: start Android on it",
}


def adb_program() -> str:
    """The path of `adb`, from $PATH or an Android SDK. Raises `DeviceError` where there is none."""
    sdks = [os.environ[name] for name in ("ANDROID_HOME", "ANDROID_SDK_ROOT") if os.environ.get(name)]
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *(f"{sdk}/platform-tools" for sdk in sdks)])
    found = shutil.which("adb", path=path)
    if found is None:
        raise DeviceError(
            "phones are reached by 'adb', which is not installed: it comes with Android's platform tools, and Debian "
            "and Ubuntu have it in the package 'adb'"
        )
    return found


def phones() -> dict[str, str]:
    """Serial -> state, as `adb devices` lists them ("device": ready). Raises `DeviceError`."""
    done = _call(["devices"], "adb", _QUICK_SECONDS)
    if done.returncode:
        raise DeviceError(f"'adb devices' failed: {_first_line(done)}")
    lines = [line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line]
    return {serial: state.strip() for serial, state in lines}


class AdbDevice(Device):
    """`adb:SERIAL`; `adb` alone: $ANDROID_SERIAL, or the one phone that is attached.

    `folder`: where its files lie, below `ROOT`. `pinned`: the CPU cores that programs are started on (empty: any).
    Raises `DeviceError` for a phone that is not there or not ready.
    """

    def __init__(self, serial: str = "", folder: str | None = None) -> None:
        self.serial = _ready(serial or os.environ.get("ANDROID_SERIAL", ""))
        self.name = f"adb:{self.serial}"
        self.folder = folder or ROOT
        self.pinned: tuple[int, ...] = ()
        self._runner: str | None = None
        self._properties: Properties | None = None

    def properties(self) -> Properties:
        # Asked once: whoever loads code asks again, for each target.
        if self._properties is None:
            self._properties = self._ask()
        return self._properties

    def _ask(self) -> Properties:
        # One call for all: each costs a round trip.
        parts = (
            "getprop ro.product.cpu.abilist",
            "getprop ro.build.version.sdk",
            "uname -m",
            "cat /proc/cpuinfo",
            "df -k /data/local/tmp",
            "cmd gpu vkjson",
        )
        separator = secrets.token_hex(8)
        done = self._run(f"\necho {separator}\n".join(parts), _QUICK_SECONDS)
        found = [part.strip() for part in done.out.split(separator)]
        if len(found) != len(parts):
            raise DeviceError(f"'{self.name}' does not say what it is: {done.fault() or 'unexpected answers'}")
        abis, api, machine, cores, disk, gpu = found
        free = re.search(r"(\d+)\s+\d+%\s+\S+$", disk)
        if free is None:
            raise DeviceError(f"'{self.name}' does not say how much space is free below /data/local/tmp")
        # Cores differ; a thread may run on any of them.
        features = [set(line.split()) for line in re.findall(r"^Features\s*:(.*)$", cores, re.MULTILINE)]
        return Properties(
            architecture=_architecture(abis, machine),
            cpu_features=frozenset(set.intersection(*features) if features else ()),
            free_bytes=int(free.group(1)) * 1024,
            android_api=int(api) if api.isdigit() else None,
            vulkan=_gpu(gpu),
        )

    def hashes(self) -> dict[str, str]:
        # `find` of a folder that is not there would be an error.
        folder = shlex.quote(self.folder)
        command = f"if [ -d {folder} ]; then cd {folder} && find . -type f -exec sha256sum {{}} +; fi"
        done = self._run(command, _QUICK_SECONDS * 5)
        if done.status:
            raise DeviceError(f"the files on '{self.name}' cannot be listed: 'sha256sum' {done.fault()}")
        lines = re.findall(r"^([0-9a-f]{64})\s+\*?\./(.*)$", done.out, re.MULTILINE)
        return {name.rstrip("\r"): digest for digest, name in lines}

    def push(self, source: Path, name: str) -> None:
        target = f"{self.folder}/{name}"
        new = f"{target}.{secrets.token_hex(4)}.new"
        what = f"'{source.name}' cannot be copied to '{self.name}'"
        limit = _QUICK_SECONDS + source.stat().st_size / _BYTES_A_SECOND
        try:
            self._adb(["push", str(source), new], limit, what)
            done = self._run(shlex.join(["mv", "-f", new, target]), _QUICK_SECONDS)
            if done.status:
                raise DeviceError(f"{what}: 'mv' {done.fault()}")
        except BaseException:
            # Where the phone is gone, the next installation removes it.
            with contextlib.suppress(DeviceError):
                self._run(shlex.join(["rm", "-f", new]), _QUICK_SECONDS)
            raise

    def pull(self, name: str, to: Path) -> None:
        to.parent.mkdir(parents=True, exist_ok=True)
        new = to.with_name(f".{to.name}.{secrets.token_hex(4)}.new")
        what = f"'{name}' cannot be copied from '{self.name}'"
        try:
            self._adb(["pull", f"{self.folder}/{name}", str(new)], _QUICK_SECONDS * 10, what)
            new.replace(to)
        finally:
            new.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        done = self._run(shlex.join(["rm", "-f", f"{self.folder}/{name}"]), _QUICK_SECONDS)
        if done.status:
            raise DeviceError(f"'{name}' cannot be removed from '{self.name}': 'rm' {done.fault()}")

    def program(self, name: str) -> list[str]:
        if self._runner is None:
            self.install_runner(self.plan_runner(self._root().hashes()))
        folder = f"{ROOT}/{self._runner}"
        return [*pin_words(self.pinned), f"{folder}/{LOADER}", "--library-path", folder, f"{folder}/{name}"]

    def plan_runner(self, there: Mapping[str, str]) -> Plan:
        """What it takes to have the runner folder on the phone. `there`: the hashes of what lies in `ROOT`."""
        folder = runner_folder()
        return plan(there, "runner", {name: SourceFile.of(folder / name) for name in RUNNER_FILES})

    def install_runner(self, wanted: Plan, progress: Callable[[str], None] = lambda stage: None) -> None:
        """Puts the runner folder on the phone. Raises `DeviceError`."""
        with staged(self._root(), wanted, progress):
            pass
        self._runner = wanted.name

    def _root(self) -> "AdbDevice":
        root = copy.copy(self)
        root.folder = ROOT
        return root

    def shell(self, arguments: Sequence[str], *, timeout: float) -> Completed:
        folder = shlex.quote(self.folder)
        return self._run(f"mkdir -p {folder} && cd {folder} && {shlex.join(arguments)}", timeout)

    def _run(self, command: str, timeout: float) -> Completed:
        """A command of the phone's shell, wherever adb puts it."""
        # When the phone goes away, adb ends without an error and with half of the output; phones older than Android 7
        # pass on no status. So the end and the status come with the output.
        end = f"end-{secrets.token_hex(8)}"
        done = _call(
            ["-s", self.serial, "shell", "-n", f"{command}\nstatus=$?; echo; echo {end} $status"], self.name, timeout
        )
        out, found, status = done.stdout.replace("\r\n", "\n").rpartition(f"\n{end} ")
        if not found:
            raise DeviceError(f"'{self.name}' does not answer: {self._reason(done)}")
        return Completed(int(status), out, done.stderr)

    def _adb(self, arguments: list[str], timeout: float, what: str) -> None:
        done = _call(["-s", self.serial, *arguments], self.name, timeout)
        if done.returncode:
            raise DeviceError(f"{what}: {self._reason(done)}")

    def _reason(self, done: "subprocess.CompletedProcess[str]") -> str:
        """Why adb failed: what became of the phone, or else what the phone said."""
        text = done.stderr + done.stdout
        if "No space left on device" in text:
            return "its disk is full"
        try:
            state = phones().get(self.serial)
        except DeviceError as error:
            return str(error)
        if state is None:
            return "it was unplugged"
        if state != "device":
            return f"it {_meaning(state)}"
        return _first_line(done)


def _architecture(abis: str, machine: str) -> str:
    """`uname -m` tells of the kernel; whether 64-bit programs run, the list of ABIs tells."""
    known = {"arm64-v8a": "aarch64", "x86_64": "x86_64", "armeabi-v7a": "armv7l", "x86": "i686"}
    # The phone's own ABI stands first; an emulated one may follow.
    return known.get(abis.partition(",")[0].strip(), machine)


def _gpu(answer: str) -> VulkanProperties | None:
    """What `cmd gpu vkjson` printed; None where the phone has no such command, or no Vulkan."""
    try:
        return parse_vkjson(answer[answer.find("{") :])
    except DeviceError:
        return None


def _ready(serial: str) -> str:
    """The serial of a phone that is ready. Raises `DeviceError`."""
    found = phones()
    if not serial:
        if not found:
            raise DeviceError(
                "no phone is attached: connect one with USB debugging switched on, or 'adb connect' one by its address"
            )
        if len(found) > 1:
            names = ", ".join(f"adb:{name}" for name in sorted(found))
            raise DeviceError(f"{len(found)} phones are attached; say which one is meant: {names}")
        serial = next(iter(found))
    if serial not in found:
        others = ", ".join(sorted(found)) or "none"
        raise DeviceError(f"there is no phone '{serial}'; attached: {others}")
    if found[serial] != "device":
        raise DeviceError(f"the phone '{serial}' {_meaning(found[serial])}")
    return serial


def _meaning(state: str) -> str:
    for word, meaning in _STATES.items():
        if state.startswith(word):
            return meaning
    return f"is not ready: adb calls its state '{state}'"


def _call(arguments: Sequence[str], where: str, timeout: float) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            [adb_program(), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"'{where}' did not answer within {timeout:.0f} seconds") from None
    except OSError as error:
        raise DeviceError(f"'adb' cannot be started: {error.strerror or error}") from None


def _first_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The error that adb printed, without the notes on its server around it."""
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip(" *")]
    told = [line for line in lines if "error" in line or "fault" in line or "cannot" in line] or lines
    text = told[0] if told else f"adb ended with status {done.returncode}"
    return re.sub(r"^(adb: )?(error: )?", "", text).rstrip(".")
