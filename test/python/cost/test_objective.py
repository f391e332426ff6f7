"""Counted costs as the tuner's objective: schedules are compared by counts, and never with times."""

import json

import pytest
import torch

from secateur.compiler.records.objective import TIME, Objective
from secateur.compiler.records.records import RecordsFile, new_record
from secateur.compiler.tune import TuneError, TuneOptions, tune_model
from secateur.runtime_targets.targets import get_target

TARGET, DEVICE = "android-arm64:cortex-a76", "qemu:cortex-a76"
COUNTS = Objective("counts", DEVICE)


@pytest.fixture(autouse=True)
def _records(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_RECORDS", str(tmp_path / "records"))


def test_an_objective_without_its_device_is_refused():
    for kind, device in (("counts", ""), ("cycles", ""), ("time", DEVICE)):
        with pytest.raises(TuneError, match="timed on this machine, and counted on a device"):
            Objective(kind, device)
    with pytest.raises(TuneError, match="accepted: time, counts, cycles"):
        Objective("speed", DEVICE)


def test_what_was_timed_is_applied_before_what_was_counted(tmp_path):
    target, op = get_target(TARGET), {"name": "sparsity.linear"}
    records = RecordsFile.of(target, tmp_path)

    def chosen(tile, objective):
        fields = {"schedule": {"row_tile": tile}, **objective.in_record()}
        return new_record("chosen", records.machine, op, "t", **fields)

    records.add([chosen(4, COUNTS)])
    assert [r["schedule"]["row_tile"] for r in records.chosen().values()] == [4]
    records.add([chosen(8, TIME), chosen(2, COUNTS)])
    assert [r["schedule"]["row_tile"] for r in records.chosen().values()] == [8]


def test_a_target_that_the_device_cannot_run_is_refused(counting):
    with pytest.raises(TuneError, match="cannot be counted on 'qemu:cortex-a53', which lacks"):
        options = TuneOptions(trials=1, objective=Objective("counts", "qemu:cortex-a53"))
        tune_model(*model(), target=TARGET, options=options)


def model():
    layer = torch.nn.Linear(64, 32).eval()
    with torch.no_grad():
        layer.weight[:, ::3] = 0
    return layer, (torch.randn(1, 16, 64),)


def test_schedules_are_found_by_counts_and_recorded_as_such(counting):
    options = TuneOptions(trials=3, jobs=1, seed=1, objective=COUNTS)
    report = tune_model(*model(), target=TARGET, options=options)
    (layer,) = report.layers
    assert report.objective == COUNTS.name and report.model_ms == {}
    assert layer.trials == 3 and layer.failed < 3 and 0 < layer.best_cost <= layer.default_cost
    # Whole numbers: instructions and loads.
    assert layer.best_cost == int(layer.best_cost) > 16 * 32 * 64 // 4 * 2 // 3
    lines = [json.loads(line) for line in RecordsFile.of(get_target(TARGET, workers=1)).path.read_text().splitlines()]
    assert {line["objective"] for line in lines} == {COUNTS.name}
    again = tune_model(*model(), target=TARGET, options=options)
    assert again.layers[0].reused and again.layers[0].best_cost == layer.best_cost
