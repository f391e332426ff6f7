"""Blocks, whole models and budgets on made-up latencies."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur.compression.latency import LatencyError, choose_block
from secateur.compression.latency.choose import coarseness
from secateur.compression.latency.for_budget import for_budget
from secateur.compression.latency.importance import loss_curves
from secateur.compression.latency.table import falling
from secateur.compression.latency.whole_model import Calibration, ModelLatency, calibrate, outside_of_layers
from secateur.compression.prune import parse_scheme
from secateur.runtime_targets.manifest import DispatchWork
from secateur.runtime_targets.profile import CallTime

BLOCKS = ("4x16", "4x1", "8x1", "16x1", "32x1")
SCHEMES = {block: parse_scheme("bcr", block) for block in BLOCKS}


def test_blocks_are_ordered_by_what_goes_together():
    texts = ("unstructured", "bcr 1x4", "bcr 4x16", "bcr 4x64", "bcr 4x1", "bcr 8x1", "bcr 16x1", "block 64", "filter")
    schemes = [parse_scheme(*text.split(" ")) for text in texts]
    ordered = sorted([*schemes[4:], *schemes[:4]], key=coarseness)
    # 1 x 4 and 4 x 1 are alike: four weights go together.
    assert [str(s) for s in ordered if str(s) != "bcr 1x4"] == [t for t in texts if t != "bcr 1x4"]
    assert coarseness(parse_scheme("bcr", "1x4")) == coarseness(parse_scheme("bcr", "4x1"))


def test_the_finest_block_within_the_tolerance_is_chosen(table_of):
    # Layers of `a` count three times: there 4x1 is slow.
    a = dict(zip(BLOCKS, (9.0, 2.0, 1.08, 1.0, 1.2), strict=True))
    b = dict(zip(BLOCKS, (1.0, 1.0, 1.0, 1.0, 1.0), strict=True))
    costs = {("a", SCHEMES[n]): {0.8: c} for n, c in a.items()} | {("b", SCHEMES[n]): {0.8: c} for n, c in b.items()}
    table = table_of({"a": 4.0, "b": 4.0}, costs, {"a": 3, "b": 1})
    assert choose_block(table, 0.8, 0.1).scheme == SCHEMES["8x1"]
    assert choose_block(table, 0.8, 0.01).scheme == SCHEMES["16x1"]
    assert choose_block(table, 0.8, 1.0).scheme == SCHEMES["4x1"]
    assert choose_block(table, 0.8, 10.0).scheme == SCHEMES["4x16"]
    assert choose_block(table, 0.8, 0.1).totals[SCHEMES["4x1"]] == pytest.approx(3 * 2.0 + 1.0)


def test_a_sparsity_that_was_not_measured_is_refused(table_of):
    table = table_of({"a": 4.0}, {("a", SCHEMES["4x1"]): {0.5: 2.0, 0.9: 1.0}})
    assert table.cost("a", SCHEMES["4x1"], 0.7) == pytest.approx(1.5)
    with pytest.raises(LatencyError, match=r"at 0 and from 0.5 to 0.9, found a sparsity of 0.95"):
        choose_block(table, 0.95)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12))
def test_made_to_fall_keeps_the_sum_and_falls(costs):
    found = falling(costs)
    assert all(late <= early + 1e-9 for early, late in itertools.pairwise(found))
    assert sum(found) == pytest.approx(sum(costs))
    if sorted(costs, reverse=True) == costs:
        assert found == costs


def test_a_calibration_explains_the_models_it_comes_from():
    found = calibrate(20.0, 5.0, ModelLatency(10.5, 27.0, 0, 0))
    assert (found.whole(20.0), found.whole(5.0)) == pytest.approx((27.0, 10.5))
    assert found.layers(27.0) == pytest.approx(20.0)
    # A pruned model that took longer than the dense one says nothing of `scale`.
    assert calibrate(20.0, 5.0, ModelLatency(30.0, 27.0, 0, 0)) == Calibration(25.0, 1.0)
    assert calibrate(20.0, 5.0, ModelLatency(4.0, 27.0, 0, 0)) == Calibration(0.0, 0.8)


def test_what_lies_outside_of_layers_is_told_by_the_modules_of_each_call():
    calls = [
        CallTime("linear", 3.0, 2.0, 2.0, 1),
        CallTime("norm", 1.0, 0.5, 0.5, 1),
        CallTime("linear", 9.0, 7.0, 7.0, 1),
    ]
    work = [
        DispatchWork(kernel="linear", paths=("a", "b"), weight_bytes=4),
        DispatchWork(kernel="linear", paths=("pooler",), weight_bytes=4),
        DispatchWork(kernel="norm", paths=("a",)),
    ]
    assert outside_of_layers(calls, work, ["a"]) == 7.5
    assert outside_of_layers(calls, [], ["a"]) == 9.5
    # These parts, not the dense model, decide what the layers may take.
    assert calibrate(20.0, 5.0, ModelLatency(10.0, 99.0, 0, 0, 4.0)) == Calibration(4.0, 1.2)


def machine(fixed, scale, table, bend=0.0):
    """A machine whose models take what the formula says, and `bend` more per kept weight squared."""
    calls = []

    def measure(scheme, rates):
        calls.append((scheme, dict(rates)))
        layers = sum(table.cost(name.partition(".")[0], scheme, rate) for name, rate in rates.items())
        dense = sum(count * table.dense[key] for key, count in table.counts.items())
        return ModelLatency(fixed + scale * layers + bend * layers**2, fixed + scale * dense + bend * dense**2, 0, 0)

    return measure, calls


@pytest.fixture
def case(table_of, layers_of):
    sparsities = (0.5, 0.7, 0.9)
    fast = {s: 10 * (1 - s) for s in sparsities}
    slow = {s: 3 * cost for s, cost in fast.items()}
    costs = {(key, SCHEMES[b]): c for key in "ab" for b, c in (("4x16", slow), ("16x1", fast))}
    table = table_of({"a": 10.0, "b": 10.0}, costs, {"a": 2, "b": 2})
    return table, layers_of(table)


def curves(layers):
    return lambda scheme: loss_curves(layers.sites, lambda name, s: s**2 * (1 + ord(name[0])), (0.5, 0.7, 0.9))


def test_a_machine_that_gets_slower_between_two_models_does_not_change_what_is_chosen(case):
    table, layers = case
    measure, calls = machine(3.0, 1.0, table)

    def slower(scheme, rates):
        found = measure(scheme, rates)
        factor = 1.5 ** (len(calls) - 1)
        return dataclasses.replace(found, cost=found.cost * factor, dense_cost=found.dense_cost * factor)

    found = for_budget(layers, table, 14.0, slower, curves(layers))
    assert found.rates == for_budget(layers, table, 14.0, machine(3.0, 1.0, table)[0], curves(layers)).rates
    assert len(calls) == 2


@pytest.mark.parametrize(("fixed", "scale", "bend"), [(3.0, 1.0, 0.0), (3.0, 1.3, 0.0), (1.0, 1.0, 0.01)])
def test_the_budget_is_met_on_the_machine(case, fixed, scale, bend):
    table, layers = case
    measure, calls = machine(fixed, scale, table, bend)
    found = for_budget(layers, table, 14.0, measure, curves(layers))
    assert found.choice.scheme == SCHEMES["16x1"]
    assert found.measured.cost <= 14.0 * 1.02
    assert found.measured.cost == pytest.approx(found.predicted, rel=0.02)
    assert len(calls) <= 4
    # All of the budget is used but for a step.
    assert found.measured.cost >= 13.0


def test_a_block_that_is_near_the_fastest_is_taken_where_it_is_finer(case):
    table, layers = case
    found = for_budget(layers, table, 40.0, machine(3.0, 1.0, table)[0], curves(layers), tolerance=3.0)
    assert found.choice.scheme == SCHEMES["4x16"]


def test_a_block_that_is_too_slow_at_every_sparsity_gives_way(case):
    table, layers = case
    # 4x16 takes 3 + 12 at the least.
    found = for_budget(layers, table, 14.0, machine(3.0, 1.0, table)[0], curves(layers), tolerance=3.0)
    assert found.choice.scheme == SCHEMES["16x1"]


def test_a_budget_that_cannot_be_met_names_the_least(case):
    table, layers = case
    with pytest.raises(
        LatencyError,
        match=r"cannot reach 6 ms on 'host-cpu': in bcr 16x1 at 90 % in every layer it takes 7 ms, of which 3 ms are",
    ):
        for_budget(layers, table, 6.0, machine(3.0, 1.0, table)[0], curves(layers))
    assert np.isclose(for_budget(layers, table, 7.0, machine(3.0, 1.0, table)[0], curves(layers)).predicted, 7.0)
