"""Devices: where compiled code runs that is not for this process. Never imports torch or the compiler.

from secateur.runtime_targets.devices import RemoteSession, open_device
with open_device("qemu:cortex-a76") as device:
    outputs = RemoteSession(device, bundle, "android-arm64").run(arrays)
"""

import difflib
import importlib
from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

from .device import Completed, Device, DeviceError, Properties, VulkanProperties

if TYPE_CHECKING:
    from .remote_session import RemoteSession

__all__ = [
    "Completed",
    "Device",
    "DeviceError",
    "Properties",
    "RemoteSession",
    "VulkanProperties",
    "check_kind",
    "device_kinds",
    "open_device",
]

# Kind -> (module, class called with (argument, folder), what it is, in one line).
_KINDS: dict[str, tuple[str, str, str]] = {
    "qemu": ("emulated", "EmulatedCpu", "qemu:MODEL, an Arm CPU emulated here, for example qemu:cortex-a76"),
    "adb": ("adb", "AdbDevice", "adb:SERIAL, an Android phone, or adb where one is attached"),
    "local": ("local", "LocalDevice", "local, this machine"),
}


def device_kinds() -> dict[str, str]:
    """Kind -> how its devices are named, in one line."""
    return {kind: summary for kind, (_, _, summary) in _KINDS.items()}


def check_kind(name: str) -> None:
    """Raises `DeviceError`, with the nearest name, where there is no such kind of device."""
    kind, _, argument = name.partition(":")
    if kind not in _KINDS:
        near = difflib.get_close_matches(kind, _KINDS, n=1, cutoff=0.0)[0]
        meant = f"{near}:{argument}" if argument else near
        known = "; ".join(device_kinds().values())
        raise DeviceError(f"there is no device '{name}'; did you mean '{meant}'? Known are: {known}", usage=True)


def open_device(name: str, *, folder: str | None = None) -> Device:
    """The device `KIND` or `KIND:ARGUMENT`. `folder`: where its files are kept (default: the kind's own).

    Raises `DeviceError`, with the nearest name where there is no such kind.
    """
    check_kind(name)
    kind, _, argument = name.partition(":")
    module, made_by, _ = _KINDS[kind]
    make = getattr(importlib.import_module(f"{__name__}.{module}"), made_by)
    device: Device = make(argument, folder) if argument else make(folder=folder)
    return device


__getattr__, __dir__ = lazy_names(__name__, {"RemoteSession": "remote_session"})
