"""Code for another number of lanes than the GPU has: what would come of it, and that it is refused."""

import dataclasses
from pathlib import Path

import pytest

from secateur.compiler.build.target_build import describe_target
from secateur.runtime_targets import iree
from secateur.runtime_targets.iree.lavapipe import LavapipeSession, lavapipe_environment, vulkan_session
from secateur.runtime_targets.iree.substituted_lanes import compile_with_lanes


@pytest.mark.parametrize(("target", "right", "wrong"), [("vulkan-llvmpipe", 8, 16), ("android-vulkan:valhall4", 16, 8)])
def test_a_mismatch_is_refused(lavapipe, build, error, expected, target, right, wrong):
    built = build(target)
    code = iree.compile_assembly(built.assembly, built.target)
    with pytest.raises(iree.SessionError, match=f"relies on subgroups of {right} lanes, .* have {wrong}"):
        LavapipeSession(code, built.parameters, wrong)
    with LavapipeSession(code, built.parameters, right) as session:
        assert error(session.run(built.arguments), expected) < 1e-5


def test_unchecked_a_mismatch_gives_wrong_numbers(lavapipe, build, error, expected):
    built = build("android-vulkan:valhall4", "portable")
    # As if the target used no subgroup operations: the module then asks nothing of the GPU.
    description = {n: v for n, v in built.target.description.items() if n != "subgroup"}
    unchecked = dataclasses.replace(built.target, subgroup=None, description=description)
    describe_target(built.module, unchecked)
    code = iree.compile_assembly(iree.assemble(built.module, built.weights, target=unchecked), unchecked)
    describe_target(built.module, built.target)
    with LavapipeSession(code, built.parameters, 16) as session:
        assert error(session.run(built.arguments), expected) < 1e-5
    with LavapipeSession(code, built.parameters, 8) as session:
        assert not error(session.run(built.arguments), expected) < 1e-2


def test_a_module_must_say_what_it_was_compiled_for(build):
    built = build("android-vulkan:valhall4")
    with pytest.raises(iree.CompilationError, match="subgroups of 16 lanes, the target 'x' has None"):
        iree.compile_assembly(built.assembly, dataclasses.replace(built.target, name="x", subgroup=None))


def lowest_priority(process: int) -> dict[str, set[bool]]:
    """Name of a thread -> whether those of that name have the lowest priority."""
    found: dict[str, set[bool]] = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        # The fields of proc(5) from the third one on; the 19th is the nice value.
        name, _, fields = (task / "stat").read_text().partition("(")[2].rpartition(")")
        found.setdefault(name, set()).add(fields.split()[16] == "19")
    return found


@pytest.mark.parametrize("lanes", [4, 16])
def test_the_baseline_profile_runs_with_any_lanes(lavapipe, build, error, expected, lanes):
    built = build("android-vulkan")
    code = iree.compile_assembly(built.assembly, built.target)
    with LavapipeSession(code, built.parameters, lanes) as session:
        # Threads that race are not wrong every time.
        assert max(error(session.run(built.arguments), expected) for _ in range(5)) < 1e-5
        # Threads that only wait leave the CPU to those that work.
        lowest = lowest_priority(session._process.pid)
    assert any(True in found for found in lowest.values())
    assert all(found == {False} for name, found in lowest.items() if name.startswith("llvmpipe"))


def test_adreno_code_made_for_16_lanes(lavapipe, build, error, expected):
    built = build("android-vulkan:adreno-740")
    code = compile_with_lanes(built.assembly, built.target, 16)
    with LavapipeSession(code, built.parameters, 16) as session:
        assert error(session.run(built.arguments), expected) < 1e-5


def test_lavapipe_has_some_numbers_of_lanes_only():
    with pytest.raises(iree.SessionError, match=r"lavapipe has 4, 8, 16 lanes, found 64|not installed"):
        lavapipe_environment(64)


@pytest.mark.parametrize("device", ["vulkan:", "vulkan:x", "cuda"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(iree.SessionError, match="there is no Vulkan device"):
        vulkan_session(device, b"")


def test_a_damaged_module_is_refused(lavapipe):
    with pytest.raises(iree.SessionError, match="cannot be loaded"):
        LavapipeSession(b"no module", None, 8)
