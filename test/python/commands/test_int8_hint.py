"""What `secateur compile` says of int8 to a model that was compiled in f32."""

import pytest

from secateur.commands.compile import _int8_hint

LAYER = {"name": "fc", "rows": 100, "columns": 400, "encoding": "dense", "sparsity_fraction": 0.75}


def report(*targets, quantization=None, layers=(LAYER,)):
    return {"targets": [{"name": name} for name in targets], "quantization": quantization, "layers": list(layers)}


def test_bytes_and_the_option_are_told():
    hint = _int8_hint(report("android-arm64:cortex-a76", "android-vulkan"))
    # 10,000 weights are kept: 40 kB in f32; as bytes, with 100 scales, 10.4 kB.
    assert "10.4 kB instead of 40.0 kB" in hint and "--weights int8 --arithmetic int8" in hint
    assert "on android-arm64:cortex-a76, android-vulkan an instruction" in hint


@pytest.mark.parametrize(
    "value",
    [
        report("android-arm64:cortex-a76", quantization={"weights": "int8"}),
        report("android-arm64:cortex-a76", layers=()),
        report("android-arm64:cortex-a76", layers=({**LAYER, "sparsity_fraction": 1.0},)),
    ],
)
def test_otherwise_nothing_is_said(value):
    assert _int8_hint(value) == ""
