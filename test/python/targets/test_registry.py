"""Families and models of targets: every name is one that IREE takes, and a wrong one is refused with the nearest."""

import re

import pytest
from iree.compiler import tools

from secateur.runtime_targets.targets import TargetError, families, get_target, targets
from secateur.runtime_targets.targets.cpu_models import ARMV8_2, ARMV9_0, CPU_MODELS

_SUM = """
func.func @main(%a: tensor<64x64xi64>, %b: tensor<64x64xi64>) -> tensor<64x64xi64> {
  %0 = arith.muli %a, %b : tensor<64x64xi64>
  return %0 : tensor<64x64xi64>
}
"""
# LLVM's names of what /proc/cpuinfo calls otherwise.
_LLVM = {"asimd": "neon", "asimddp": "dotprod", "asimdhp": "fullfp16", "fphp": "fullfp16", "asimdrdm": "rdm",
         "atomics": "lse", "lrcpc": "rcpc", "crc32": "crc", "fp": "fp-armv8", "asimdfhm": "fp16fml",
         "fcma": "complxnum", "jscvt": "jsconv"}  # fmt: skip


def _compile(target, *flags):
    return tools.compile_str(_SUM, extra_args=[*target.iree_flags, *flags], input_type="auto")


@pytest.mark.parametrize("model", CPU_MODELS)
def test_iree_knows_every_cpu_and_gives_it_the_features_that_the_table_says(model):
    text = _compile(get_target(f"linux-arm64:{model}"), "--compile-to=executable-configurations").decode()
    given = re.search(r'cpu_features = "([^"]*)"', text)
    known = set(given.group(1).split(",")) if given else set()
    assert f'cpu = "{model}"' in text or model == "generic"
    if model == "generic":
        assert not {f for f in known if f != "+reserve-x18"}
        return
    table = CPU_MODELS[model].features
    # Instruction sets of Armv8.5, which Armv9.0 holds, have no names of their own in the list.
    for feature in set(table) - {"frint", "flagm"}:
        assert f"+{_LLVM.get(feature, feature)}" in known
    assert ("+i8mm" in known) == (table == ARMV9_0) and ("+dotprod" in known) == (table in (ARMV8_2, ARMV9_0))


def test_no_code_uses_sve(tmp_path):
    # LLVM multiplies 64-bit integers with it wherever the CPU has it.
    def assembly(flags):
        folder = tmp_path / str(len(flags))
        arguments = [*flags, f"--iree-hal-dump-executable-intermediates-to={folder}"]
        tools.compile_str(_SUM, extra_args=arguments, input_type="auto")
        return "".join(file.read_text() for file in folder.glob("*.s"))

    flags = get_target("android-arm64:cortex-x4").iree_flags
    vectors = r"\bz\d+\.[bhsd]\b"
    assert not re.search(vectors, assembly(flags))
    assert re.search(vectors, assembly([f for f in flags if "features" not in f])), "the test would not see SVE"


def test_android_and_linux_have_the_same_code():
    assert _compile(get_target("android-arm64:cortex-a78")) == _compile(get_target("linux-arm64:cortex-a78"))


@pytest.mark.parametrize("family", ["android-vulkan", "vulkan-llvmpipe"])
def test_iree_knows_every_gpu(family):
    # One call for all: `iree-compile` prints what a name it does not know leads to.
    source = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {\n return %a : tensor<4xf32>\n}"
    for name in (n for n in targets() if n.partition(":")[0] == family):
        target = get_target(name)
        text = tools.compile_str(
            source, extra_args=[*target.iree_flags, "--compile-to=flow"], input_type="auto"
        ).decode()
        sizes = re.search(r"subgroup_size_choices = \[([\d, ]+)\]", text)
        assert sizes, name
        if target.subgroup is not None:
            assert target.subgroup in [int(n) for n in sizes.group(1).split(",")], name


def test_names_without_a_model_are_those_of_the_default():
    for family in families():
        names = family.names()
        assert get_target(family.name).name in names
        assert all(get_target(name).name == name for name in names)
        assert family.assumes and family.summary
    assert get_target("android-arm64").name == "android-arm64:cortex-a76"
    assert get_target("android-vulkan").subgroup is None


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("cortex-a76", "android-arm64:cortex-a76"),
        ("android-arm64:cortexa76", "android-arm64:cortex-a76"),
        ("android-arm64:Cortex-X4", "android-arm64:cortex-x4"),
        ("android_arm64", "android-arm64"),
        ("androidarm64:cortex-x4", "android-arm64:cortex-x4"),
        ("android-vulkan:adreno740", "android-vulkan:adreno-740"),
        ("mali-g710", "android-vulkan:mali-g710"),
        ("llvmpipe", "vulkan-llvmpipe"),
    ],
)
def test_a_wrong_name_is_refused_with_the_one_that_was_meant(name, meant):
    with pytest.raises(TargetError, match=f"did you mean '{re.escape(meant)}'") as caught:
        get_target(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["", ":", "host-cpu:avx", "android-arm64:", "linux-arm64:cortex-a76:x", "--help", "x;y"]
)
def test_nonsense_is_refused(name):
    with pytest.raises(TargetError):
        get_target(name)


def test_targets_that_nothing_here_can_check_say_so():
    for name in targets():
        target = get_target(name)
        if target.emulator is None and name != "host-cpu":
            assert "not compared" in target.note
        elif name != "host-cpu":
            assert "compared with PyTorch" in target.note
        assert ("phone" in target.note) == name.startswith("android")
