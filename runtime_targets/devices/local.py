"""This machine as a device: IREE's programs of the installed wheel, in a folder of the user's own."""

import os
import shutil
from collections.abc import Sequence
from importlib import util
from pathlib import Path

from secateur.dialects.user_folders import user_folder

from ..cpu import cpu_features
from .device import Completed, DeviceError, FolderDevice, Properties


def installation_folder(device: str) -> str:
    """Where what is deployed to a device of this machine lies: in `$XDG_DATA_HOME`, by default `~/.local/share`."""
    return str(user_folder("XDG_DATA_HOME").absolute() / "secateur" / device.replace(":", "-"))


class LocalDevice(FolderDevice):
    """`local`. `folder`: where its files are kept. `pinned`: the CPU cores that programs start on (empty: any)."""

    def __init__(self, argument: str = "", folder: str | None = None) -> None:
        if argument:
            raise DeviceError(
                f"the device 'local' is this machine and takes no name, found 'local:{argument}'", usage=True
            )
        self.name = "local"
        self.folder = str(Path(folder or installation_folder("local")).absolute())
        self.pinned: tuple[int, ...] = ()

    def properties(self) -> Properties:
        place = Path(self.folder)
        while not place.exists():
            place = place.parent
        return Properties(
            architecture=os.uname().machine, cpu_features=cpu_features(), free_bytes=shutil.disk_usage(place).free
        )

    def program(self, name: str) -> list[str]:
        found = util.find_spec("iree._runtime_libs")
        folders = list(found.submodule_search_locations or ()) if found is not None else []
        for folder in folders:
            if (Path(folder) / name).is_file():
                return [*pin_words(self.pinned), str(Path(folder) / name)]
        raise DeviceError(f"the installed iree-base-runtime has no program '{name}'")

    def shell(self, arguments: Sequence[str], *, timeout: float) -> Completed:
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        return super().shell(arguments, timeout=timeout)


def pin_words(cores: tuple[int, ...]) -> list[str]:
    """The words before a command that keep it on these cores, as Linux's and Android's `taskset` take them."""
    return ["taskset", f"{sum(1 << core for core in set(cores)):x}"] if cores else []
