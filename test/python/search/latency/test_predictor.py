"""Latencies of candidates: which cells they are made of, what measures them, and that sums agree with whole models."""

import random
from collections import Counter

import numpy as np
import pytest
import torch
import transformers

from secateur.compiler.records.records import RecordsFile, new_record
from secateur.compiler.tune import tuner
from secateur.compression.latency.errors import LatencyError
from secateur.compression.latency.place import place_of
from secateur.compression.search.cut import Architecture
from secateur.compression.search.latency import LatencyPredictor
from secateur.compression.search.latency.cells import FIXED, Cell, cells_by_numbers, cells_of, times_of_cells
from secateur.compression.search.latency.covering import LAYERS, covering, model_of
from secateur.compression.search.latency.table import CellTable, Whole, fitted
from secateur.compression.search.spaces import architecture_space, compression_space
from secateur.compression.search.spaces.building import plan_for
from secateur.compression.search.spaces.plan import Plan
from secateur.runtime_targets.manifest import DispatchWork
from secateur.runtime_targets.profile import CallTime


@pytest.fixture(scope="module")
def dense():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        vocab_size=60,
        max_position_embeddings=40,
    )
    return transformers.BertForQuestionAnswering(config).eval()


PRUNED = {
    "heads.0": 3,
    "ffn.1": 64,
    "rate.ffn_in": 0.5,
    "scheme.ffn_in": "bcr 4x1",
    "rate.0.qkv": 0.75,
    "scheme.0.qkv": "unstructured",
}


def test_cells_of_a_candidate(dense):
    assert cells_of(plan_for(PRUNED, dense)) == {
        FIXED: 1,
        Cell("qkv", 3, "unstructured", 0.75): 1,
        Cell("qkv", 4): 1,
        Cell("output", 3): 1,
        Cell("output", 4): 1,
        Cell("attention", 3): 1,
        Cell("attention", 4): 1,
        Cell("ffn_in", 128, "bcr 4x1", 0.5): 1,
        Cell("ffn_in", 64, "bcr 4x1", 0.5): 1,
        Cell("ffn_out", 128): 1,
        Cell("ffn_out", 64): 1,
        Cell("ffn", 128): 1,
        Cell("ffn", 64): 1,
    }


def call(kernel, ms):
    return CallTime(kernel, 2 * ms, ms, ms, 1)


def test_calls_belong_to_the_layer_whose_weights_they_read(dense):
    plan = plan_for({"heads.1": 2}, dense)
    module = model_of(plan, dense)
    stem = "bert.encoder.layer."
    work = [
        DispatchWork(kernel="gather", paths=("bert.embeddings.word_embeddings",)),
        DispatchWork(
            kernel="qkv", paths=tuple(f"{stem}0.attention.self.{n}" for n in ("query", "key", "value")), weight_bytes=9
        ),
        DispatchWork(kernel="attention", paths=(f"{stem}0.attention.self",)),
        DispatchWork(kernel="linear", paths=(f"{stem}0.attention.output.dense",), weight_bytes=9),
        DispatchWork(kernel="norm", paths=(f"{stem}0.attention.output.LayerNorm",), weight_bytes=1),
        # Rounds the inputs of a linear layer, whose weights it does not read.
        DispatchWork(kernel="quantize", paths=(f"{stem}1.intermediate.dense",)),
        DispatchWork(
            kernel="linear", paths=(f"{stem}1.intermediate.intermediate_act_fn", f"{stem}1.intermediate.dense"),
            weight_bytes=9,
        ),
        DispatchWork(kernel="norm", paths=(f"{stem}1.output.LayerNorm",), weight_bytes=1),
    ]  # fmt: skip
    calls = [call(entry.kernel, 2.0**number) for number, entry in enumerate(work)]
    # The n-th call of a kernel did the n-th work of that kernel, whatever comes between; the last one nobody knows.
    found = times_of_cells([*calls, call("copy", 1000)], 9 * 0.25, work, module, plan)
    counts = cells_of(plan)
    expected = Counter(
        {
            FIXED: 1 + 1000 + 0.5,
            Cell("qkv", 4): 2.25,
            Cell("attention", 4): 4 + 16 + 0.5,
            Cell("output", 4): 8.25,
            # Both layers have these cells: the mean.
            Cell("ffn", 128): (32 + 128 + 0.5) / 2,
            Cell("ffn_in", 128): 64.25 / 2,
        }
    )
    assert found == {cell: pytest.approx(expected[cell]) for cell in counts}


def test_models_cover_what_is_missing_and_little_else(dense):
    generator = np.random.default_rng(0)
    space = architecture_space(dense) + compression_space(dense, per="layer")
    wanted = set()
    for _ in range(40):
        wanted |= set(cells_of(plan_for(space.sample(generator), dense)))
    wanted = set(random.Random(0).sample(sorted(wanted - {FIXED}), 60))
    models = covering(wanted, Architecture.of(dense), Plan((), hidden=32))
    covered = set().union(*(cells_of(plan) for plan in models))
    assert wanted <= covered
    assert all(len(plan.layers) <= LAYERS and plan.hidden == 32 for plan in models)
    # Each layer has a missing cell, and no side is made twice.
    layers = [layer for plan in models for layer in plan.layers]
    parts = Counter(cell.part for cell in wanted)
    assert len(layers) <= max(
        parts["qkv"] + parts["output"] + parts["attention"], parts["ffn_in"] + parts["ffn_out"] + parts["ffn"]
    )
    assert covering([], Architecture.of(dense), Plan(())) == []


def test_each_missing_table_of_words_is_in_a_model(dense):
    kind = Plan((), hidden=32)
    wanted = {Cell("fixed", 8), Cell("fixed", 16), Cell("qkv", 2)}
    models = covering(wanted, Architecture.of(dense), kind)
    assert [plan.embedding for plan in models] == [8, 16] and models[0].layers[0].heads == 2
    assert wanted <= set().union(*(cells_of(plan) for plan in models))
    words = model_of(models[0], dense).get_input_embeddings()
    assert (words.embedding_dim, words.features) == (8, 32)


def test_the_covering_model_has_the_cells(dense):
    layers = plan_for(PRUNED, dense).layers
    module = model_of(Plan((*layers, layers[0])), dense)
    assert Architecture.of(module) == Architecture((0, 1, 2), (3, 4, 3), (128, 64, 128))
    for number, layer in enumerate(module.bert.encoder.layer):
        assert float((layer.intermediate.dense.weight == 0).float().mean()) == pytest.approx(0.5, abs=0.02)
        zeros = float((layer.attention.self.query.weight == 0).float().mean())
        assert zeros == pytest.approx(0.0 if number == 1 else 0.75, abs=0.02)
    assert (
        len(list(dense.parameters())) == 2 * 16 + 5 + 2
        and not (dense.bert.encoder.layer[0].output.dense.weight == 0).any()
    )
    with torch.no_grad():
        assert torch.isfinite(module(input_ids=torch.ones(1, 8, dtype=torch.int64)).start_logits).all()


def test_slope_and_intercept_are_those_of_the_wholes():
    wholes = [Whole(1.1 * cells + 0.02, cells) for cells in (0.1, 0.5, 1.0)]
    assert fitted(wholes) == pytest.approx((1.1, 0.02))
    assert fitted([Whole(1.05, 1.0), Whole(1.07, 1.02)]) == pytest.approx((1.0, 0.05))
    assert fitted([]) == (1.0, 0.0)


def test_records_are_kept_by_what_figures_depend_on(tmp_path):
    place, cell = place_of("host-cpu"), Cell("qkv", 4, "bcr 4x1", 0.5)
    table = CellTable(place, {"hidden": 64}, tmp_path)
    table.add_cells({cell: 0.25, FIXED: 0.1})
    table.add_cells({cell: 0.35})
    for whole, milliseconds in ((Whole(0.5, 0.4), 7.0), (Whole(1.0, 1.0), 6.0)):
        table.add_whole(whole)
        table.add_anchor(milliseconds)
    again = CellTable(place, {"hidden": 64}, tmp_path)
    assert again.cells() == {cell: pytest.approx(0.3), FIXED: 0.1}
    assert again.wholes() == [Whole(0.5, 0.4), Whole(1.0, 1.0)] and again.anchor_ms() == 6.0
    other = CellTable(place, {"hidden": 32}, tmp_path)
    assert not other.cells() and not other.wholes() and other.anchor_ms() == float("inf")


def test_a_prediction_is_near_the_whole_model_and_measured_once(dense, tmp_path):
    stages = []
    predictor = LatencyPredictor(dense, tokens=32, cache=tmp_path, progress=stages.append)
    found = predictor.predict(PRUNED)
    assert stages == ["compiling the dense model", "measuring layers, model 1 of 1"]
    assert found.cost > 0 and set(found.cells) == set(cells_of(plan_for(PRUNED, dense)))
    # Other programs run beside tests: a wrong cell would be off by more.
    assert predictor.time_whole(predictor.compiled(PRUNED)).ratio == pytest.approx(found.ratio, rel=0.6)
    del stages[:]
    fresh = LatencyPredictor(dense, tokens=32, cache=tmp_path, progress=stages.append)
    assert fresh.predict(PRUNED).ratio == found.ratio and not stages
    # Layers whose parts are known, put together anew.
    fresh.predict({"layer.0": False, "ffn.1": 64, "rate.ffn_in": 0.5, "scheme.ffn_in": "bcr 4x1"})
    assert not stages


def test_models_of_another_hidden_width_have_a_table_of_their_own(dense, tmp_path):
    stages = []
    predictor = LatencyPredictor(dense, tokens=32, cache=tmp_path, progress=stages.append)
    wide, small = predictor.predict({}), predictor.predict({"hidden": 32, "heads.0": 3})
    assert small.cells[Cell("qkv", 4)] < 0.5 * wide.cells[Cell("qkv", 4)]
    assert stages.count("measuring layers, model 1 of 1") == 1
    compiled = predictor.compiled({"hidden": 32, "heads.0": 3})
    assert predictor.time_whole(compiled).ratio == pytest.approx(small.ratio, rel=0.6)
    assert {(layer.rows, layer.columns) for layer in compiled.manifest.layers} == {
        *((48, 32), (32, 48), (64, 32), (32, 64)),
        *((128, 32), (32, 128), (2, 32)),
    }


def test_layers_of_other_numbers_have_the_cells_of_their_table(dense, tmp_path):
    candidate = {"numbers": "f16", "numbers.1": "int8"}
    plan = plan_for(candidate, dense)
    found = cells_by_numbers(plan)
    assert {str(numbers): sum(counts.values()) for numbers, counts in found.items()} == {
        "f16 x f32": 7,
        "int8 x f32": 6,
    }
    predictor = LatencyPredictor(dense, tokens=32, cache=tmp_path)
    mixed, half, byte = (predictor.predict(c) for c in (candidate, {"numbers": "f16"}, {"numbers": "int8"}))
    assert min(half.ratio, byte.ratio) < 1.1 * mixed.ratio and mixed.ratio < 1.1 * max(half.ratio, byte.ratio)
    compiled = predictor.compiled(candidate)
    counted = compiled.report.targets[0].statistics["sparsity-number-format"]
    assert (counted["layers-in-int8"], counted["layers-in-f16"]) == (4, 5)
    assert compiled.report.quantization.exact


def test_what_cannot_be_measured_is_passed_over(dense, tmp_path):
    predictor = LatencyPredictor(dense, tokens=32, cache=tmp_path)
    plans = [plan_for({"numbers": "f32", "numbers.1": "f16 x f16"}, dense)]
    predictor.measure_cells(plans, pass_over=True)
    with pytest.raises(LatencyError, match="no arithmetic in f16"):
        predictor.measure_cells(plans)


def test_tuned_schedules_are_what_is_measured_and_compiled(dense, tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_RECORDS", str(tmp_path / "records"))
    stages, asked = [], []

    def tune_parts(imported, target, threads, options, progress, panel=0):
        """Finds the same schedule for all layers, in no time."""
        asked.append(options)
        schedule = {"row_tile": 2, "token_vectors": 1, "workgroups": 1, "row_vectors": 0, "unroll": 0, "tile_group": 0}
        tasks = tuner.tasks_of_model(imported.module, imported.weights, target, numbers=options.numbers)
        file = RecordsFile.of(target)
        file.add(new_record("chosen", file.machine, t.signature, t.target, schedule=schedule) for t in tasks)

    def predictor():
        del stages[:]
        return LatencyPredictor(dense, tokens=32, cache=tmp_path / "cells", progress=stages.append)

    predictor().predict({})
    predictor().predict({})
    assert not stages
    monkeypatch.setattr(tuner, "tune_parts", tune_parts)
    tuned = predictor()
    tuned.tune([plan_for(PRUNED, dense)], seconds=600)
    assert stages == ["tuning layers, model 1 of 2", "tuning layers, model 2 of 2"]
    assert [round(options.budget_seconds, -2) for options in asked] == [300, 600]
    # What was measured with other schedules is measured again, with these.
    tuned.predict({})
    assert "compiling the dense model" in stages
    used = tuned.compiled({}).report.targets[0].statistics["sparsity-schedule"]
    assert used["schedules-from-records"] == 9
    # Another process, or a later one, knows them.
    predictor().predict({})
    assert not stages
