"""The search: what is tried is recorded, what fails is a failed trial, and what is best is chosen."""

import signal
import subprocess
import sys
import time

import pytest

from secateur.compiler.records.errors import TuneError
from secateur.compiler.records.records import RecordsFile
from secateur.compiler.tune.options import TuneOptions
from secateur.compiler.tune.search import Crew, Machine, Search
from secateur.passes.scheduled.schedule_space import schedule_space

FAKE = {"compile": "candidates_for_tests:compile_quick", "measure": "candidates_for_tests:measure_fake"}


def search(task, target, tmp_path, deadline=60.0, functions=FAKE, **options):
    made = TuneOptions(**{"trials": 12, "jobs": 1, **options})
    folder = task.write(tmp_path / f"task{time.monotonic_ns()}")
    with Crew(made) as crew:
        tuner = Search(task, folder, Machine("host-cpu", 1), RecordsFile.of(target), crew, made, **functions)
        return tuner.run(time.monotonic() + deadline)


def trials(target):
    return [r for r in RecordsFile.of(target).read() if r["kind"] == "trial"]


def test_the_whole_space_is_tried_once_and_the_best_is_chosen(task, target, tmp_path):
    space = schedule_space(task.layer)
    found = search(task, target, tmp_path, trials=1000, jobs=2)
    tried = [r["schedule"] for r in trials(target)]
    assert len(tried) == len(space) == found.trials and all(s in tried for s in space)
    # A tile of 6 gives wrong numbers.
    wrong = [r["schedule"] for r in trials(target) if r["status"] == "wrong"]
    assert sorted(map(repr, (sorted(s.items()) for s in wrong))) == sorted(
        repr(sorted(s.items())) for s in space if s["row_tile"] == 6
    )
    assert found.failed == len(wrong)
    best = max(s["row_tile"] for s in space)
    assert (found.schedule["row_tile"], found.schedule["workgroups"]) == (best, 1)
    assert found.best_cost < found.default_cost


@pytest.mark.parametrize("sampler", ["ga", "tpe", "random"])
def test_a_seed_gives_one_search(task, target, tmp_path, sampler):
    def tried(seed):
        RecordsFile.of(target).path.unlink(missing_ok=True)
        search(task, target, tmp_path, sampler=sampler, seed=seed)
        return [r["schedule"] for r in trials(target)]

    first = tried(1)
    assert tried(1) == first != tried(2)
    assert len({str(s) for s in first}) == 12


def test_candidates_that_crash_hang_or_take_the_memory_are_failed_trials(task, target, tmp_path):
    functions = {**FAKE, "compile": "candidates_for_tests:compile_fake"}
    found = search(task, target, tmp_path, functions=functions, trials=40, candidate_seconds=4.0, jobs=2)
    status = {(r["schedule"]["row_tile"], r["status"]) for r in trials(target)}
    assert {(5, "crashed"), (3, "timeout"), (2, "memory"), (6, "wrong")} <= status
    assert {tile for tile, s in status if s == "ok"}.isdisjoint({2, 3, 5, 6})
    assert found.trials == 40 and found.schedule["row_tile"] >= 4


def test_a_layer_that_was_tuned_is_not_searched_again(task, target, tmp_path):
    first = search(task, target, tmp_path)
    again = search(task, target, tmp_path)
    assert again.reused and again.schedule == first.schedule and len(trials(target)) == 12
    assert not search(task, target, tmp_path, again=True).reused
    assert len(trials(target)) == 24


def test_a_budget_ends_the_search_and_resume_goes_on(task, target, tmp_path):
    search(task, target, tmp_path, trials=5)
    found = search(task, target, tmp_path, trials=15, resume=True)
    tried = [str(r["schedule"]) for r in trials(target)]
    assert found.trials == 15 == len(tried) == len(set(tried))
    assert search(task, target, tmp_path, trials=15, resume=True).reused
    assert search(task, target, tmp_path, trials=30, again=True, deadline=0.0).trials == 0


def test_trials_of_other_tools_do_not_count(task, target, tmp_path):
    search(task, target, tmp_path, trials=5)
    path = RecordsFile.of(target).path
    # As if they had been made with another IREE: the key is then another.
    lines = list(RecordsFile.of(target).read())
    from secateur.compiler.records.records import line_of
    from secateur.passes.scheduled.schedule_records import record_key

    for r in lines:
        r["tools"] = {**r["tools"], "iree-base-compiler": "0.0"}
        r["key"] = record_key(r["op"], r["target"], r["tools"])
    path.write_bytes(b"".join(map(line_of, lines)))
    assert len(list(RecordsFile.of(target).read())) == len(lines)
    found = search(task, target, tmp_path, trials=5, resume=True)
    assert not found.reused and len(trials(target)) == 10


def test_a_default_that_fails_is_an_error_with_the_layer(task, target, tmp_path):
    functions = {**FAKE, "compile": "candidates_for_tests:leave"}
    with pytest.raises(TuneError, match=r"'fc' cannot be tuned, its default schedule fails: .*process ended"):
        search(task, target, tmp_path, functions=functions)


RUN = """
import sys, time
sys.path[:0] = [sys.argv[1]]
import test_search, conftest
from pathlib import Path
from secateur.compiler.tune.task import tasks_of
from secateur.runtime_targets.targets import get_target
target = get_target("host-cpu", workers=1)
(task,) = tasks_of(*conftest.pruned_layer(target, extra_x="1x", epilogue='activation = "gelu",'))
print("begun", flush=True)
functions = {**test_search.FAKE, "measure": sys.argv[3]}
found = test_search.search(task, target, Path(sys.argv[2]), functions=functions, trials=int(sys.argv[4]), resume=True)
print(found.trials, flush=True)
"""


def start(tmp_path, measure="candidates_for_tests:measure_fake", count=40):
    here = str(__file__).rpartition("/")[0]
    command = [sys.executable, "-c", RUN, here, str(tmp_path), measure, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def test_a_tuner_that_is_killed_at_any_moment_goes_on_where_it_was(task, target, tmp_path):
    size, delay = 0, 0.4
    while size < 40 and delay < 30:
        tuner = start(tmp_path)
        assert tuner.stdout.readline() == b"begun\n"
        time.sleep(delay)
        delay *= 1.9
        tuner.send_signal(signal.SIGKILL)
        tuner.wait()
        tried = [str(r["schedule"]) for r in trials(target)]
        # Every trial that was made is there, once.
        assert len(tried) == len(set(tried)) >= size
        size = len(tried)
    found = search(task, target, tmp_path, trials=40, resume=True)
    assert found.trials == 40
    assert len(trials(target)) == 40


def test_two_tuners_at_once_time_one_candidate_at_a_time(target, tmp_path, records_folder):
    tuners = [start(tmp_path / str(n), "candidates_for_tests:measure_in_turn", 20) for n in range(2)]
    for tuner in tuners:
        out, _ = tuner.communicate(timeout=120)
        assert out.split() == [b"begun", b"20"]
    assert not (records_folder / "overlap").exists()
    assert all(r["status"] in ("ok", "wrong") for r in trials(target))
    assert len([r for r in RecordsFile.of(target).read() if r["kind"] == "chosen"]) == 2


@pytest.mark.parametrize("values", [{"sampler": "sa"}, {"trials": 0}, {"jobs": 0}, {"seed": -1}])
def test_options_out_of_range_are_refused(values):
    with pytest.raises(TuneError, match=next(iter(values))):
        TuneOptions(**values)
