"""Where the code of a target can be compared with PyTorch: on this machine, on an emulated one, or nowhere."""

import contextlib
import dataclasses
import platform
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from secateur.dialects.entry_points import MAIN

if TYPE_CHECKING:
    import numpy as np

    from secateur.runtime_targets.bundle import Bundle
    from secateur.runtime_targets.targets import Target


class RunsArrays(Protocol):
    """A loaded module: `iree.Session`, or a `RemoteSession` on a device."""

    def run(self, inputs: "Sequence[np.ndarray]", function: str = MAIN) -> "list[np.ndarray]":
        """Calls a function of the model."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where code runs, as the end of a sentence. `device`: as `open_device` takes it; None: in this process."""

    where: str
    device: str | None = None


def verification_place(target: "Target") -> tuple[Place | None, str]:
    """The place for a target's code and "", or None and why there is none, as a clause."""
    reason = _unfit_here(target)
    if not reason:
        return Place("on this machine"), ""
    if target.emulator is None:
        return None, reason
    if target.backend == "vulkan":
        return _gpu_place(target.emulator)
    from secateur.runtime_targets.devices import DeviceError, open_device

    # An emulator that is not installed says so when the device is opened.
    try:
        open_device(target.emulator).close()
    except DeviceError as error:
        return None, str(error)
    return Place(f"under emulation ({target.emulator})", target.emulator), ""


def _gpu_place(device: str) -> tuple[Place | None, str]:
    from secateur.runtime_targets.iree.lavapipe import lavapipe_environment
    from secateur.runtime_targets.iree.session import SessionError

    lanes = device.partition(":")[2]
    try:
        lavapipe_environment(int(lanes))
    except SessionError as error:
        return None, str(error)
    return Place(f"on lavapipe, a GPU in software, with {lanes} lanes ({device})", device), ""


def _unfit_here(target: "Target") -> str:
    from secateur.runtime_targets.cpu import cpu_features

    if target.backend == "vulkan":
        return f"nothing here has subgroups of {target.subgroup} lanes"
    if target.architecture != platform.machine():
        return f"it is made for {target.architecture}, and this machine is {platform.machine()}"
    lacking = sorted(set(target.cpu_features) - cpu_features())
    return f"this machine lacks {', '.join(lacking)}" if lacking else ""


@contextlib.contextmanager
def session_at(place: Place, bundle: "Bundle", target: str, threads: int) -> Iterator[RunsArrays]:
    """The code of `bundle` for `target`, loaded there. Raises `SessionError`, `BundleError` or `DeviceError`."""
    if place.device is None:
        yield bundle.session(target, threads)
        return
    files = bundle.target(target)
    if files.backend == "vulkan":
        from secateur.runtime_targets.iree.lavapipe import vulkan_session

        session = vulkan_session(place.device, bundle.file(files.module), bundle.parameters(files))
        with contextlib.closing(session) if hasattr(session, "close") else contextlib.nullcontext():
            yield session
        return
    from secateur.runtime_targets.devices import RemoteSession, open_device

    with open_device(place.device) as device:
        yield RemoteSession(device, bundle, target, threads=threads)
