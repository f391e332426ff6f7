"""A compiled module that is in no bundle, on a device: copied there with its parameters, called by IREE's programs."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from secateur.dialects.entry_points import MAIN
from secateur.dialects.scratch import ScratchFolder

from . import open_device
from .device import Device, DeviceError

_SECONDS = 1200.0


def run_module(
    module: Path, archive: Path, arrays: Sequence[np.ndarray], outputs: int, device: str
) -> list[np.ndarray]:
    """The `outputs` results of `@main` of a module on `device`, as `open_device` takes it. Raises `DeviceError`."""
    with open_device(device) as opened, ScratchFolder("call") as scratch:
        command = [*loaded_commands(opened, module, archive)("iree-run-module"), *pushed(opened, arrays)]
        names = [f"output-{position}.npy" for position in range(outputs)]
        done = opened.shell([*command, *(f"--output=@{name}" for name in names)], timeout=_SECONDS)
        if done.fault():
            raise DeviceError(f"'iree-run-module' on '{device}' {done.fault()}")
        found = []
        for name in names:
            opened.pull(name, Path(scratch) / name)
            found.append(np.load(Path(scratch) / name, allow_pickle=False))
        return found


def loaded_commands(device: Device, module: Path, archive: Path) -> Callable[[str], list[str]]:
    """Copies a module and its parameters to the device; gives what starts a program of IREE's on it, on one thread."""
    device.push(module, "model.vmfb")
    device.push(archive, "weights.irpa")
    flags = ["--module=model.vmfb", f"--function={MAIN}", "--parameters=model=weights.irpa", "--device=local-sync"]
    return lambda program: [*device.program(program), *flags]


def pushed(device: Device, arrays: Sequence[np.ndarray]) -> list[str]:
    """Copies inputs to the device; the flags that name them."""
    flags = []
    with ScratchFolder("call") as scratch:
        for position, array in enumerate(arrays):
            file = Path(scratch) / f"input-{position}.npy"
            # IREE's bools are bytes.
            np.save(file, np.ascontiguousarray(array.view(np.int8) if array.dtype == np.bool_ else array))
            device.push(file, file.name)
            flags.append(f"--input=@{file.name}")
    return flags
