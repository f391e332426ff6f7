"""Interleaving: every candidate runs as often, in turns, and figures are those of its own runs."""

import time

import pytest

from secateur.compiler.measure.timing import Latency, interleave, ratio


def test_candidates_take_turns_and_the_order_turns_too():
    calls = []
    found = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=4, warmup=1)
    assert calls == [*"ab", *"ab", *"ba", *"ab", *"ba"]
    assert {name: latency.runs for name, latency in found.items()} == {"a": 4, "b": 4}


def test_figures_are_order_statistics_in_milliseconds():
    latency = Latency.of([0.004, 0.001, 0.003, 0.002, 0.100])
    assert (latency.min_ms, latency.p25_ms, latency.median_ms) == pytest.approx((1.0, 2.0, 3.0))
    assert ratio(Latency.of([0.006]), latency) == pytest.approx(2.0)


def test_time_goes_to_the_candidate_that_took_it():
    found = interleave({"slow": lambda: time.sleep(0.02), "fast": lambda: None}, rounds=3, warmup=0)
    assert found["slow"].min_ms >= 20
    assert found["fast"].median_ms < 10


def test_the_budget_ends_it_but_not_before_three_rounds():
    found = interleave({"a": lambda: time.sleep(0.001)}, rounds=1000, warmup=0, budget_seconds=0.0)
    assert found["a"].runs == 3


def test_nothing_to_time_is_refused():
    with pytest.raises(ValueError, match="nothing to time"):
        interleave({})


def test_seconds_that_a_candidate_reports_count_in_place_of_those_that_passed():
    found = interleave({"a": lambda: 0.5, "b": lambda: 0.25}, rounds=3, warmup=1, reported=True)
    assert (found["a"].median_ms, found["b"].min_ms) == (500.0, 250.0)
