"""The GPU of this machine under a session: found, compared with the code, opened, and read back from.

Vulkan's drivers read their settings from the environment when they are loaded, once for a process. Code for another
number of lanes than the driver's runs in a process of its own: `lavapipe`.
"""

import os
from typing import Any

import iree.runtime as rt
import numpy as np

from ..devices.device import DeviceError
from ..devices.vulkan_device import vulkan_devices, vulkan_fault


def gpu_uri(subgroup: int | None) -> str:
    """IREE's name of the first GPU of this machine that may run code that relies on `subgroup` lanes (None: on any).

    Raises `DeviceError` with what is wrong with the first, where there is none.
    """
    # Mesa's cache of shaders does not know how many lanes a shader was made for, and returns one of another number.
    os.environ.setdefault("MESA_SHADER_CACHE_DISABLE", "true")
    faults = {}
    for uuid, properties in vulkan_devices().items():
        faults[uuid] = vulkan_fault(subgroup, properties)
        if faults[uuid] is None:
            return f"vulkan://GPU-{uuid}"
    raise DeviceError(next(iter(faults.values()), None) or "there is no GPU with Vulkan")


def open_gpu(subgroup: int | None) -> Any:
    """IREE's device for the GPU of `gpu_uri`, whose errors it raises."""
    uri = gpu_uri(subgroup)
    return rt._binding.create_hal_driver("vulkan").create_device_by_uri(uri)


def read_back(device: Any, array: Any) -> np.ndarray:
    """A copy of an array on the GPU, through a buffer that both sides see.

    `DeviceArray.to_host` would have the driver copy straight into NumPy's memory, which Vulkan takes only where it
    happens to begin at a page.
    """
    source = array._buffer_view.get_buffer()
    if not source.byte_length():
        return np.empty(array.shape, array.dtype)
    staging = device.allocator.allocate_buffer(
        memory_type=int(rt.MemoryType.HOST_LOCAL | rt.MemoryType.DEVICE_VISIBLE),
        allowed_usage=int(rt.BufferUsage.TRANSFER_TARGET | rt.BufferUsage.MAPPING_SCOPED),
        allocation_size=source.byte_length(),
    )
    done = device.create_semaphore(0)
    device.queue_copy(
        source,
        staging,
        wait_semaphores=rt.HalFence.create_at(done, 0),
        signal_semaphores=rt.HalFence.create_at(done, 1),
    )
    rt.HalFence.create_at(done, 1).wait()
    mapped = staging.map().asarray(array._buffer_view.shape, array._get_raw_dtype())
    return np.array(mapped, dtype=array.dtype, copy=True)
