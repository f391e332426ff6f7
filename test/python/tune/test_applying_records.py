"""Records in the pipeline: applied to the op, target and tools they were made for, and to nothing else."""

import pytest

from secateur.compiler.pipeline.passmanager import PipelineError, run_pipeline
from secateur.compiler.records.records import RecordsFile, line_of, new_record
from secateur.compiler.records.tuned import Tuned
from secateur.compiler.tune.task import layer_name, tasks_of
from secateur.dialects.sparsity.attributes import SCHEDULE
from secateur.passes.base import PassContext, walk
from secateur.passes.scheduled.schedule_records import code_generator, record_key
from secateur.passes.scheduled.schedule_space import KNOBS, is_legal, layer_of, schedule_space
from secateur.passes.target import TargetDescription, target_of

TUNED = {"row_tile": 3, "token_vectors": 1, "workgroups": 2, "row_vectors": 0, "unroll": 0, "tile_group": 0}


def schedules(module, store, options):
    context = PassContext(store)
    run_pipeline(module, f"sparsity-schedule{{{options}}}", context)
    found = [op.attributes[SCHEDULE].values() for op in walk(module, "sparsity.linear")]
    return found, context.statistics


def chosen(task, schedule=TUNED, **changes):
    record = new_record("chosen", "m", task.signature, task.target, schedule=schedule)
    if changes:
        record |= changes
        record["key"] = record_key(record["op"], record["target"], record["tools"])
    return record


@pytest.fixture
def apply(tmp_path, module_and_weights):
    def run(*records, options=""):
        path = tmp_path / "some records.jsonl"
        path.write_bytes(b"".join(map(line_of, records)))
        (found,), statistics = schedules(*module_and_weights, f'records="{path}" {options}')
        return found, statistics

    return run


def test_the_last_chosen_schedule_is_applied(apply, task):
    found, statistics = apply(chosen(task, {**TUNED, "row_tile": 2}), chosen(task))
    assert found == {"row_tile": 3, "token_vectors": 1, "workgroups": 2}
    assert statistics["schedules-from-records"] == 1
    assert statistics[f"record-{task.key}"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"target": "#sparsity.target<{registers = 32 : i64, vector_bytes = 16 : i64}>"},
        {"tools": {**code_generator(), "iree-base-compiler": "3.12.0"}},
        {"tools": {**code_generator(), "secateur": "0.0.9"}},
        {"tools": {**code_generator(), "passes": "0" * 16}},
        {"kind": "trial"},
    ],
)
def test_a_record_of_another_target_or_other_tools_or_a_mere_trial_is_not_applied(apply, task, change):
    found, statistics = apply(chosen(task, **change))
    assert found["row_tile"] == 4
    assert statistics["schedules-from-records"] == 0


@pytest.mark.parametrize(
    "field", ["rows", "columns", "batch", "tokens", "panel", "type", "encoding", "kept", "operands", "attributes"]
)
def test_a_record_of_another_layer_is_not_applied(apply, task, field):
    other = {**task.signature, field: {"activation": '"relu"'} if field == "attributes" else "other"}
    found, _ = apply(chosen(task, op=other))
    assert found["row_tile"] == 4


@pytest.mark.parametrize(
    "schedule",
    [
        {**TUNED, "row_tile": 10**9},
        {**TUNED, "row_tile": -1},
        {**TUNED, "row_tile": "3"},
        {**TUNED, "other": 1},
        {"row_tile": 3},
        {},
    ],
)
def test_a_record_that_asks_for_what_a_layer_cannot_have_is_passed_over(apply, task, schedule):
    found, statistics = apply(chosen(task, schedule))
    assert found["row_tile"] == 4
    assert statistics["schedules-from-records"] == 0


def test_an_option_goes_before_a_record(apply, task):
    found, _ = apply(chosen(task), options="row-tile=2")
    assert found == {"row_tile": 2, "token_vectors": 1, "workgroups": 2}


def test_a_panel_that_is_given_finds_the_records_for_it(apply, module_and_weights):
    (task,) = tasks_of(*module_and_weights, panel=16)
    assert task.signature["panel"] == 16
    found, _ = apply(chosen(task), options="panel=16")
    assert found["row_tile"] == 3


def test_a_file_that_is_missing_is_an_error(module_and_weights):
    with pytest.raises(PipelineError, match="expected 'records' to name a file, found '/nowhere'"):
        schedules(*module_and_weights, "records=/nowhere")


def test_layers_that_differ_in_the_places_of_zeros_share_a_signature(layer_module):
    keys = {tasks_of(*layer_module(seed=seed))[0].key for seed in (0, 7)}
    others = {tasks_of(*layer_module(**c))[0].key for c in ({"rows": 64}, {"tokens": 16}, {"columns": 64})}
    assert len(keys) == 1 and len(keys | others) == 4


@pytest.mark.parametrize(("rows", "tokens", "extra"), [(48, 32, "1x"), (7, 1, ""), (33, 5, "2x"), (5, 128, "1x")])
@pytest.mark.parametrize("width", [16, 32, 64])
def test_all_of_the_space_is_legal_and_within_the_registers(layer_module, rows, tokens, extra, width):
    module, _ = layer_module(rows=rows, tokens=tokens, extra_x=extra)
    (op,) = walk(module, "sparsity.linear")
    description = TargetDescription(vector_bytes=width, registers=16, workers=2)
    layer = layer_of(op, description)
    space = schedule_space(layer)
    assert space and all(is_legal(layer, s) for s in space)
    for s in space:
        held = s["row_vectors"] or s["row_tile"]
        assert (held + 1) * s["token_vectors"] + 1 <= 16
    assert len({str(s) for s in space}) == len(space)
    assert not is_legal(layer, {**space[0], "row_tile": 1000})


def test_knobs_are_fields_of_the_schedule():
    from secateur.dialects.sparsity.attributes import Schedule

    # Threads that share columns are a GPU's, blocks of pixels a convolution's; the tuner is for linear layers on CPUs.
    assert {knob.name for knob in KNOBS} | {"column_pieces", "pixels"} == set(Schedule.OPTIONAL)


def test_records_of_a_target_change_the_key_of_a_compilation(task, target):
    assert Tuned.of(target).digest == ""
    records = RecordsFile.of(target)
    records.add([{**chosen(task), "machine": records.machine}])
    first = Tuned.of(target)
    records.add([{**chosen(task, {**TUNED, "row_tile": 2}), "machine": records.machine}])
    assert first.digest and first.digest != Tuned.of(target).digest


def test_used_records_are_those_that_a_pass_counted(task, target):
    records = RecordsFile.of(target)
    other = new_record("chosen", records.machine, {"name": "other"}, task.target, schedule=TUNED)
    records.add([{**chosen(task), "machine": records.machine}, other])
    tuned = Tuned.of(target)
    assert len(tuned.schedules) == 2
    lines = tuned.used({"sparsity-schedule": {f"record-{task.key}": 12}})
    assert lines == line_of({**chosen(task), "machine": records.machine})


def test_the_task_of_a_layer_has_its_target_and_epilogue(task):
    assert 'activation = "gelu"' in task.text and "sparsity.target" in task.text
    assert set(task.weights) == {"weight", "bias"} and set(task.inputs) == {"x", "residual"}
    assert task.signature["operands"] == ["bias", "residual"]


def test_merged_layers_have_a_name_that_can_be_read():
    assert layer_name("fc.weight") == "fc"
    merged = "+".join(f"layer.0.self.{name}.weight" for name in ("query", "key", "value"))
    assert layer_name(merged) == "layer.0.self.query+key+value"
    assert layer_name("a.weight+b.weight") == "a+b"


def test_the_target_of_a_module_is_that_of_its_layers(module_and_weights):
    module, store = module_and_weights
    (task,) = tasks_of(module, store)
    assert task.layer.target == target_of(module)
