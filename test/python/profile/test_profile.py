"""The profile of a bundle: events of the profiler, work of the manifest, the machine's peak."""

import dataclasses
import json

import numpy as np
import pytest

from secateur.compiler.measure.machine_peak import MachinePeak, measure_peak
from secateur.compiler.measure.module_paths import layer_of, short_path, summarise_paths
from secateur.compiler.measure.profile import join, merge, profile
from secateur.runtime_targets.bundle import open_bundle
from secateur.runtime_targets.manifest import BundleError, DispatchWork
from secateur.runtime_targets.profile import CallTime, RunProfile, _by_run, _Event, _summary, most_speedup

TOKENS, FFN = 37, 128
PEAK = MachinePeak(
    1,
    gflops=100,
    byte_gops=400,
    dot="vpdpbusd",
    l2_gb_s=50,
    l3_gb_s=20,
    memory_gb_s=10,
    l2_bytes=1 << 20,
    l3_bytes=8 << 20,
    memory_bytes=64 << 20,
    now_gflops=100,
)


@pytest.fixture(scope="module")
def found(bundle):
    return profile(bundle, runs=5)


def test_the_manifest_lists_every_dispatch_with_its_modules(bundle, bert):
    work = open_bundle(bundle).target().dispatches
    names = dict(bert.named_modules())
    assert all(path in names for entry in work for path in entry.paths)
    # Merged and fused ops stand for all the modules they were made of.
    layer = "encoder.layer.1"
    merged = {entry.paths for entry in work}
    assert tuple(f"{layer}.attention.self.{name}" for name in ("query", "key", "value")) in merged
    [ffn] = [entry for entry in work if f"{layer}.intermediate.dense" in entry.paths]
    weight = names[f"{layer}.intermediate.dense"].weight
    assert ffn.flops == 2 * int((weight != 0).sum()) * TOKENS + 5 * FFN * TOKENS
    assert all(entry.flops is not None for entry in work)


def test_every_call_has_a_time_and_its_work(found, bundle):
    work = open_bundle(bundle).target().dispatches
    assert sorted((row.kernel, row.paths) for row in found.rows) == sorted(
        (entry.kernel, entry.paths) for entry in work
    )
    assert all(row.known and row.median_ms > 0 for row in found.rows)
    assert found.total.flops == sum(entry.flops for entry in work)
    assert [row.calls for row in found.by_kernel()] == [
        sum(r.kernel == row.kernel for r in found.rows) for row in found.by_kernel()
    ]
    # The layers follow each other.
    layers = [layer_of(row.paths) for row in found.rows if "linear" in row.kernel]
    assert layers == sorted(layers)


def test_operations_on_bytes_are_held_against_their_own_peak(byte_bundle, bert):
    found = profile(byte_bundle, runs=5)
    layer = "encoder.layer.1"
    [ffn] = [row for row in found.rows if f"{layer}.intermediate.dense" in row.paths and "linear" in row.kernel]
    weight = dict(bert.named_modules())[f"{layer}.intermediate.dense"].weight.detach().numpy()
    # Some of what pruning kept is rounded to zero.
    kept = np.count_nonzero(np.abs(weight) > np.abs(weight).max(axis=1, keepdims=True) / 127 / 2)
    assert ffn.byte_flops == 2 * kept * TOKENS
    # Two scales, the bias with the second, and GELU.
    assert ffn.flops == ffn.byte_flops + 7 * FFN * TOKENS
    attention = [row for row in found.rows if row.kernel.startswith("attention")]
    assert [row.byte_flops for row in attention] == [4 * TOKENS * TOKENS * (2 * 16 + 2 * 16)] * 2
    assert all(row.byte_flops == 0 for row in found.rows if "norm" in row.kernel or "quantize" in row.kernel)
    for row in (*found.rows, *found.by_kernel(), found.total):
        floats = row.flops - row.byte_flops
        expected = floats / found.peak.gflops + row.byte_flops / found.peak.byte_gops
        assert row.compute_ms == pytest.approx(expected / 1e6)
    assert found.total.byte_flops == sum(row.byte_flops for row in found.rows) > found.total.flops / 2
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_bundle_without_a_record_has_times_only(bundle, tmp_path):
    opened = open_bundle(bundle)
    target = opened.manifest.targets[0].model_copy(update={"dispatches": ()})
    opened.manifest = opened.manifest.model_copy(update={"targets": (target,), "schema_version": 1})
    opened.save(tmp_path / "old.zip")
    old = profile(tmp_path / "old.zip", runs=2)
    assert old.rows
    assert not any(row.known or row.flops for row in old.rows)
    assert old.total.roofline_fraction is None


def _events(*spans):
    return [_Event(name, start, end, end - start, 4) for name, start, end in spans]


def test_runs_are_told_apart_and_calls_of_one_kernel_as_well():
    once = _events(("load", 0, 5))
    first = _events(("a", 10, 20), ("b", 20, 50), ("a", 60, 90))
    second = _events(("a", 110, 130), ("b", 130, 140), ("a", 150, 160))
    runs = list(_by_run([*once, *second, *first], 2))
    assert runs == [first, second]
    summary = _summary(1, [100e-6, 60e-6], runs)
    assert [(c.kernel, round(c.min_ms * 1e6)) for c in summary.calls] == [("a", 10), ("b", 10), ("a", 10)]
    assert summary.calls[0].median_ms == pytest.approx(15e-6)
    # 100 - 70 and 60 - 40 nanoseconds.
    assert summary.outside_ms == pytest.approx(25e-6)


def test_dispatches_that_overlap_are_not_counted_twice():
    run = _events(("a", 0, 50), ("b", 20, 40), ("c", 45, 70))
    assert _summary(2, [100e-6], [run]).outside_ms == pytest.approx(30e-6)


def test_runs_that_differ_are_refused():
    with pytest.raises(BundleError, match="not the same number in every run"):
        list(_by_run(_events(("a", 0, 1), ("a", 1, 2), ("a", 3, 4)), 2))


def _call(kernel, ms=1.0, workgroups=4):
    return CallTime(kernel, ms, ms, ms, workgroups)


def test_work_goes_to_the_calls_of_its_kernel_in_order():
    work = [DispatchWork(kernel=k, paths=(p,), flops=1) for k, p in (("a", "x.0"), ("b", "x.1"), ("a", "x.2"))]
    rows = join([_call("b"), _call("a"), _call("a")], work, PEAK)
    assert [row.paths for row in rows] == [("x.1",), ("x.0",), ("x.2",)]
    # Called more often than recorded: which call did which work is not known.
    rows = join([_call("a"), _call("b"), _call("b")], work, PEAK)
    assert [row.known for row in rows] == [False, False, False]


def test_the_larger_bound_holds_a_dispatch():
    work = DispatchWork(kernel="k", flops=10**8, weight_bytes=10**6, read_bytes=5 * 10**5)
    [row] = join([_call("k", 2.0)], [work], PEAK)
    assert (row.compute_ms, row.memory_ms) == (pytest.approx(1.0), pytest.approx(0.1 + 0.01))
    assert (row.bound, row.roofline_fraction) == ("compute", pytest.approx(0.5))
    assert (row.gflops, row.gb_s) == (pytest.approx(50), pytest.approx(0.75))
    # Each operation at the peak of its arithmetic.
    [bytes_too] = join([_call("k", 2.0)], [work.model_copy(update={"byte_flops": 8 * 10**7})], PEAK)
    assert bytes_too.compute_ms == pytest.approx(0.2 + 0.2)
    assert (bytes_too.gflops, bytes_too.roofline_fraction) == (pytest.approx(50), pytest.approx(0.2))
    # Activations that do not fit a cache are read from behind it.
    l2, l3 = 2 << 20, 16 << 20
    [row] = join([_call("k", 2.0)], [work.model_copy(update={"read_bytes": l2 + 10**6})], PEAK)
    assert row.memory_ms == pytest.approx(0.1 + l2 / 50e6 + 0.05)
    [row] = join([_call("k", 2.0)], [work.model_copy(update={"read_bytes": l2 + l3 + 10**6})], PEAK)
    assert row.memory_ms == pytest.approx(0.1 + l2 / 50e6 + l3 / 20e6 + 0.1)
    assert row.bound == "memory"


def test_turns_are_merged_by_their_medians():
    turns = [
        RunProfile(2, 3, (CallTime("k", ms, ms / 2, ms * 2, 4),), latency_median_ms=10 * ms, outside_ms=ms)
        for ms in (1.0, 4.0, 2.0)
    ]
    found = merge(turns)
    assert (found.runs, found.latency_median_ms, found.outside_ms) == (9, 20.0, 2.0)
    assert found.calls == (CallTime("k", 2.0, 0.5, 4.0, 4),)


def test_workgroups_are_handed_out_one_by_one_or_by_eight():
    def simulated(workgroups, threads):
        piece = 8 if workgroups >= 8 * threads else 1
        loads, left = np.zeros(threads), workgroups
        while left > 0:
            loads[loads.argmin()] += min(piece, left)
            left -= piece
        return workgroups / loads.max()

    for workgroups in range(1, 130):
        for threads in (1, 2, 3, 4, 8):
            assert most_speedup(workgroups, threads) == pytest.approx(simulated(workgroups, threads))
    assert most_speedup(24, 2) == 1.5


def test_the_peak_is_measured_and_the_best_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    first = measure_peak(runs=3)
    assert first.gflops >= first.now_gflops > 0
    assert first.l2_gb_s > 0 and first.l3_gb_s > 0 and first.memory_gb_s > 0
    # No instruction takes longer for four products of bytes than another for one of floats.
    assert first.byte_gops > first.gflops and f"products of bytes, {first.dot})" in first.sentence()
    [file] = tmp_path.glob("machine-peak-*.json")
    file.write_text(json.dumps({"gflops": 1e9, "byte_gops": 1e9, "l2_gb_s": 0.001, "l3_gb_s": 1e9, "memory_gb_s": 1e9}))
    again = measure_peak(runs=3)
    assert again.gflops == again.byte_gops == again.l3_gb_s == again.memory_gb_s == 1e9
    assert 0.001 < again.l2_gb_s < 1e9
    assert again.now_gflops < 1e9 and f"{again.now_gflops:.0f} GFLOP/s in this run" in again.sentence()
    file.write_text("no JSON")
    assert measure_peak(runs=3).gflops < 1e9


def test_paths_are_shortened():
    assert short_path(["e.0.self.query", "e.0.self.key"]) == "e.0.self.query/key"
    assert short_path(["e.0.a.b", "e.0.c"]) == "e.0.a.b, e.0.c"
    assert short_path([]) == ""
    layers = [("e.0.q", "e.0.k"), ("e.1.q", "e.1.k"), ("head",)]
    assert summarise_paths(layers) == ("e.*.q", "e.*.k", "head")
    assert summarise_paths([("e.0.q",), ("e.0.q",)]) == ("e.0.q",)
    assert layer_of(("encoder.layer.3.output",)) == "encoder.layer.3"
    assert layer_of(("embeddings",)) == ""


def test_scaling_compares_with_one_thread(bundle):
    found = profile(bundle, runs=4, threads=2, scaling=True)
    assert found.one_thread_latency_median_ms > 0
    for row in found.rows:
        assert row.speedup == pytest.approx(row.one_thread_median_ms / row.median_ms)
        assert 0 < row.busy_threads <= 2.01
    value = dataclasses.replace(found).to_dict()
    json.dumps(value, allow_nan=False)
    assert len(value["dispatches"]) == len(found.rows)
