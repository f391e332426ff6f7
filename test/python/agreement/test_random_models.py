"""Models drawn at random give the same results in PyTorch, on this CPU, on emulated Arm and on a GPU in software.

Six models are in every run, the rest of two hundred behind `make test-slow`.
"""

import importlib.util
from pathlib import Path

import pytest

from secateur.compiler import compile_model
from secateur.compiler.verify.verification_place import verification_place
from secateur.runtime_targets.targets import get_target

_SPEC = importlib.util.spec_from_file_location("random_model", Path(__file__).with_name("random_model.py"))
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

GPUS = ("android-vulkan", "vulkan-llvmpipe")
TARGETS = ("host-cpu", "android-arm64:cortex-a76", *GPUS)
# Models of one layer, which are quick to compile, of several schemes and architectures.
FIRST = (1, 6, 59, 71, 76, 101)
MANY = tuple(seed for seed in range(200) if seed not in FIRST)


def check(seed, targets, **numbers):
    """Compiles the model of a seed for `targets` and reads what the comparison with PyTorch found."""
    model = _MODULE.random_model(seed)
    # It raises where an output is off, with a random input and with padded ones.
    compiled = compile_model(model.module, model.inputs, target=targets, cache=False, **numbers)
    assert not compiled.report.failed, f"{model.about}: {compiled.report.failed}"
    assert [target.name for target in compiled.report.targets] == [get_target(name).name for name in targets]
    for target in compiled.report.targets:
        assert not target.unverified_reason, f"{model.about}: {target.name}: {target.unverified_reason}"
        assert target.verification and all(d.passed for d in target.verification)


def runnable():
    """The targets whose code runs here, and why the others' does not."""
    places = {name: verification_place(get_target(name)) for name in TARGETS}
    here = [name for name, (place, _) in places.items() if place]
    return here, [f"{name}: {why}" for name, (place, why) in places.items() if not place]


@pytest.mark.parametrize("name", TARGETS)
def test_code_for_the_target_can_be_run_here(name):
    place, why = verification_place(get_target(name))
    if place is None:
        pytest.skip(f"code for {name} cannot be run here: {why}")


@pytest.mark.parametrize("seed", FIRST)
def test_targets_agree_with_pytorch(seed):
    check(seed, [name for name in runnable()[0] if name != "vulkan-llvmpipe"])


BYTES = {"weights": "int8", "arithmetic": "int8"}


def cpus():
    """The CPUs among the targets whose code runs here."""
    return [name for name in runnable()[0] if name not in GPUS]


@pytest.mark.parametrize("seed", FIRST[::2])
def test_bytes_agree_with_pytorch(seed):
    check(seed, cpus(), **BYTES)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_many_more_agree_in_bytes(seed):
    check(seed, cpus(), **BYTES)


@pytest.mark.slow
@pytest.mark.parametrize("seed", MANY)
def test_many_more_agree(seed):
    _, missing = runnable()
    if missing:
        pytest.fail(f"this takes all targets, and some cannot run: {'; '.join(missing)}")
    # Both GPU targets run on lavapipe and take most of the time; they take turns.
    check(seed, [name for name in TARGETS if name != GPUS[seed % 2]])
