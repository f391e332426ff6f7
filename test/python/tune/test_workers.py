"""Worker processes: whatever a candidate does, its owner gets a sentence and the next call a process that works."""

import os
import time
from pathlib import Path

import pytest

from secateur.compiler.tune.errors import CandidateError
from secateur.compiler.tune.workers import Worker, next_finished

HERE = "candidates_for_tests:"


@pytest.fixture
def worker():
    with Worker() as made:
        yield made


def test_a_call_returns_what_the_function_returns_and_the_process_stays(worker):
    first, second = worker.call(HERE + "echo", {"a": [1]}), worker.call(HERE + "echo", 2)
    assert (first[0], second[0]) == ({"a": [1]}, 2)
    assert first[1] == second[1] != os.getpid()


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        ("crash", "crashed", "SIGSEGV"),
        ("abort", "crashed", "SIGABRT"),
        ("leave", "crashed", "exit code 3"),
        ("raise_error", "crashed", "ZeroDivisionError: one"),
        ("hang", "timeout", "longer"),
        ("take_memory", "memory", "memory"),
    ],
)
def test_a_candidate_that_fails_ends_with_its_process(worker, function, kind, text):
    before = worker.call(HERE + "echo", 1)[1]
    with pytest.raises(CandidateError, match=text) as failure:
        worker.call(HERE + function, seconds=1.5)
    assert failure.value.kind == kind
    after = worker.call(HERE + "echo", 1)[1]
    assert after != before


def test_a_candidate_that_is_refused_leaves_the_process(worker):
    before = worker.call(HERE + "echo", 1)[1]
    with pytest.raises(CandidateError, match="too tall") as failure:
        worker.call(HERE + "refuse", "refused", "too tall")
    assert failure.value.kind == "refused"
    assert worker.call(HERE + "echo", 1)[1] == before


def test_what_a_candidate_started_ends_with_it(worker, tmp_path):
    with pytest.raises(CandidateError):
        worker.call(HERE + "start_child_and_hang", str(tmp_path / "child"), seconds=1.5)
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not _runs(child):
            return
        time.sleep(0.02)
    pytest.fail(f"process {child} still runs")


def test_several_workers_work_at_once(worker):
    with Worker() as other:
        worker.submit(HERE + "hang", seconds=60)
        other.submit(HERE + "echo", 5)
        assert next_finished([worker, other]) is other
        assert other.result()[0] == 5


def test_a_call_that_is_out_of_time_is_finished(worker):
    worker.submit(HERE + "hang", seconds=0.2)
    assert next_finished([worker]) is worker
    with pytest.raises(CandidateError, match="longer"):
        worker.result()


def _runs(process):
    try:
        # A zombie is no running process: whoever adopted it has not asked for its exit code.
        return Path(f"/proc/{process}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
