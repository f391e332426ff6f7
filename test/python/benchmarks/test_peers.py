"""Workers and contests with fake engines: the protocol, and that no engine ends the run."""

import sys
from pathlib import Path

import numpy as np
import pytest

from secateur.benchmarks.peers import registry
from secateur.benchmarks.peers.contest import Candidate, contest
from secateur.benchmarks.peers.model_files import read_arrays, write_model
from secateur.benchmarks.peers.process import PeerError, PeerProcess, relative_l2
from secateur.benchmarks.peers.registry import Peer


@pytest.fixture
def start(adapters, doubled, tmp_path):
    started = []

    def run(name, threads=1):
        worker = PeerProcess.of(Path(sys.executable), adapters / f"{name}.py", doubled, threads, tmp_path / "out.npz")
        started.append(worker)
        return worker

    yield run
    for worker in started:
        worker.close()


def test_a_worker_runs_the_model_reports_its_seconds_and_ends(start, tmp_path):
    worker = start("slow")
    answer = worker.start(60)
    assert answer["first_run_seconds"] >= 0.02
    assert np.array_equal(read_arrays(tmp_path / "out.npz")[0], [2.0, 4.0])
    seconds = worker.run(5)
    assert len(seconds) == 5
    assert all(0.02 <= s < 1 for s in seconds)
    worker.close()
    with pytest.raises(PeerError):
        worker.run()


def test_what_an_engine_prints_does_not_enter_the_protocol(start):
    worker = start("doubles")
    assert set(worker.start(60)["versions"]) == {"numpy"}
    assert len(worker.run()) == 1


def test_a_worker_is_told_its_threads_and_may_install_nothing(start, tmp_path):
    start("tells", threads=3).start(60)
    threads, no_index = read_arrays(tmp_path / "out.npz")
    assert threads.tolist() == [3, 3]
    assert no_index.tolist() == ["1"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fails_to_load", "^ValueError: no such op$"),
        ("not_installed", "No module named 'an_engine_that_is_not_installed'"),
        ("dies_at_once", "killed by signal 9: segmentation fault, says the engine"),
    ],
)
def test_a_failed_start_is_one_sentence(start, name, message):
    with pytest.raises(PeerError, match=message):
        start(name).start(60)


def test_a_worker_that_hangs_is_ended(start):
    worker = start("hangs")
    with pytest.raises(PeerError, match="more than 1 s"):
        worker.start(1)
    worker._process.wait(10)


def test_an_interpreter_that_is_not_there_is_a_sentence(adapters, doubled, tmp_path):
    with pytest.raises(PeerError, match=r"'/nowhere/python' cannot be started"):
        PeerProcess.of(Path("/nowhere/python"), adapters / "doubles.py", doubled, 1, tmp_path / "out.npz")


def test_a_contest_goes_on_without_those_that_fail(adapters, doubled, tmp_path):
    names = ["doubles", "slow", "wrong", "other_shape", "fails_to_load", "dies_in_its_fifth_run", "spins"]
    candidates = [Candidate(name, Peer(name, name, environment=""), doubled) for name in names]
    candidates.append(Candidate("absent", Peer("absent", "doubles", environment="nowhere"), doubled))
    outcome = contest(candidates, adapters=adapters, environments=tmp_path, rounds=4)
    assert list(outcome.entries) == ["doubles", "slow", "spins"]
    assert outcome.entries["slow"].latency.min_ms >= 20 > outcome.entries["doubles"].latency.median_ms
    assert {entry.latency.runs for entry in outcome.entries.values()} == {4}
    assert outcome.entries["doubles"].relative_l2 == 0
    assert outcome.entries["spins"].busy_threads > 0.1
    assert outcome.entries["spins"].idle_fraction > 0.1 > outcome.entries["doubles"].idle_fraction
    assert set(outcome.skipped) == {*names, "absent"} - set(outcome.entries)
    assert "relative L2 5.0e-01" in outcome.skipped["wrong"]
    assert "relative L2 nan" in outcome.skipped["other_shape"]
    assert outcome.skipped["dies_in_its_fifth_run"] == "it ended with exit code 3"
    assert f"there is no environment '{tmp_path / 'nowhere'}'" in outcome.skipped["absent"]


@pytest.fixture
def a_row(doubled):
    """The model with one row of two numbers."""
    np.savez(doubled / "inputs.npz", x=np.array([[1.0, 2.0]], np.float32))
    np.savez(doubled / "expected.npz", np.array([[2.0, 4.0]], np.float32))
    return doubled


def test_a_worker_runs_rows_of_other_inputs_one_by_one(a_row, start, tmp_path):
    worker = start("doubles")
    worker.start(60)
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    (found,) = worker.predict({"x": rows}, tmp_path)
    assert np.array_equal(found, 2 * rows)


def test_engines_that_round_are_held_to_a_wider_limit_and_are_told(adapters, doubled):
    plain, rounded = Peer("plain", "rounds", environment=""), Peer("int8", "rounds", environment="", precision="int8")
    candidates = [
        Candidate("plain", plain, doubled),
        Candidate("int8", rounded, doubled, rounded=True),
        Candidate("int8, held to f32", rounded, doubled),
    ]
    outcome = contest(candidates, adapters=adapters, rounds=2)
    assert list(outcome.entries) == ["plain", "int8"]
    assert outcome.entries["int8"].relative_l2 == pytest.approx(0.1)
    assert "accepted 0.05" in outcome.skipped["int8, held to f32"]


def test_outputs_are_scored_behind_the_timing(adapters, a_row):
    def score(predict):
        (found,) = predict({"x": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)})
        return {"sum": float(found.sum())}

    candidates = [Candidate(n, Peer(n, n, environment=""), a_row) for n in ("doubles", "dies_in_its_fifth_run")]
    outcome = contest(candidates, adapters=adapters, rounds=1, score=score)
    assert outcome.entries["doubles"].score == {"sum": 20.0}
    assert list(outcome.entries) == ["doubles"]
    assert "it cannot be scored" in outcome.skipped["dies_in_its_fifth_run"]


def test_windows_are_filled_up_to_what_an_engine_runs():
    from secateur.benchmarks.squad_contest import TOKENS, WholeWindows

    seen = []

    def predict(arrays):
        seen.append(arrays)
        return [arrays["input_ids"] + 1.0, arrays["input_ids"] + 2.0]

    ids, mask = np.arange(1, 7).reshape(2, 3), np.ones((2, 3), np.int64)
    found = WholeWindows(predict)({"input_ids": ids, "attention_mask": mask})
    assert seen[0]["attention_mask"].shape == (2, TOKENS) and seen[0]["attention_mask"].sum() == 6
    assert np.array_equal(found["start_logits"], ids + 1) and np.array_equal(found["end_logits"], ids + 2)


def test_a_turn_counts_with_the_median_of_its_runs(adapters, doubled):
    candidates = [Candidate(name, Peer(name, name, environment=""), doubled, repeat=3) for name in ("slow", "uneven")]
    entries = contest(candidates, adapters=adapters, rounds=3).entries
    assert entries["slow"].latency.runs == 3
    assert entries["slow"].latency.min_ms >= 20 > entries["uneven"].latency.median_ms


def test_engines_that_are_too_slow_are_left_out(adapters, doubled):
    candidates = [Candidate(name, Peer(name, name, environment=""), doubled) for name in ("slow", "doubles")]
    outcome = contest(candidates, adapters=adapters, rounds=3, slowest_seconds=0.01)
    assert list(outcome.entries) == ["doubles"]
    assert "longer than 0.01 s" in outcome.skipped["slow"]


def test_relative_l2_is_the_worst_output():
    expected = [np.array([3.0, 4.0]), np.array([1.0])]
    assert relative_l2([np.array([3.0, 4.5]), np.array([1.0])], expected) == pytest.approx(0.1)
    assert np.isnan(relative_l2(expected[:1], expected))
    assert np.isnan(relative_l2([np.array([np.nan, 4.0]), np.array([1.0])], expected))


def test_the_model_that_peers_get_is_the_module(tmp_path):
    import torch

    module = torch.nn.Linear(3, 2).eval()
    x = torch.randn(4, 3)
    write_model(tmp_path / "model", module, {"input": x})
    program = torch.export.load(tmp_path / "model" / "model.pt2")
    (found,) = program.module()(x)
    assert torch.equal(found, module(x))
    assert np.array_equal(read_arrays(tmp_path / "model" / "expected.npz")[0], module(x).detach().numpy())


def test_every_peer_has_an_adapter_and_requirements():
    for peer in (*registry.PEERS.values(), *registry.ROUNDED.values(), registry.SECATEUR, registry.ONNX_FILES):
        assert (registry.ADAPTERS / f"{peer.adapter}.py").exists()
        assert peer.environment in ("", *registry.REQUIREMENTS)
    for file in registry.REQUIREMENTS.values():
        lines = (registry.ADAPTERS.parent / file).read_text().splitlines()
        assert all("==" in line for line in lines if line and not line.startswith("#"))


def test_the_stock_adapter_and_ours_agree_with_pytorch(tmp_path, monkeypatch):
    import torch

    from secateur.compiler import compile_model

    monkeypatch.setenv("SECATEUR_CACHE", "off")
    torch.manual_seed(0)
    module, inputs = torch.nn.Linear(32, 16).eval(), {"input": torch.randn(4, 32)}
    write_model(tmp_path / "model", module, inputs)
    compile_model(module, inputs).save(tmp_path / "model" / "model.bundle")
    peers = [registry.SECATEUR, registry.PEERS["stock IREE"], Peer("sgemm", "numpy_sgemm", "")]
    candidates = [Candidate(p.title, p, tmp_path / "model", compared=p.title != "sgemm") for p in peers]
    outcome = contest(candidates, rounds=3)
    assert outcome.skipped == {}
    assert all(entry.relative_l2 is None or entry.relative_l2 < 1e-5 for entry in outcome.entries.values())
    assert outcome.entries["sgemm"].relative_l2 is None
