"""`secateur profile` and `secateur bench` on code for a GPU."""

import json
import subprocess

import pytest

from secateur.commands.profile import summary
from secateur.compiler import compile_model
from secateur.compiler.measure.profile import NO_PEAK, profile
from secateur.compiler.measure.profile_html import page
from secateur.runtime_targets import profile as profiling
from secateur.runtime_targets.manifest import BundleError


@pytest.fixture(scope="module")
def bundle(pruned_bert, inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "gpu.bundle"
    compile_model(pruned_bert, inputs, target="android-vulkan", verify=False).save(out)
    return out


def test_every_dispatch_has_its_time_and_its_work(lavapipe, bundle):
    found = profile(bundle, runs=4)
    layers = [row for row in found.rows if row.kernel.startswith("gpu_linear")]
    assert len(layers) >= 5
    assert all(row.known and row.median_ms > 0 and row.workgroups > 0 for row in found.rows)
    assert all(row.flops > 0 and row.weight_bytes > 0 and row.gflops > 0 for row in layers)
    assert "encoder.layer.0.output.dense" in {path for row in layers for path in row.paths}
    assert found.total.median_ms < found.latency_median_ms
    # Nothing is held against the peaks of a CPU.
    assert found.peak is None and all(row.bound is row.roofline_fraction is None for row in found.rows)
    assert NO_PEAK in summary(found) and "between two marks" in page(found)
    assert json.dumps(found.to_dict())


def test_threads_are_refused(bundle):
    with pytest.raises(BundleError, match="is for a GPU; found 2"):
        profile(bundle, threads=2)


@pytest.mark.parametrize(
    "fault",
    [
        lambda command, seconds: subprocess.TimeoutExpired(command, seconds),
        lambda command, seconds: profiling.ToolEndedError("'iree-benchmark-module' failed: VK_ERROR_DEVICE_LOST"),
    ],
    ids=["waits for itself", "loses the device"],
)
def test_a_driver_that_fails_once_is_started_again(lavapipe, bundle, monkeypatch, fault):
    ends = []

    def failing(command, seconds=None):
        if "iree-benchmark-module" in command[0] and len(ends) < 1:
            ends.append(seconds)
            raise fault(command, seconds)
        return run(command, seconds)

    run = profiling._run
    monkeypatch.setattr(profiling, "_run", failing)
    assert profile(bundle, runs=2).rows and ends[0] > 30


def test_a_driver_that_never_answers_is_told(lavapipe, bundle, monkeypatch):
    monkeypatch.setattr(profiling, "_START_SECONDS", 0)
    monkeypatch.setattr(profiling, "_RUN_SECONDS", 1e-3)
    with pytest.raises(BundleError, match="did not end on the GPU within"):
        profile(bundle, runs=2)


def test_the_commands(lavapipe, bundle, secateur):
    result = secateur("profile", bundle, "--runs", "2", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["peak"] is None
    result = secateur("bench", bundle, "--rounds", "3", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["latency_ms"]["secateur"]["median_ms"] > 0
