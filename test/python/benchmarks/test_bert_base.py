"""`make bench` on a small model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def run(*command):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "cache"))


@pytest.mark.slow
def test_the_benchmark_prints_ratios_of_medians():
    command = ["--layers", 1, "--tokens", 16, "--rounds", 3, "--blocks", "16x1", "--json"]
    result = json.loads(run(ROOT / "benchmarks" / "bert_base.py", *command))
    medians = {name: latency["median_ms"] for name, latency in result["latency_ms"].items()}
    ours = "secateur bcr 16x1"
    assert set(medians) == {ours, "stock IREE", "PyTorch"}
    for other, factor in result["times_faster_than"][ours].items():
        assert factor == pytest.approx(medians[other] / medians[ours])
    assert result["sparsity_fraction"][ours] == pytest.approx(0.9, abs=0.01)
    assert result["relative_l2"][ours] < 1e-5
