"""What one inference of a bundle executes: exact, the same in every run, and its multiply-adds those that are kept."""

import dataclasses
import json

import pytest
import torch

from secateur.compiler.driver import compile_model
from secateur.compiler.measure.instruction_cost import count_bundle
from secateur.runtime_targets.bundle import BundleError
from secateur.runtime_targets.devices import DeviceError

TARGET, DEVICE = "android-arm64:cortex-a76", "qemu:cortex-a76"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, counting):
    """One linear layer, of which a tenth is kept in bands of 16 rows."""
    layer = torch.nn.Linear(160, 64).eval()
    with torch.no_grad():
        kept = torch.zeros(4, 160)
        for band in range(4):
            kept[band, band::10] = 1
        layer.weight.mul_(kept.repeat_interleave(16, dim=0))
    path = tmp_path_factory.mktemp("cost") / "layer.bundle"
    options = {"target": TARGET, "verify": False, "cache": False, "records": False}
    compile_model(layer, (torch.randn(1, 64, 160),), **options).save(path)
    return path


@pytest.fixture(scope="module")
def cost(bundle):
    return count_bundle(bundle, DEVICE)


def test_the_same_figures_twice(bundle, cost):
    again = count_bundle(bundle, DEVICE, target=TARGET)
    assert again.kernels == cost.kernels and again.loops == cost.loops


def test_multiply_adds_are_those_of_the_weights_that_are_kept(cost):
    needed = 64 * 64 * 160 // 10
    assert cost.flops == 2 * needed
    assert cost.kernels.products == 4 * cost.kernels.fmas == needed
    assert cost.fma_ratio == 1.0
    assert cost.kernels.fmas < cost.kernels.instructions < 4 * cost.kernels.fmas
    assert 0 < cost.kernels.loads < cost.kernels.fmas and cost.kernels.stores >= 64 * 64 // 4


def test_the_hottest_loop_multiplies_and_adds(cost):
    hottest = cost.loops[0]
    assert any(word.startswith("fmla") for word in hottest.text)
    assert hottest.counts.instructions == len(hottest.text) and 0.2 < hottest.fraction < 1
    assert sum(loop.fraction for loop in cost.loops) <= 1
    assert cost.cycles is None and hottest.cycles is None


def test_cycles_are_estimated_where_asked_for(bundle, cost, mca):
    estimated = count_bundle(bundle, DEVICE, mca=True)
    assert estimated.cycle_model == mca and estimated.kernels == cost.kernels
    # No core of this kind begins more than 4 instructions or 2 multiply-adds of vectors in a cycle.
    assert max(cost.kernels.instructions / 4, cost.kernels.fmas / 2) < estimated.cycles < cost.kernels.instructions
    assert count_bundle(bundle, DEVICE, mca=True).cycles == estimated.cycles


def test_the_cost_is_json(cost):
    value = json.loads(json.dumps(cost.to_dict()))
    assert value["kernels"] == dataclasses.asdict(cost.kernels) and "no times" in value["note"]


def test_what_cannot_be_counted_is_refused(bundle):
    with pytest.raises(DeviceError, match="such as qemu:cortex-a76, found 'local'"):
        count_bundle(bundle, "local")
    with pytest.raises(DeviceError, match="lacks"):
        count_bundle(bundle, "qemu:cortex-a53")
    with pytest.raises(BundleError, match="no code for the target 'host-cpu'"):
        count_bundle(bundle, DEVICE, target="host-cpu")
