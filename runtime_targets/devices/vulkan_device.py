"""What a GPU with Vulkan is: asked of the Vulkan loader here, read from `adb shell cmd gpu vkjson` for a phone.

The question that matters is the subgroup size. Code that uses subgroup operations is made for one number of lanes; on a
device with another it computes wrong numbers and reports no error. `vulkan_fault` is the one place where code and
device are compared, and whoever loads code asks it first. The loader is called through ctypes: the structures are
those of the Vulkan specification (chapters "Devices and Queues", "Limits", "Features").
"""

import ctypes
import ctypes.util
import json
from typing import Any

from .device import DeviceError, VulkanProperties

MINIMUM_VERSION = (1, 3)
"""The oldest Vulkan that the run time takes."""

_SUCCESS, _INCOMPLETE = 0, 5
_APPLICATION_INFO, _INSTANCE_CREATE_INFO = 0, 1
_PROPERTIES_2, _FEATURES_2 = 1000059001, 1000059000
_ID_PROPERTIES, _SUBGROUP_PROPERTIES = 1000071004, 1000094000
_SUBGROUP_SIZE_CONTROL_PROPERTIES, _FLOAT16_INT8_FEATURES = 1000225000, 1000082000
_COMPUTE_STAGE = 0x20

_u32, _pointer = ctypes.c_uint32, ctypes.c_void_p


class _ApplicationInfo(ctypes.Structure):
    _fields_ = [("sType", _u32), ("pNext", _pointer), ("pApplicationName", ctypes.c_char_p), ("application", _u32),
                ("pEngineName", ctypes.c_char_p), ("engine", _u32), ("apiVersion", _u32)]  # fmt: skip


class _InstanceCreateInfo(ctypes.Structure):
    _fields_ = [("sType", _u32), ("pNext", _pointer), ("flags", _u32), ("pApplicationInfo", _pointer),
                ("layers", _u32), ("ppLayers", _pointer), ("extensions", _u32), ("ppExtensions", _pointer)]  # fmt: skip


class _Properties2(ctypes.Structure):
    # Limits and more follow the name, 540 bytes that are not read; the room for them is larger.
    _fields_ = [("sType", _u32), ("pNext", _pointer), ("apiVersion", _u32), ("driverVersion", _u32),
                ("vendorID", _u32), ("deviceID", _u32), ("deviceType", _u32), ("deviceName", ctypes.c_char * 256),
                ("rest", ctypes.c_uint64 * 128)]  # fmt: skip


class _IdProperties(ctypes.Structure):
    _fields_ = [("sType", _u32), ("pNext", _pointer), ("deviceUUID", ctypes.c_uint8 * 16),
                ("driverUUID", ctypes.c_uint8 * 16), ("deviceLUID", ctypes.c_uint8 * 8), ("mask", _u32),
                ("valid", _u32)]  # fmt: skip


class _SubgroupProperties(ctypes.Structure):
    _fields_ = [("sType", _u32), ("pNext", _pointer), ("subgroupSize", _u32), ("stages", _u32), ("operations", _u32),
                ("quads", _u32)]  # fmt: skip


class _SubgroupSizeControl(ctypes.Structure):
    _fields_ = [("sType", _u32), ("pNext", _pointer), ("minimum", _u32), ("maximum", _u32), ("workgroup", _u32),
                ("stages", _u32)]  # fmt: skip


class _Features2(ctypes.Structure):
    _fields_ = [("sType", _u32), ("pNext", _pointer), ("features", _u32 * 55)]


class _Float16Int8(ctypes.Structure):
    _fields_ = [("sType", _u32), ("pNext", _pointer), ("float16", _u32), ("int8", _u32)]


def vulkan_devices() -> dict[str, VulkanProperties]:
    """The GPUs that the Vulkan loader of this machine finds, by their UUID (32 hexadecimal digits), in its order.

    The loader and its drivers stay in the process, with the environment that they read when they were first asked.
    Raises `DeviceError` where there is no loader, or it finds no driver.
    """
    name = ctypes.util.find_library("vulkan") or "libvulkan.so.1"
    try:
        vulkan: Any = ctypes.CDLL(name)
    except OSError:
        raise DeviceError("there is no Vulkan loader; install libvulkan1 and a driver (mesa-vulkan-drivers)") from None
    version = MINIMUM_VERSION[0] << 22 | MINIMUM_VERSION[1] << 12
    application = _ApplicationInfo(_APPLICATION_INFO, None, b"secateur", 0, None, 0, version)
    create = _InstanceCreateInfo(_INSTANCE_CREATE_INFO, None, 0, ctypes.addressof(application), 0, None, 0, None)
    instance = _pointer()
    status = vulkan.vkCreateInstance(ctypes.byref(create), None, ctypes.byref(instance))
    if status != _SUCCESS:
        raise DeviceError(f"the Vulkan loader finds no driver that it can use (status {status})")
    try:
        return dict(_ask(vulkan, device) for device in _enumerate(vulkan, instance))
    finally:
        vulkan.vkDestroyInstance(instance, None)


def _enumerate(vulkan: Any, instance: ctypes.c_void_p) -> list[ctypes.c_void_p]:
    count = _u32(0)
    status = vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
    if status == _SUCCESS and count.value:
        found = (_pointer * count.value)()
        status = vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), found)
        if status in (_SUCCESS, _INCOMPLETE):
            return [_pointer(handle) for handle in found[: count.value]]
    raise DeviceError(f"the Vulkan loader finds no GPU (status {status})")


def _ask(vulkan: Any, device: ctypes.c_void_p) -> tuple[str, VulkanProperties]:
    control = _SubgroupSizeControl(_SUBGROUP_SIZE_CONTROL_PROPERTIES, None)
    subgroup = _SubgroupProperties(_SUBGROUP_PROPERTIES, ctypes.addressof(control))
    identity = _IdProperties(_ID_PROPERTIES, ctypes.addressof(subgroup))
    properties = _Properties2(_PROPERTIES_2, ctypes.addressof(identity))
    vulkan.vkGetPhysicalDeviceProperties2(device, ctypes.byref(properties))
    half = _Float16Int8(_FLOAT16_INT8_FEATURES, None)
    features = _Features2(_FEATURES_2, ctypes.addressof(half))
    vulkan.vkGetPhysicalDeviceFeatures2(device, ctypes.byref(features))
    return bytes(identity.deviceUUID).hex(), VulkanProperties(
        device_name=properties.deviceName.decode(errors="replace"),
        api_version=_version(properties.apiVersion),
        subgroup_sizes=_sizes(subgroup.subgroupSize, control.minimum, control.maximum),
        f16=bool(half.float16),
    )


def _version(word: int) -> str:
    return f"{word >> 22 & 0x7F}.{word >> 12 & 0x3FF}.{word & 0xFFF}"


def _sizes(default: int, minimum: int, maximum: int) -> tuple[int, ...]:
    """The powers of two between the least and the largest; where a device has no such range, the one size it has."""
    if not minimum or not maximum:
        return (default,) if default else ()
    return tuple(size for size in (1 << n for n in range(8)) if minimum <= size <= maximum)


def parse_vkjson(text: str) -> VulkanProperties:
    """The first GPU in what `adb shell cmd gpu vkjson` prints.

    Android writes Vulkan's structures under their names: `properties`, for Vulkan 1.1 `subgroupProperties`, for later
    ones also `core11`, `core12` and `core13`. What is not there is not known: no subgroup size is an empty tuple.
    Raises `DeviceError` where the text holds no GPU.
    """
    try:
        whole = json.loads(text)
        device = whole["devices"][0] if "devices" in whole else whole
        properties = device["properties"]
        name, version = str(properties["deviceName"]), _version(int(properties["apiVersion"]))
    except (ValueError, KeyError, IndexError, TypeError):
        raise DeviceError("the phone's list of its Vulkan properties ('cmd gpu vkjson') holds no GPU") from None
    core = {n: _part(device, f"core{n}") for n in (11, 12, 13)}
    older = _number(_part(device, "subgroupProperties"), "subgroupSize")
    default = _number(_part(core[11], "properties"), "subgroupSize") or older
    newest = _part(core[13], "properties")
    half = _part(_part(device, "VK_KHR_shader_float16_int8"), "shaderFloat16Int8FeaturesKHR")
    return VulkanProperties(
        device_name=name,
        api_version=version,
        subgroup_sizes=_sizes(default, _number(newest, "minSubgroupSize"), _number(newest, "maxSubgroupSize")),
        f16=bool(_number(_part(core[12], "features"), "shaderFloat16") or _number(half, "shaderFloat16")),
    )


def _part(value: Any, name: str) -> dict[str, Any]:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def _number(value: dict[str, Any], name: str) -> int:
    found = value.get(name)
    return int(found) if isinstance(found, (int, float)) else 0


def vulkan_fault(subgroup: int | None, device: VulkanProperties | None) -> str | None:
    """Why code must not run on `device`, as a sentence; None where it may.

    `subgroup`: the lanes the code relies on, None where on none. `device` is None where its properties cannot be had:
    then only code that relies on no number of lanes may run.
    """
    if device is None:
        if subgroup is None:
            return None
        return (
            f"the code relies on subgroups of {subgroup} lanes, and the GPU does not tell how many it has: "
            "compile for 'android-vulkan', whose code runs with any number"
        )
    if tuple(int(n) for n in device.api_version.split(".")[:2]) < MINIMUM_VERSION:
        have = f"the GPU '{device.device_name}' has Vulkan {device.api_version}"
        return f"{have}, and the run time needs {'.'.join(map(str, MINIMUM_VERSION))} or newer"
    if subgroup is None or device.subgroup_sizes == (subgroup,):
        return None
    # A driver with a choice of sizes chooses for every kernel anew, and tells nobody.
    found = " or ".join(map(str, device.subgroup_sizes)) or "an unknown number of"
    return (
        f"the code relies on subgroups of {subgroup} lanes, and those of the GPU '{device.device_name}' have {found}: "
        "its results would be wrong; compile for 'android-vulkan', whose code runs with any number"
    )
