"""Counting needs QEMU, a C compiler and the runner folder: without one of them the tests that count are skipped."""

import pytest

from secateur.runtime_targets.devices import DeviceError
from secateur.runtime_targets.devices.counting import build_plugin
from secateur.runtime_targets.devices.emulated import emulator
from secateur.runtime_targets.devices.runner_folder import runner_folder


@pytest.fixture(scope="session")
def counting():
    """The plugin and the emulator."""
    try:
        return build_plugin(), emulator(), runner_folder()
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def mca():
    """llvm-mca."""
    from secateur.runtime_targets.devices.counting import cycles

    try:
        return cycles.model()
    except DeviceError as error:
        pytest.skip(str(error))
