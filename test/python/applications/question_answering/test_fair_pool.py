"""Jobs share sessions in turns, within limits."""

import threading
import time

import pytest

from secateur.applications.question_answering.errors import BusyError, TimeLimitError
from secateur.applications.question_answering.fair_pool import FairPool

WAIT = 10


@pytest.fixture
def pool():
    made = FairPool(["one"], capacity=3)
    yield made
    made.close()


def steps(count, step):
    return lambda session: [step] * count


def blocker():
    """A first step that waits for an event, and the event."""
    event = threading.Event()
    return (lambda session: event.wait(WAIT) and None), event


def test_a_short_job_does_not_wait_for_a_long_one(pool):
    order = []
    gate, event = blocker()
    pool.submit(gate)
    long = pool.submit(steps(50, lambda session: order.append("long")))
    short = pool.submit(steps(2, lambda session: order.append("short")))
    event.set()
    short.done.result(WAIT)
    long.done.result(WAIT)
    assert order.index("short") < 3 and order[:8].count("short") == 2
    assert len(order) == 52


def test_one_job_uses_all_sessions():
    together = threading.Barrier(3, timeout=WAIT)
    pool = FairPool(["a", "b", "c"])
    try:
        # The barrier opens only where three steps of the job run side by side.
        pool.submit(steps(3, lambda session: together.wait() and None)).done.result(WAIT)
    finally:
        pool.close()


def test_too_many_jobs_are_sent_away_with_a_time(pool):
    gate, event = blocker()
    jobs = [pool.submit(gate)] + [pool.submit(steps(1, lambda session: None)) for _ in range(2)]
    assert pool.unfinished == 3
    with pytest.raises(BusyError, match="ask again in") as caught:
        pool.submit(steps(1, lambda session: None))
    assert 1 <= caught.value.retry_after_seconds <= 60
    event.set()
    for job in jobs:
        job.done.result(WAIT)
    assert pool.unfinished == 0
    pool.submit(steps(1, lambda session: None)).done.result(WAIT)


def test_what_a_step_raises_is_the_jobs_and_the_pool_goes_on(pool):
    def fail(session):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        pool.submit(steps(5, fail)).done.result(WAIT)
    assert pool.submit(steps(2, lambda session: None)).done.result(WAIT) is None
    assert pool.unfinished == 0


def test_a_cancelled_job_begins_no_further_step_and_makes_room(pool):
    gate, event = blocker()
    ran = []
    first = pool.submit(gate)
    jobs = [pool.submit(steps(3, lambda session: ran.append(1))) for _ in range(2)]
    for job in jobs:
        job.cancel()
    assert pool.unfinished == 1
    after = pool.submit(steps(1, lambda session: None))
    event.set()
    first.done.result(WAIT)
    after.done.result(WAIT)
    assert not ran


def test_a_job_ends_at_its_time_limit(pool):
    ran = []

    def slow(session):
        ran.append(1)
        time.sleep(0.05)

    with pytest.raises(TimeLimitError, match="took longer"):
        pool.submit(steps(1000, slow), time_limit_seconds=0.2).done.result(WAIT)
    assert len(ran) < 100
    assert pool.unfinished == 0


def test_close_cancels_what_waits():
    pool = FairPool(["one"])
    gate, event = blocker()
    pool.submit(gate)
    waiting = pool.submit(steps(1, lambda session: None))
    closing = threading.Thread(target=pool.close)
    closing.start()
    event.set()
    closing.join(WAIT)
    assert not closing.is_alive() and waiting.done.cancelled()
    with pytest.raises(BusyError):
        pool.submit(gate)
