import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from secateur.compression.search.errors import SearchError
from secateur.compression.search.halving import Budget
from secateur.compression.search.journal import Journal
from secateur.compression.search.measurement import Goal, Limit, Objective
from secateur.compression.search.search import open_search, search
from secateur.compression.search.space import Dimension, Space
from secateur.compression.search.workers.memory_watch import MemoryWatch, descendants

from .tables import GOAL, SPACE, figures

HERE = Path(__file__).parent
COUNT = 16


def _searched(evaluators, folder, **more):
    evaluator = evaluators.Smooth(str(folder / "log"))
    return search(SPACE, evaluator, GOAL, folder / "search", budget=Budget(candidates=COUNT), at_once=4, **more)


def _results(trials):
    return [(t.candidate, t.stages, t.figures, t.failure) for t in trials.all()]


def _evaluated(folder):
    return [line.rpartition(" ")[0] for line in (folder / "log").read_text().splitlines()]


def test_a_search_goes_through_the_stages(evaluators, tmp_path):
    told = []
    trials = _searched(evaluators, tmp_path, progress=told.append)
    found = trials.all()
    assert len(found) == COUNT and not any(t.failure for t in found)
    for trial in found:
        wanted = figures(trial.candidate)
        assert trial.figures["cost"] == wanted["cost"]
        # What costs too much is not evaluated further.
        assert trial.stages[:2] == (("cost", "loss") if wanted["cost"] <= 2.0 else ("cost",))
    kept = sorted((t for t in found if "loss" in t.figures), key=lambda t: t.figures["loss"])
    late = {t.number for t in found if "trained" in t.stages}
    assert late == {t.number for t in kept[: -(-len(kept) // 4)]}
    assert trials.winner(GOAL).figures["trained"] == min(t.figures["trained"] for t in kept if t.number in late)
    evaluated = _evaluated(tmp_path)
    assert len(evaluated) == len(set(evaluated)) == sum(len(t.stages) for t in found) == len(told)
    # The same again has nothing to do; a larger budget goes on.
    assert _results(_searched(evaluators, tmp_path)) == _results(trials)
    assert _evaluated(tmp_path) == evaluated
    more = search(SPACE, evaluators.Smooth(), GOAL, tmp_path / "search", budget=Budget(candidates=COUNT + 2), at_once=4)
    assert [t.candidate for t in more.all()][:COUNT] == [t.candidate for t in found] and len(more.all()) == COUNT + 2


def test_what_late_stages_find_changes_no_proposal(evaluators, tmp_path):
    def searched(folder, count):
        budget = Budget(candidates=count, reduction=2)
        return search(SPACE, evaluators.Smooth(fickle=True), GOAL, tmp_path / folder, budget=budget, at_once=2)

    assert any(t.failure for t in searched("twice", 20).all())
    assert [t.candidate for t in searched("twice", 30).all()] == [t.candidate for t in searched("once", 30).all()]


def test_workers_change_nothing_but_the_time(evaluators, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "three").mkdir()
    one = _searched(evaluators, tmp_path / "one", workers=1)
    assert _results(_searched(evaluators, tmp_path / "three", workers=3)) == _results(one)


def _drive(folder, seconds):
    """A process that has all it needs and waits for a line."""
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    arguments = [sys.executable, str(HERE / "drive.py"), str(folder), str(seconds), str(COUNT)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(arguments, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def _go(*processes):
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def _finish(process):
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def test_killed_at_any_moment_a_search_ends_as_if_undisturbed(evaluators, tmp_path):
    undisturbed = _searched(evaluators, tmp_path)
    folder = tmp_path / "killed"
    folder.mkdir()
    dice = random.Random(0)
    journal = folder / "search" / "journal.jsonl"
    for _ in range(3):
        process = _drive(folder, 0.05)
        size = journal.stat().st_size if journal.exists() else 0
        _go(process)
        end = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < end:
            if journal.exists() and journal.stat().st_size > size:
                break
            time.sleep(0.01)
        time.sleep(dice.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = _drive(folder, 0.0)
    _go(process)
    _finish(process)
    _, trials = open_search(folder / "search")
    assert _results(trials) == _results(undisturbed)
    # Nothing that was written down is evaluated again: at most what the two workers of each killed driver had.
    evaluated = _evaluated(folder)
    assert len(evaluated) - len(set(evaluated)) <= 3 * 2


def test_two_drivers_share_the_work(evaluators, tmp_path):
    undisturbed = _searched(evaluators, tmp_path)
    folder = tmp_path / "two"
    folder.mkdir()
    drivers = [_drive(folder, 0.2) for _ in range(2)]
    _go(*drivers)
    for driver in drivers:
        _finish(driver)
    _, trials = open_search(folder / "search")
    assert _results(trials) == _results(undisturbed)
    evaluated = _evaluated(folder)
    assert len(evaluated) == len(set(evaluated))
    assert len({line.rpartition(" ")[2] for line in (folder / "log").read_text().splitlines()}) > 2


HOSTILE = {
    "crash": "SIGSEGV",
    "hang": "takes longer than the 3 s that a candidate has",
    "memory": "memory",
    "nan": "its figure 'loss' is nan, and no finite number",
    "nothing": "no stage gives the figure 'loss'",
    "raise": "ValueError: no such layer",
    "refuse": "it does not fit",
    "exit": "exit code 3",
}


def test_hostile_candidates_fail_and_the_search_goes_on(evaluators, tmp_path):
    space = Space("hostile", (Dimension("d0", (*HOSTILE, "good")),))
    goal = Goal((Objective("loss"),))
    budget = Budget(candidates=100)
    memory = 1 << 30
    trials = search(
        space, evaluators.Hostile(), goal, tmp_path, budget=budget, controller="random", memory_bytes=memory
    )
    failures = {t.candidate["d0"]: t.failure for t in trials.all()}
    assert failures.pop("good") is None and set(failures) == set(HOSTILE)
    for kind, words in HOSTILE.items():
        assert words in failures[kind] and "\n" not in failures[kind], (kind, failures[kind])
    assert trials.winner(goal).candidate == {"d0": "good"}


def test_forty_gigabytes_are_refused_by_the_limit_that_is_the_default(evaluators, tmp_path):
    space = Space("hostile", (Dimension("d0", ("forty", "good")),))
    goal = Goal((Objective("loss"),))
    trials = search(space, evaluators.Hostile(), goal, tmp_path, budget=Budget(candidates=2), controller="random")
    failures = {t.candidate["d0"]: t.failure for t in trials.all()}
    assert "memory" in failures["forty"] and failures["good"] is None


def test_memory_of_children_and_shared_memory_count(evaluators, tmp_path):
    space = Space("hostile", (Dimension("d0", ("children", "shared", "good")),))
    goal, budget = Goal((Objective("loss"),)), Budget(candidates=3)
    trials = search(space, evaluators.Hostile(90.0), goal, tmp_path, budget=budget, memory_bytes=1 << 30)
    failures = {t.candidate["d0"]: t.failure for t in trials.all()}
    assert failures.pop("good") is None
    assert all("processes that it started take 1." in failure for failure in failures.values()), failures


def test_what_is_shared_counts_once_and_children_of_the_dead_are_found():
    script = (
        "import ctypes, os, time\n"
        "ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\n"
        "data = bytearray(300 << 20)\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        os.fork() and os._exit(0)\n"
        "        break\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(5):
                process.stdout.readline()
            watch = MemoryWatch(process.pid, 1 << 30)
            deadline = time.monotonic() + 20
            while len(descendants(process.pid)) < 9 and time.monotonic() < deadline:
                time.sleep(0.1)
            # The parent, the four that ended, and what these left to it. Five times the data would be too much.
            family = descendants(process.pid)
            assert len(family) == 9
            time.sleep(1)
            assert watch.fault is None and process.poll() is None
            watch = MemoryWatch(process.pid, 200 << 20)
            assert process.wait(timeout=20) == -signal.SIGKILL
            assert "GB of memory, more than the 0.21 GB" in watch.fault
        finally:
            process.kill()


def test_what_cannot_be_searched_is_a_sentence(evaluators, tmp_path):
    never = Space("never", SPACE.dimensions, (lambda candidate: False,))
    budget = Budget(candidates=1)
    with pytest.raises(SearchError, match="refused 1000 candidates"):
        search(never, evaluators.Smooth(), GOAL, tmp_path, budget=budget)
    with pytest.raises(SearchError, match="at least one goal"):
        search(SPACE, evaluators.Smooth(), (), tmp_path, budget=budget)
    with pytest.raises(SearchError, match="cannot be sent to another process"):
        search(SPACE, _Unpicklable(evaluators.Smooth().stages), GOAL, tmp_path / "a", budget=budget)
    with pytest.raises(SearchError, match="there is no search in"):
        open_search(tmp_path / "nothing")
    Journal(tmp_path / "journal.jsonl").begin({"space": "other"})
    with pytest.raises(SearchError, match="its space is other, found smooth"):
        search(SPACE, evaluators.Smooth(), GOAL, tmp_path, budget=budget)


class _Unpicklable:
    def __init__(self, stages):
        self.stages, self.evaluate = stages, lambda candidate, stage: None


def test_a_winner_keeps_the_limits(evaluators, tmp_path):
    impossible = Goal((Objective("loss"),), (Limit("cost", -1.0),))
    trials = search(SPACE, evaluators.Smooth(), impossible, tmp_path, budget=Budget(candidates=4))
    assert trials.winner(impossible) is None and not trials.front(impossible)
