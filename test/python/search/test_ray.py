"""A search on two nodes of a Ray cluster, which takes half a minute to start: `pytest -m slow`."""

import os
import signal
import time
from pathlib import Path

import pytest

from secateur.compression.search.errors import SearchError
from secateur.compression.search.halving import Budget
from secateur.compression.search.part import Without
from secateur.compression.search.search import search
from secateur.compression.search.workers import Task
from secateur.compression.search.workers.ray import RayPool, resource_of

from .tables import GOAL, SPACE

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(monkeypatch):
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    # No telemetry, and no dashboard that would look for a browser.
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=made.address, log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def _slow(evaluators, folder):
    """A second a stage, on no device, and no late stage."""
    return Without(evaluators.Smooth(str(folder / "log"), 1.0, target=None), ("trained",))


def _timed(evaluators, folder, pool, count):
    began = time.monotonic()
    evaluator = _slow(evaluators, folder)
    budget = Budget(candidates=count)
    trials = search(SPACE, evaluator, GOAL, folder / "search", budget=budget, at_once=8, controller="random", pool=pool)
    return trials, time.monotonic() - began


def test_a_search_on_two_nodes(evaluators, cluster, tmp_path):
    evaluator = evaluators.Smooth(target="phone")
    with pytest.raises(SearchError, match="measures on 'phone', which no node of the cluster has"):
        RayPool(evaluator)
    for name in ("one", "two", "phone"):
        (tmp_path / name).mkdir()
    slow = _slow(evaluators, tmp_path)
    one, seconds = _timed(evaluators, tmp_path / "one", RayPool(slow), 10)
    cluster.add_node(num_cpus=1, resources={resource_of("phone"): 1})
    cluster.wait_for_nodes()
    # The first task of a node starts its processes.
    two, _ = _timed(evaluators, tmp_path / "two", RayPool(slow), 10)
    more = tmp_path / "more"
    more.mkdir()
    again, halved = _timed(evaluators, more, RayPool(slow), 10)
    assert [t.figures for t in one.all()] == [t.figures for t in two.all()] == [t.figures for t in again.all()]
    assert seconds / halved > 1.5, (seconds, halved)


def test_measures_where_the_device_is_and_retries_what_was_killed(evaluators, cluster, tmp_path):
    cluster.add_node(num_cpus=2, resources={resource_of("phone"): 1})
    cluster.wait_for_nodes()
    log = tmp_path / "log"
    evaluator = evaluators.Smooth(str(log), 2.0, target="phone")
    pool = RayPool(evaluator)
    stage = evaluator.stages[0]
    for number in range(2):
        pool.begin(Task(number, SPACE.decode([number, 0, 0, 0, 0]), stage))
    while not log.exists():
        time.sleep(0.05)
    victim = int(log.read_text().split()[-1])
    # The process of Ray that started the evaluation.
    parent = int(Path(f"/proc/{victim}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    found = {}
    end = time.monotonic() + 120
    while len(found) < 2 and time.monotonic() < end:
        for task, measurement in pool.finished(1.0):
            found[task.number] = measurement
    assert {number: m.failure for number, m in found.items()} == {0: None, 1: None}
    # One at a time on the device: the third evaluation began after the second.
    assert len(log.read_text().splitlines()) == 3
    pool.close()
