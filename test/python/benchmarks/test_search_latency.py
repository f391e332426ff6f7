"""The benchmark of predicted latencies: it draws the same candidates, and measures what is not in its results."""

import numpy as np
import pytest

from secateur.benchmarks import search_latency
from secateur.compression.search.latency.predictor import Prediction, Timed
from secateur.compression.search.space import Dimension, Space


@pytest.fixture
def fake(monkeypatch):
    """Candidates whose prediction is 10 % off for each head; the calls that were made."""
    calls = []

    class Predictor:
        def __init__(self, *args, **options):
            pass

        def measure_cells(self, plans):
            calls.append(("cells", len(plans)))

        def predict(self, candidate):
            return Prediction(0.0, 1 + candidate["heads.*"] / 10, {})

        def compiled(self, candidate):
            return candidate["heads.*"]

        def time_whole(self, compiled):
            calls.append(("whole", compiled))
            return Timed(10.0, 1.0)

    space = Space("small", (Dimension("heads.*", (0, 1, 2)),))
    monkeypatch.setattr(search_latency, "LatencyPredictor", Predictor)
    monkeypatch.setattr(search_latency, "load_task_model", lambda *_: (None, None))
    monkeypatch.setattr(search_latency, "space_named", lambda *_: space)
    monkeypatch.setattr(search_latency, "plan_for", lambda *_: None)
    return calls


def test_all_are_measured_once_and_the_errors_told(fake, tmp_path, capsys):
    command = ["model", "--results", str(tmp_path / "results.jsonl")]
    # Off by 0, 10 and 20 %: beyond both bars.
    assert search_latency.main(command) == 1
    assert "error: median 10.0% (bar 5%), worst 20.0% (bar 12%)" in capsys.readouterr().out
    assert fake[0] == ("cells", 3) and sorted(fake[1:]) == [("whole", n) for n in range(3)]
    del fake[1:]
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"torn')
    assert search_latency.main(command) == 1
    assert fake[1:] == [("cells", 3)]
    assert search_latency.main([*command, "--threads", "2"]) == 1 and len(fake) == 6


def test_the_same_seed_draws_the_same_candidates():
    space = Space("wide", tuple(Dimension(f"ffn.{n}", tuple(range(1, 9))) for n in range(3)))
    found = search_latency.drawn(space, 20, 1)
    assert len({tuple(c.values()) for c in found}) == 20
    assert found == search_latency.drawn(space, 20, 1) != search_latency.drawn(space, 20, 2)
    assert len(search_latency.drawn(Space("few", (Dimension("ffn.*", (1, 2)),)), 20, 0)) == 2
    assert np.isclose(max(search_latency.errors([{"predicted_ms": 9.0, "measured_ms": 10.0}])), 0.1)
