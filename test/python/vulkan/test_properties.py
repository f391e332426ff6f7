"""What a GPU says of itself, and which code it is refused."""

import json

import pytest

from secateur.runtime_targets.devices.device import DeviceError, VulkanProperties
from secateur.runtime_targets.devices.vulkan_device import parse_vkjson, vulkan_fault


def _gpu(version="1.3.274", sizes=(16,)):
    return VulkanProperties("Mali-G78", version, sizes)


def _vkjson(minor=3, **parts):
    properties = {"deviceName": "Adreno (TM) 740", "apiVersion": 1 << 22 | minor << 12 | 128}
    return json.dumps({"apiVersion": 0, "devices": [{"properties": properties, **parts}], "layers": []})


def test_a_phone_with_vulkan_1_3():
    found = parse_vkjson(
        _vkjson(
            core11={"properties": {"subgroupSize": 64}},
            core12={"features": {"shaderFloat16": 1}},
            core13={"properties": {"minSubgroupSize": 64, "maxSubgroupSize": 128}},
        )
    )
    assert found == VulkanProperties("Adreno (TM) 740", "1.3.128", (64, 128), f16=True)


def test_a_phone_with_vulkan_1_1():
    found = parse_vkjson(
        _vkjson(
            minor=1,
            subgroupProperties={"subgroupSize": 16},
            VK_KHR_shader_float16_int8={"shaderFloat16Int8FeaturesKHR": {"shaderFloat16": 0}},
        )
    )
    assert found == VulkanProperties("Adreno (TM) 740", "1.1.128", (16,), f16=False)


def test_a_phone_that_does_not_tell_its_subgroups():
    assert parse_vkjson(_vkjson()).subgroup_sizes == ()


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"devices": []}', '{"devices": [3]}', "cmd: Can't find service: gpu"]
)
def test_text_without_a_gpu_is_refused(text):
    with pytest.raises(DeviceError, match="holds no GPU"):
        parse_vkjson(text)


def test_code_for_the_gpus_lanes_is_accepted():
    assert vulkan_fault(16, _gpu()) is None


def test_code_for_any_lanes_is_accepted():
    assert vulkan_fault(None, _gpu(sizes=())) is None
    assert vulkan_fault(None, None) is None


@pytest.mark.parametrize("sizes", [(8,), (32,), (8, 16), (16, 32), ()])
def test_code_for_other_lanes_is_refused(sizes):
    assert "relies on subgroups of 16 lanes" in vulkan_fault(16, _gpu(sizes=sizes))


def test_code_for_some_lanes_is_refused_where_nothing_is_known():
    assert "does not tell" in vulkan_fault(16, None)


@pytest.mark.parametrize("subgroup", [None, 16])
@pytest.mark.parametrize("version", ["1.0.2", "1.2.999"])
def test_vulkan_below_1_3_is_refused(version, subgroup):
    assert f"has Vulkan {version}, and the run time needs 1.3" in vulkan_fault(subgroup, _gpu(version))


@pytest.mark.parametrize("version", ["1.3.0", "1.10.0", "2.0.0"])
def test_later_vulkan_is_accepted(version):
    assert vulkan_fault(16, _gpu(version)) is None
