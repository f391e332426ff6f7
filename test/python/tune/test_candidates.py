"""Candidates: compiled as the compiler would, checked against the reference, and timed in turns."""

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.records.records import RecordsFile
from secateur.compiler.records.tuned import model_op, site_op
from secateur.compiler.tune.candidate import Measurer, compile_candidate, compile_variant, long_enough, measure
from secateur.compiler.tune.errors import CandidateError
from secateur.compiler.tune.group import groups_of
from secateur.compiler.tune.options import TuneOptions
from secateur.compiler.tune.search import Crew, Machine, Search
from secateur.compiler.tune.task import tasks_of
from secateur.dialects.number_formats import number_format
from secateur.passes.base import PassContext

QUICK = ((3, 0.0),)


@pytest.fixture(scope="module")
def compiled(layer_module, tmp_path_factory):
    (task,) = tasks_of(*layer_module(extra_x="1x", epilogue='activation = "gelu",'))
    folder = str(task.write(tmp_path_factory.mktemp("task") / "t"))
    default = compile_candidate(folder, task.default, task.layer.panel, "host-cpu", 1)
    other = compile_candidate(folder, {"row_tile": 3, "token_vectors": 1, "workgroups": 2}, 16, "host-cpu", 1)
    return task, folder, default, other


def test_a_candidate_is_right_and_timed_in_turns_with_the_incumbent(compiled):
    _, folder, default, other = compiled
    assert default.digest != other.digest
    found = measure(folder, 1, other, default, QUICK)
    assert found["ratio"] == pytest.approx(found["ms"] / found["incumbent_ms"])
    assert found["whole"] and found["runs"] >= 3 and 0 < found["ms"] < 1000


def test_equal_code_has_one_digest(compiled):
    task, folder, default, _ = compiled
    # More vectors than a panel has are cut to as many as it has.
    same = compile_candidate(folder, {**task.default, "token_vectors": 2}, task.layer.panel, "host-cpu", 1)
    assert same == default


def test_a_hopeless_candidate_is_stopped_early(compiled):
    _, folder, default, other = compiled
    assert not measure(folder, 1, other, default, ((3, 1e-9), (3, 0.0)))["whole"]


def test_wrong_numbers_are_no_candidate(compiled, tmp_path):
    _, folder, default, other = compiled
    measurer = Measurer(folder, 1)
    wrong = [measurer._case.expected[0] + np.float32(0.01)]
    measurer._case = dataclasses.replace(measurer._case, expected=wrong)
    with pytest.raises(CandidateError, match=r"not the reference's: .*relative L2") as failure:
        measurer.measure(other, default, QUICK)
    assert failure.value.kind == "wrong"


def test_what_a_pass_refuses_is_refused(compiled):
    _, folder, _, _ = compiled
    with pytest.raises(CandidateError, match="expected 'panel' among") as failure:
        compile_candidate(folder, {"row_tile": 1}, 7, "host-cpu", 1)
    assert failure.value.kind == "refused"


@pytest.mark.parametrize(("tokens", "extra", "columns"), [(1, "", 32), (5, "", 16), (3, "2x", 24), (130, "1x", 8)])
def test_layers_of_any_shape_are_tasks(layer_module, tmp_path, tokens, extra, columns):
    (task,) = tasks_of(*layer_module(rows=19, columns=columns, tokens=tokens, extra_x=extra))
    folder = str(task.write(tmp_path / "t"))
    made = compile_candidate(folder, task.default, task.layer.panel, "host-cpu", 1)
    assert measure(folder, 1, made, made, QUICK)["ms"] > 0


def test_a_real_search_finds_a_schedule_that_is_right(layer_module, target, tmp_path):
    (task,) = tasks_of(*layer_module(extra_x="1x"))
    options = TuneOptions(trials=4, jobs=2)
    records = RecordsFile.of(target)
    with Crew(options) as crew:
        folder = task.write(tmp_path / "t")
        found = Search(task, folder, Machine("host-cpu", 1), records, crew, options).run(time.monotonic() + 120)
    assert found.trials == 4 and found.failed == 0
    assert 0 < found.best_cost <= found.default_cost
    chosen = [r for r in records.read() if r["kind"] == "chosen"]
    assert [r["schedule"] for r in chosen] == [found.schedule]


def test_calls_are_repeated_until_they_take_long_enough():
    counts = {"a": 0, "b": 0}

    def call(name):
        def run():
            counts[name] += 1
            time.sleep(0.001)

        return run

    loops, times = long_enough({n: call(n) for n in counts}, 0.005)
    assert 2 <= times <= 5
    before = counts["a"]
    loops["a"]()
    assert counts["a"] == before + times


def test_the_variants_of_a_fusion_site_are_compared_on_its_group(target, tmp_path):
    import torch
    from transformers import BertConfig, BertModel

    from secateur.compiler.tune.tuner import _structural
    from secateur.compression.prune import parse_scheme, prune_model
    from secateur.frontends import import_model

    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    model = prune_model(BertModel(BertConfig(**sizes, vocab_size=50)), parse_scheme("bcr", "4x1"), 0.7)[0]
    ids = torch.randint(0, 50, (1, 32))
    imported = import_model(model.eval(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    groups = {g.name.partition(":")[0]: g for g in groups_of(*_structural(imported.module, imported.weights, target))}
    assert {"qkv", "residual", "activation", "attention-scale"} <= set(groups)
    qkv = groups["qkv"]
    assert qkv.count == 2 and qkv.default == "merged" and "separate" in qkv.variants
    folder = qkv.write(tmp_path / "g")
    made = {}
    for variant in ("merged", "separate"):
        plan = tmp_path / f"{variant}.json"
        plan.write_text(f'{{"variants": {{"{qkv.signature}": "{variant}"}}}}')
        made[variant] = compile_variant(str(folder), {"sparsity-fuse": {"plan": str(plan)}}, "host-cpu", 1)
    assert made["merged"].digest != made["separate"].digest
    assert measure(str(folder), 1, made["separate"], made["merged"], QUICK)["ms"] > 0


@pytest.mark.parametrize("weights", ["f16", "int8"])
def test_candidates_of_a_format_are_compiled_in_it_and_have_records_of_their_own(layer_module, tmp_path, weights):
    size = {"rows": 256, "columns": 128}
    plain, (module, store) = tasks_of(*layer_module(**size))[0], layer_module(**size)
    with module.context:
        run_pipeline(module, f"sparsity-number-format{{weights={weights}}}", PassContext(store))
    (task,) = tasks_of(module, store)
    assert task.key != plain.key and task.numbers == number_format(weights)
    folder = str(task.write(tmp_path / "t"))
    candidate = compile_candidate(folder, task.default, task.layer.panel, "host-cpu", 1)
    # The numbers are those of the rounded weights, as near as f32 comes.
    assert measure(folder, 1, candidate, candidate, QUICK)["ms"] > 0
    stored = (Path(candidate.folder) / "weights.irpa").stat().st_size
    in_f32 = compile_candidate(str(plain.write(tmp_path / "p")), plain.default, plain.layer.panel, "host-cpu", 1)
    assert stored < (Path(in_f32.folder) / "weights.irpa").stat().st_size


def test_variants_and_panels_of_a_format_have_records_of_their_own():
    formats = [number_format(), number_format("f16"), number_format("int8"), number_format("f16", "f16")]
    for op in (site_op, model_op):
        assert len({str(op("a", numbers)) for numbers in formats}) == len(formats)
        assert op("a") == op("a", formats[0])
