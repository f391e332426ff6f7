"""`secateur tune` and `secateur compile --tune`: what was found is used, carried and taken over."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from transformers import BertConfig, BertModel

from secateur.compiler.records.records import RecordsFile, line_of, machine_of
from secateur.compression.prune import parse_scheme, prune_model

SIZE = ("--seq-len", "16")


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32}
    made = BertModel(BertConfig(**sizes, vocab_size=50, max_position_embeddings=64), add_pooling_layer=False)
    folder = tmp_path_factory.mktemp("model") / "bert"
    prune_model(made, parse_scheme("bcr", "4x1"), 0.7)[0].save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tuned(model, tmp_path_factory):
    """The report of a tuning, and the folder with its records."""
    folder = tmp_path_factory.mktemp("records")
    program = "import sys; from secateur.commands import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "tune", str(model), *SIZE, "--json", "--no-panels"]
    environment = {**os.environ, "SECATEUR_RECORDS": str(folder), "SECATEUR_CACHE": str(folder / "cache")}
    made = subprocess.run([*command, "--trials", "2"], env=environment, stdout=subprocess.PIPE, check=True)
    return json.loads(made.stdout), folder


@pytest.fixture
def records(tuned, target, records_folder):
    records_folder.mkdir()
    file = RecordsFile.of(target)
    shutil.copyfile(tuned[1] / file.path.name, file.path)
    return file


def test_the_report_has_every_layer_and_site_and_the_whole_model(tuned, records):
    (report,) = tuned[0]["models"]
    assert len(report["layers"]) >= 3
    for layer in report["layers"]:
        assert layer["trials"] == 2 and layer["failed"] == 0 and layer["best_cost"] <= layer["default_cost"]
    assert {v["name"].partition(":")[0] for v in report["variants"]} >= {"qkv", "residual"}
    assert all(ratio is not None for v in report["variants"] for ratio in v["ratios"].values())
    assert set(report["model_ms"]) == {"default", "tuned"}
    kinds = [r["kind"] for r in records.usable()]
    assert kinds.count("trial") == 2 * len(report["layers"])
    assert kinds.count("chosen") == len(report["layers"]) + len(report["variants"])
    assert not list((tuned[1] / "scratch").iterdir())


def test_records_are_used_by_compile_carried_by_the_bundle_and_taken_over(
    secateur, model, records, tmp_path, target, monkeypatch
):
    # Whatever was measured to be the fastest here: one layer gets a schedule that no default is.
    record = next(r for r in records.read() if r["kind"] == "chosen" and "schedule" in r)
    mine = {"row_tile": 3, "token_vectors": 1, "workgroups": 2, "row_vectors": 0, "unroll": 0, "tile_group": 0}
    records.add([{**record, "schedule": mine}])
    reports = []
    for extra in (("--no-records",), (), ()):
        code, out, _ = secateur("compile", model, "-o", tmp_path / "b", *SIZE, *extra, "--json")
        assert code == 0
        reports.append(json.loads(out))
    # The records are part of the cache's key.
    assert [r["cached"] for r in reports] == [False, False, True]
    counted = [r["targets"][0]["statistics"]["sparsity-schedule"] for r in reports]
    assert "schedules-from-records" not in counted[0]
    assert counted[1]["schedules-from-records"] == counted[1]["schedules-attached"] >= 3
    assert counted[1][f"record-{record['key']}"] >= 1

    monkeypatch.setenv("SECATEUR_RECORDS", str(tmp_path / "other"))
    code, out, _ = secateur("tune", "--import", tmp_path / "b", "--json")
    assert code == 0
    (added,) = json.loads(out)["imported"].values()
    assert list(added) == [machine_of(target)] and added[machine_of(target)] >= 3
    code, ir, _ = secateur("compile", model, *SIZE, "--compile-to", "scheduled")
    assert code == 0 and "row_tile = 3 : i64" in ir


def test_compile_tunes_what_was_not_tuned(secateur, model, records, tmp_path):
    lines = list(records.read())
    lost = next(r["key"] for r in lines if r["kind"] == "trial")
    records.path.write_bytes(b"".join(line_of(r) for r in lines if r["key"] != lost))
    arguments = ("compile", model, *SIZE, "-o", tmp_path / "b", "--tune", "--trials", "1", "--json")
    for _ in range(2):
        code, out, _ = secateur(*arguments)
        assert code == 0
        counted = json.loads(out)["targets"][0]["statistics"]["sparsity-schedule"]
        assert counted["schedules-from-records"] == counted["schedules-attached"] >= 3
        assert len([r for r in records.read() if r["kind"] == "trial" and r["key"] == lost]) == 1
    assert len(list(records.read())) == len(lines) - 1


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["tune"], 2, "name a model to tune, or a bundle with --import"),
        (["tune", "m", "--budget", "soon"], 2, "found 'soon'; accepted are durations"),
        (["tune", "m", "--sampler", "sa"], 2, "'sa' is not one of 'ga', 'tpe', 'random'"),
        (["tune", "my.zip"], 2, "secateur tune --import my.zip"),
        (["tune", "--import", "nowhere"], 2, "there is no bundle at 'nowhere'"),
        (["tune", "m", "--target", "phone"], 2, "there is no target 'phone'"),
        (["compile", "m", "-o", "x", "--tune", "--no-records"], 2, "'tune' makes records"),
        (["compile", "m", "-o", "x", "--trials", "3"], 2, "--tune"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(secateur, arguments, code, text):
    found, out, err = secateur(*arguments)
    assert (found, out) == (code, "")
    assert text in err and "Traceback" not in err


def test_a_bundle_without_records_says_so(secateur, model, tmp_path):
    assert secateur("compile", model, "--seq-len", "16", "-o", tmp_path / "b", "--quiet")[0] == 0
    code, _, err = secateur("tune", "--import", tmp_path / "b")
    assert code == 1 and "carries no records" in err


def test_records_of_another_machine_are_taken_over_and_not_used(secateur, model, tmp_path, target):
    from secateur.compiler.records.records import new_record, records_folder
    from secateur.compiler.records.tuned import RECORDS_IN_BUNDLE, Tuned
    from secateur.compiler.tune.bundles import import_records
    from secateur.runtime_targets.bundle import open_bundle, write_bundle

    assert secateur("compile", model, "--seq-len", "16", "-o", tmp_path / "b", "--quiet")[0] == 0
    line = line_of(new_record("chosen", "phone-00", {"name": "x"}, "#t", schedule={"row_tile": 1}))
    with open_bundle(tmp_path / "b") as bundle:
        files = {name: bundle.folder / name for name in bundle.manifest.files}
        write_bundle(tmp_path / "c", bundle.manifest, {**files, RECORDS_IN_BUNDLE: line})
    assert import_records(tmp_path / "c") == {"phone-00": 1}
    assert (records_folder() / "phone-00.jsonl").read_bytes() == line
    assert Tuned.of(target).digest == ""
