"""The program that `make bench-peers` starts for its measurement `compilation`, on a small model."""

import subprocess
import sys

from secateur.benchmarks import measurements
from secateur.benchmarks.workshop import Workshop


def test_tells_seconds_and_memory(monkeypatch, tmp_path):
    started = []

    def small(command, **options):
        started.append(command)
        return run([*command, "--layers", "1"], **options)

    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", small)
    found = measurements.compilation(Workshop(tmp_path, tmp_path, print), 1)
    assert started[0][0] == sys.executable
    # Torch and IREE's compiler alone take more.
    assert 0 < sum(found["stages"].values()) <= found["seconds"] < 600 and found["peak_memory_bytes"] > 3e8
