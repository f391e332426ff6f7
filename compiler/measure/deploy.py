"""Puts a bundle onto a device: checks first, then only what is not there yet, then a self-test, and only then its name.

Everything that the device must have is asked before a byte is pushed. The code, its weights and, on a phone, the
programs that run it are staged (`runtime_targets.devices.staging`): whatever goes wrong, the version that was there
before stays, and of the new one nothing.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from secateur.runtime_targets.bundle import Bundle, open_bundle
from secateur.runtime_targets.devices import Device, DeviceError, Properties, RemoteSession, open_device
from secateur.runtime_targets.devices.adb import LABEL, AdbDevice
from secateur.runtime_targets.devices.device_lock import sole_use
from secateur.runtime_targets.devices.local import LocalDevice, installation_folder
from secateur.runtime_targets.devices.remote_session import check_fits
from secateur.runtime_targets.devices.staging import Plan, SourceFile, check_space, inside, plan, staged
from secateur.runtime_targets.devices.vulkan_device import vulkan_devices, vulkan_fault

from .self_test import SelfTestResult, run_self_test

if TYPE_CHECKING:
    from secateur.runtime_targets.manifest import TargetFiles

Progress = Callable[[str], None]

RUNNER = "runner/"
"""What names of the programs begin with in a `Deployment`."""


@dataclasses.dataclass(frozen=True)
class Deployment:
    """What was done. `folder`: where the bundle's files lie, as the device names it.

    File name -> bytes: `pushed` from this machine, `copied` from another version on the device, `skipped` because they
    were there. `runner`: whether programs to run the code were put beside it. `removed`: folders of older versions.
    `self_test`: None where it could not run, and `notes` says why; `notes` are sentences for the user.
    """

    device: str
    target: str
    folder: str
    pushed: dict[str, int]
    copied: dict[str, int]
    skipped: dict[str, int]
    removed: tuple[str, ...]
    self_test: SelfTestResult | None
    notes: tuple[str, ...]


def deploy(
    path: str | os.PathLike[str],
    device: str = "adb",
    *,
    target: str | None = None,
    progress: Progress = lambda stage: None,
) -> Deployment:
    """Deploys the bundle at `path` to `device` (as `open_device` takes it; "adb": the one phone that is attached).

    `target`: whose code; None: that with the most CPU features of those that the device can run. A second call pushes
    nothing and tests again. Raises `BundleError`, `DeviceError` or `SelfTestError`, each one sentence.
    """
    with deployed(path, device, target=target, progress=progress) as (_, _, _, done):
        return done


@contextmanager
def deployed(
    path: str | os.PathLike[str], device: str, *, target: str | None = None, progress: Progress
) -> Iterator[tuple[Bundle, Device, str, Deployment]]:
    """Deploys, and yields the bundle, the device with the bundle's folder as its own, the target and what was done.

    Others who deploy to the device wait for the end of the block.
    """
    progress("reading the bundle")
    with open_bundle(path, runnable=False) as bundle, _open(device) as opened, sole_use(opened.name, progress):
        progress(f"asking {opened.name} what it can do")
        properties = opened.properties()
        chosen = choose_target(bundle, opened, properties, target)
        there = opened.hashes()
        wanted = plan(there, f"{bundle.manifest.model.name}-{chosen.name}", _files(bundle, chosen))
        runner = opened.plan_runner(there) if isinstance(opened, AdbDevice) and _runs_there(opened, chosen) else None
        plans = [p for p in (runner, wanted) if p is not None]
        check_space(opened, plans, properties.free_bytes)
        if runner is not None and isinstance(opened, AdbDevice):
            opened.install_runner(runner, progress)
        result, notes = None, [LABEL] if isinstance(opened, AdbDevice) else []
        with staged(opened, wanted, progress) as folder:
            if not _runs_there(opened, chosen):
                notes.append(
                    "the code for the GPU was put there but not run: that takes a runtime built with Android's NDK"
                )
            else:
                progress(f"self-test on {opened.name}")
                session = RemoteSession(inside(opened, folder), bundle, chosen.name)
                result = run_self_test(bundle, chosen.name, session)
                if result is None:
                    notes.append("the bundle has no self-test: compile the model again with this version of Secateur")
        yield bundle, inside(opened, wanted.name), chosen.name, _report(opened, chosen, plans, wanted, result, notes)


def _open(name: str) -> Device:
    # An emulated CPU has a temporary folder unless it is given one.
    return open_device(name, folder=installation_folder(name) if name.startswith("qemu:") else None)


def _runs_there(device: Device, files: "TargetFiles") -> bool:
    """Whether the programs that are put beside the code can run it: on Android they cannot load its Vulkan driver."""
    return not (isinstance(device, AdbDevice) and files.backend == "vulkan")


def choose_target(bundle: Bundle, device: Device, properties: Properties, name: str | None) -> "TargetFiles":
    """The target of that name, or the best that the device can run. Raises `BundleError` or `DeviceError`."""
    if name is not None:
        chosen = bundle.target(name)
        _check(device, properties, chosen)
        return chosen
    fitting, reasons = [], []
    for candidate in bundle.manifest.targets:
        try:
            _check(device, properties, candidate)
        except DeviceError as error:
            reasons.append(str(error))
        else:
            fitting.append(candidate)
    if not fitting:
        raise DeviceError("; ".join(reasons))
    # CPUs before GPUs, whose code may have no runtime there.
    return max(fitting, key=lambda t: (t.backend != "vulkan", len(t.cpu_features)))


def _check(device: Device, properties: Properties, target: "TargetFiles") -> None:
    """Raises `DeviceError` unless the device has the ABI, the CPU features and the Vulkan the code is made for."""
    check_fits(device, target)
    if target.backend == "vulkan":
        gpu = properties.vulkan
        if isinstance(device, LocalDevice):
            gpu = next(iter(vulkan_devices().values()))
        fault = vulkan_fault(target.subgroup, gpu)
        if fault is not None:
            raise DeviceError(f"the code for target '{target.name}' cannot run on '{device.name}': {fault}")


def _files(bundle: Bundle, target: "TargetFiles") -> dict[str, SourceFile]:
    names = [target.module, *target.parameters]
    entries = bundle.manifest.files
    return {n: SourceFile(bundle.file(n), entries[n].sha256, entries[n].size_bytes) for n in names}


def _report(
    device: Device,
    target: "TargetFiles",
    plans: list[Plan],
    wanted: Plan,
    result: SelfTestResult | None,
    notes: list[str],
) -> Deployment:
    pushed, copied, skipped = {}, {}, {}
    for one in plans:
        prefix = "" if one is wanted else RUNNER
        for name, file in one.files.items():
            kind = pushed if name in one.pushed else copied if name in one.copied else skipped
            kind[f"{prefix}{name}"] = file.size_bytes
    removed = tuple(folder for one in plans for folder in one.outdated)
    folder = f"{device.folder}/{wanted.name}"
    return Deployment(device.name, target.name, folder, pushed, copied, skipped, removed, result, tuple(notes))
