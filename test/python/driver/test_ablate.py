"""The ablation table: every stage is right, counts what it should, and is one pass from its neighbour."""

import itertools

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from secateur.compiler.errors import CompileError
from secateur.compiler.measure.ablate import STAGES, ablate
from secateur.compiler.measure.timing import Latency
from secateur.compiler.pipeline.levels import pipeline_to
from secateur.compiler.records.records import RecordsFile, new_record
from secateur.compiler.tune.tuner import tasks_of_model
from secateur.compression.prune import parse_scheme, prune_model
from secateur.frontends import import_model
from secateur.passes.scheduled import sparsity_eliminate_loads
from secateur.passes.scheduled.schedule_space import schedule_space
from secateur.runtime_targets.targets import get_target


@pytest.fixture(autouse=True)
def records_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_RECORDS", str(tmp_path / "records"))


@pytest.fixture(scope="module")
def pruned_bert():
    """One layer: each stage compiles the model anew."""
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertModel(BertConfig(**sizes, vocab_size=100, max_position_embeddings=40))
    return prune_model(model, parse_scheme("bcr", "4x16"), 0.7)[0]


def test_a_stage_adds_one_pass_to_the_one_before():
    pipelines = [pipeline_to("scheduled", leave_out=stage.leave_out).split(",") for stage in STAGES]
    added = [sorted(set(after) - set(before)) for before, after in itertools.pairwise(pipelines)]
    assert added == [["sparsity-reorder"], ["sparsity-eliminate-loads"], ["sparsity-tile"], []]
    assert all(set(before) <= set(after) for before, after in itertools.pairwise(pipelines))
    assert pipelines[-1] == pipeline_to("scheduled").split(",")


def test_table_of_a_model(pruned_bert, bert_inputs):
    found = ablate(pruned_bert, bert_inputs, rounds=3)
    kept = sum(
        int(np.count_nonzero(m.weight.detach())) for m in pruned_bert.modules() if isinstance(m, torch.nn.Linear)
    )
    none, reorder, eliminate, tile, tuning = found.stages
    for stage in (none, reorder, eliminate, tile):
        assert stage.kept_weights == kept
        assert stage.flops == none.flops > 2 * kept * bert_inputs["input_ids"].numel()
        assert stage.latency.median_ms > 0
    for stage in (none, reorder):
        assert stage.loads > stage.kept_weights / 2
        assert stage.weights_per_load == 1
        assert stage.index_bytes == none.index_bytes > 0
    assert eliminate.padding_values == tile.padding_values
    assert eliminate.loads == tile.loads < reorder.loads
    assert eliminate.weights_per_load > 1
    assert tuning.latency is None
    assert "secateur tune" in tuning.note


def test_tuning_is_a_stage_where_records_fit(pruned_bert, bert_inputs, monkeypatch):
    monkeypatch.setattr("secateur.compiler.measure.ablate.STAGES", STAGES[-2:])
    target = get_target("host-cpu", workers=1)
    imported = import_model(pruned_bert.eval(), bert_inputs)
    records = RecordsFile.of(target)
    task = tasks_of_model(imported.module, imported.weights, target)[0]
    schedule = next(s for s in schedule_space(task.layer) if s["row_tile"] == 1 and not s["row_vectors"])
    records.add([new_record("chosen", records.machine, task.signature, task.target, schedule=schedule, trials=1)])
    found = ablate(pruned_bert, bert_inputs, rounds=3)
    tile, tuning = found.stages
    assert tuning.latency is not None
    assert tuning.note == ""
    # One row a tile shares nothing.
    assert tuning.loads > tile.loads


def test_a_stage_that_computes_something_else_is_refused(pruned_bert, bert_inputs, monkeypatch):
    monkeypatch.setattr("secateur.compiler.measure.ablate.STAGES", STAGES[-2:-1])
    original = sparsity_eliminate_loads.join_rows

    def wrong(*arrays):
        joined = original(*arrays)
        joined.values = joined.values * np.float32(1.01)
        return joined

    monkeypatch.setattr(sparsity_eliminate_loads, "join_rows", wrong)
    with pytest.raises(CompileError, match="PyTorch"):
        ablate(pruned_bert, bert_inputs, rounds=3)


def test_speedups_skip_stages_that_did_not_run():
    from secateur.compiler.measure.ablate import Ablated, Ablation

    def stage(ms):
        return Ablated("s", "", latency=None if ms is None else Latency(3, ms, ms, ms))

    found = Ablation((stage(8.0), stage(None), stage(4.0), stage(5.0)), Latency(3, 20.0, 20.0, 20.0), 1)
    assert found.speedups() == [(1.0, 1.0, 2.5), None, (2.0, 2.0, 5.0), (0.8, 1.6, 4.0)]
