"""Puts folders of files onto a device: only what is not there yet, and a folder is there whole or not at all.

Every version of a thing has a folder of its own, named by the hashes of its files: what has that name is complete. It
is filled under another name, files that lie elsewhere on the device are copied there, the others pushed; then all
hashes are compared, and the folder gets its name. What a broken attempt left behind is taken up by the next one.
"""

import contextlib
import copy
import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .device import Device, DeviceError

_STAGING = ".new-"
_SHELL_SECONDS = 300.0
# A full disk breaks more on a phone than an installation.
_RESERVE_BYTES = 32 << 20


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file of this machine, its SHA-256 and its size."""

    path: Path
    sha256: str
    size_bytes: int

    @classmethod
    def of(cls, path: Path) -> "SourceFile":
        with path.open("rb") as file:
            return cls(path, hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What it takes to have `files` (name -> file) on a device as the folder `name`.

    `whole`: nothing, it is there. `kept`: names that an earlier attempt brought; `copied`: name -> where on the device
    the same file lies; `pushed`: names of the others. `outdated`: folders of other versions, and what else goes.
    """

    name: str
    files: Mapping[str, SourceFile]
    whole: bool
    kept: tuple[str, ...] = ()
    copied: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pushed: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()

    @property
    def staging(self) -> str:
        """The folder's name until it is complete."""
        return f"{_STAGING}{self.name}"

    @property
    def pushed_bytes(self) -> int:
        return sum(self.files[name].size_bytes for name in self.pushed)

    @property
    def new_bytes(self) -> int:
        """What it takes of the device's disk before old versions go."""
        return self.pushed_bytes + sum(self.files[name].size_bytes for name in self.copied)


def folder_name(label: str, hashes: Mapping[str, str]) -> str:
    """The name of the folder for files with these hashes (name -> SHA-256)."""
    digest = hashlib.sha256("".join(f"{name}\0{sha}\0" for name, sha in sorted(hashes.items())).encode())
    return f"{_safe(label)}-{digest.hexdigest()[:12]}"


def _safe(label: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", label).strip("-.") or "unnamed"


def plan(there: Mapping[str, str], label: str, files: Mapping[str, SourceFile]) -> Plan:
    """`there`: the device's `hashes()`. `label`: what the files are; folders with another label are left alone."""
    name = folder_name(label, {n: file.sha256 for n, file in files.items()})
    folders = {path.partition("/")[0] for path in there if "/" in path}
    versions = re.compile(rf"(?:{re.escape(_STAGING)})?{re.escape(_safe(label))}-[0-9a-f]{{12}}")
    outdated = tuple(sorted(f for f in folders if versions.fullmatch(f) and f != name))
    if _matches(there, name, files):
        return Plan(name, files, whole=True, outdated=outdated)
    staging = f"{_STAGING}{name}"
    places = {digest: path for path, digest in sorted(there.items()) if not path.startswith(f"{staging}/")}
    kept = tuple(n for n, file in files.items() if there.get(f"{staging}/{n}") == file.sha256)
    copied = {n: places[file.sha256] for n, file in files.items() if n not in kept and file.sha256 in places}
    pushed = tuple(n for n in files if n not in kept and n not in copied)
    return Plan(name, files, False, kept, copied, pushed, tuple(f for f in outdated if f != staging))


def _matches(there: Mapping[str, str], folder: str, files: Mapping[str, SourceFile]) -> bool:
    return all(there.get(f"{folder}/{name}") == file.sha256 for name, file in files.items())


def check_space(device: Device, plans: list[Plan], free_bytes: int) -> None:
    """Raises `DeviceError` where the device's disk does not hold what the plans add."""
    needed = sum(p.new_bytes for p in plans)
    if needed and needed + _RESERVE_BYTES > free_bytes:
        raise DeviceError(
            f"'{device.name}' has {free_bytes / 1e6:.1f} MB free, and {(needed + _RESERVE_BYTES) / 1e6:.1f} MB are "
            f"needed, of which {_RESERVE_BYTES / 1e6:.1f} MB are left free"
        )


def inside(device: Device, name: str) -> Device:
    """The same device with the folder `name` of its folder as its own."""
    narrower = copy.copy(device)
    narrower.folder = f"{device.folder}/{name}"
    return narrower


@contextlib.contextmanager
def staged(device: Device, plan: Plan, progress: Callable[[str], None] = lambda stage: None) -> Iterator[str]:
    """Carries out a plan: within the block all files are in the folder whose name it yields; after the block the
    folder has the plan's name and outdated ones are gone. After an error nothing of it is left, as far as the device
    still answers. Raises `DeviceError`.
    """
    if plan.whole:
        yield plan.name
    else:
        try:
            _fill(device, plan, progress)
            yield plan.staging
            # Something damaged may stand there: the plan found that it is not whole.
            _shell(device, "rm", "-rf", plan.name)
            _shell(device, "mv", plan.staging, plan.name)
        except BaseException:
            with contextlib.suppress(DeviceError):
                _shell(device, "rm", "-rf", plan.staging)
            raise
    if plan.outdated:
        _shell(device, "rm", "-rf", *plan.outdated)


def _fill(device: Device, plan: Plan, progress: Callable[[str], None]) -> None:
    folders = {f"{plan.staging}/{name}".rpartition("/")[0] for name in plan.files}
    _shell(device, "mkdir", "-p", *sorted(folders))
    for name, place in plan.copied.items():
        _shell(device, "cp", "-p", place, f"{plan.staging}/{name}")
    done = 0
    for number, name in enumerate(plan.pushed):
        megabytes = f"{done / 1e6:.0f} of {plan.pushed_bytes / 1e6:.0f} MB"
        progress(f"pushing to {device.name}, {number + 1} of {len(plan.pushed)} files, {megabytes}")
        device.push(plan.files[name].path, f"{plan.staging}/{name}")
        done += plan.files[name].size_bytes
    progress(f"comparing hashes on {device.name}")
    found = inside(device, plan.staging).hashes()
    for name in sorted(set(found) - set(plan.files)):
        device.remove(f"{plan.staging}/{name}")
    for name, file in plan.files.items():
        if found.get(name) != file.sha256:
            raise DeviceError(f"'{name}' arrived damaged on '{device.name}': its SHA-256 is not that of '{file.path}'")


def _shell(device: Device, *arguments: str) -> None:
    done = device.shell(arguments, timeout=_SHELL_SECONDS)
    if done.status:
        full = "No space left on device" in done.err
        reason = "its disk is full" if full else f"'{arguments[0]}' {done.fault()}"
        raise DeviceError(f"files cannot be put in place on '{device.name}': {reason}")
