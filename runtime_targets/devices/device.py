"""A device: a folder somewhere in which a bundle's code lies, and programs that are started there."""

import abc
import contextlib
import dataclasses
import hashlib
import secrets
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from secateur.dialects.errors import SecateurError


class DeviceError(SecateurError):
    """A device cannot be had or does not do what it is asked for; the text is one sentence."""


@dataclasses.dataclass(frozen=True)
class VulkanProperties:
    """The device's GPU: its name, the Vulkan version it offers ("1.3.274"), the subgroup sizes its code can have (none:
    not known), and whether it computes in half precision."""

    device_name: str
    api_version: str
    subgroup_sizes: tuple[int, ...]
    f16: bool = False


@dataclasses.dataclass(frozen=True)
class Properties:
    """What a device can do.

    `architecture` as in `uname -m`, `cpu_features` as in /proc/cpuinfo; `free_bytes` where the folder lies;
    `android_api`: its level, None off Android; `vulkan`: None where there is none or nothing tells.
    """

    architecture: str
    cpu_features: frozenset[str]
    free_bytes: int
    android_api: int | None = None
    vulkan: VulkanProperties | None = None


@dataclasses.dataclass(frozen=True)
class Completed:
    """A program that ended: its exit status (negative: the signal that ended it), standard output and error."""

    status: int
    out: str
    err: str

    def fault(self) -> str:
        """Why it failed, as the end of a sentence ("was ended by SIGILL ..."); empty where it did not."""
        if self.status == 0:
            return ""
        # A shell reports a signal as 128 more than its number.
        number = -self.status if self.status < 0 else self.status - 128
        with contextlib.suppress(ValueError):
            name = signal.Signals(number).name
            known = {
                "SIGILL": ": its code has an instruction that the CPU lacks",
                "SIGKILL": ": the system may have been out of memory",
            }
            return f"was ended by {name}{known.get(name, '')}"
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return f"failed with status {self.status}" + (f": {lines[0].rstrip(';.')}" if lines else "")


class Device(abc.ABC):
    """Where a bundle's code runs. Close it after use; what lies in `folder` stays where the device keeps it."""

    name: str
    """As `open_device` takes it: "local", "qemu:cortex-a76", "adb:SERIAL"."""
    folder: str
    """Where its files lie, as the device names it."""

    def __enter__(self) -> "Device":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027
        """Ends what the device holds open; nothing, for most."""

    @abc.abstractmethod
    def properties(self) -> Properties:
        """What the device can do. Raises `DeviceError`."""

    @abc.abstractmethod
    def hashes(self) -> dict[str, str]:
        """Name -> SHA-256 of every file in the folder. Raises `DeviceError`."""

    @abc.abstractmethod
    def push(self, source: Path, name: str) -> None:
        """Copies a file of this machine to `name` in the folder, whole or not at all. Raises `DeviceError`."""

    @abc.abstractmethod
    def pull(self, name: str, to: Path) -> None:
        """Copies a file of the folder to this machine. Raises `DeviceError`."""

    @abc.abstractmethod
    def remove(self, name: str) -> None:
        """Removes a file from the folder; one that is not there is no error. Raises `DeviceError`."""

    @abc.abstractmethod
    def program(self, name: str) -> list[str]:
        """The words for `shell` that start IREE's program `name` ("iree-run-module"). Raises `DeviceError`."""

    @abc.abstractmethod
    def shell(self, arguments: Sequence[str], *, timeout: float) -> Completed:
        """Runs a program in the folder until it ends. Raises `DeviceError` after `timeout` seconds."""


class FolderDevice(Device):
    """A device whose folder is one of this machine's."""

    def hashes(self) -> dict[str, str]:
        found = {}
        for file in sorted(Path(self.folder).rglob("*")):
            if file.is_file():
                with file.open("rb") as opened:
                    digest = hashlib.file_digest(opened, "sha256").hexdigest()
                found[file.relative_to(self.folder).as_posix()] = digest
        return found

    def push(self, source: Path, name: str) -> None:
        self._copy(source, Path(self.folder) / name)

    def pull(self, name: str, to: Path) -> None:
        self._copy(Path(self.folder) / name, to)

    def remove(self, name: str) -> None:
        (Path(self.folder) / name).unlink(missing_ok=True)

    def _copy(self, source: Path, target: Path) -> None:
        new = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as given, new.open("wb") as taken:
                while chunk := given.read(1 << 22):
                    taken.write(chunk)
            new.replace(target)
        except OSError as error:
            new.unlink(missing_ok=True)
            raise DeviceError(f"'{source}' cannot be copied to '{target}': {error.strerror or error}") from None

    def shell(self, arguments: Sequence[str], *, timeout: float) -> Completed:
        return run_program(arguments, timeout=timeout, folder=self.folder, where=self.name)


def run_program(arguments: Sequence[str], *, timeout: float, folder: str | None = None, where: str = "") -> Completed:
    """Runs a program of this machine. Raises `DeviceError` where it does not start or end."""
    on = f" on '{where}'" if where else ""
    try:
        done = subprocess.run(
            list(arguments),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"'{Path(arguments[0]).name}'{on} did not end within {timeout:g} seconds") from None
    except OSError as error:
        raise DeviceError(f"'{arguments[0]}'{on} cannot be started: {error.strerror or error}") from None
    return Completed(done.returncode, done.stdout, done.stderr)
