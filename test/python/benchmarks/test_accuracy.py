"""What the accuracy page compares, and the page that is made of the results."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from secateur.benchmarks import accuracy
from secateur.benchmarks.accuracy_page import budget_text, task_tables, write_page
from secateur.benchmarks.accuracy_points import POINTS, Point
from secateur.benchmarks.peers.contest import Candidate
from secateur.benchmarks.results import Results

MACHINE = {"processor": "CPU", "architecture": "x86_64", "vector_extensions": ["avx2"], "cores": 2,
           "memory_bytes": 1 << 34, "system": "Linux 6", "python": "3.11"}  # fmt: skip
TRAINING = {"steps": 700, "epochs": 0.25, "tokens": 2_500_000, "minutes": 61.0, "machine": {"threads": 1},
            "job": {"learning_rate": 3e-4}}  # fmt: skip


def scored(point, f1, training=None):
    value = None if point is None else {**vars(point), "shape": point.shape}
    return {"point": value, "zeros_fraction": 0.0 if point is None else point.sparsity, "prune_cpu_seconds": 90.0,
            "trainings": [training] if training else [],
            "eval": {"metrics": {"f1": f1, "exact_match": f1 - 9}, "examples": 1000}}  # fmt: skip


def lines(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    plain, trained = Point("bcr", "4x1", 0.7), Point("bcr", "4x1", 0.7, steps=700)
    way = Point("bcr", "4x1", 0.7, "one-shot", "uniform")
    for point, f1, training in ((None, 80.0, None), (plain, 71.5, None), (trained, 78.25, TRAINING), (way, 7.5, None)):
        name = f"squad {point.name if point else 'dense'}"
        results.append(
            {"measurement": name, "machine": MACHINE, "finished": "2026", "record": scored(point, f1, training)}
        )
    return results


@pytest.mark.parametrize("task", list(POINTS))
def test_names_of_points_are_distinct_and_fit_for_folders(task):
    names = [point.name for point in POINTS[task]]
    assert len(set(names)) == len(names)
    assert not set("".join(names)) & set("/%,:")


def test_a_point_is_pruned_by_the_command(tmp_path):
    command = Point("bcr", "4x1", 0.7, steps=700).command(tmp_path / "dense", "squad", tmp_path / "out")
    assert command[:4] == ["prune", str(tmp_path / "dense"), "-o", str(tmp_path / "out")]
    assert " ".join(command[4:]) == (
        "--data squad --method second-order --scheme bcr --block 4x1 --sparsity 0.7 --rates loss --distill "
        "--steps 700 --learning-rate 0.0003"
    )
    assert "--distill" not in Point("block", "64", 0.5).command(tmp_path, "squad", tmp_path)


def test_the_tables_show_what_was_lost_and_the_budget(tmp_path):
    found = {name.removeprefix("squad "): line for name, line in lines(tmp_path).read().items()}
    text = "\n".join(task_tables("f1", found, None))
    assert (
        "| bcr 4x1, second-order, rates: loss | 70.0% | 78.25 | 69.25 | 1.75 | 1000 | 700 steps at 3e-04 = 0.25 epochs"
        in text
    )
    assert "| bcr 4x1 | - | 71.5 | - | - |" in text
    assert "| bcr 4x1 | 70% | one-shot | uniform | 7.5 |" in text
    assert budget_text(TRAINING).endswith("2.5 M tokens, 61 min on 1 thread(s)")


def test_what_is_lost_is_told_where_both_were_scored_on_the_same_examples(tmp_path):
    found = {name.removeprefix("squad "): line for name, line in lines(tmp_path).read().items()}
    found["dense"]["record"]["eval"]["examples"] = 10570
    assert "| 78.25 | 69.25 | - | 1000 | 700 steps" in "\n".join(task_tables("f1", found, None))


def test_the_page_is_written_without_the_environment_of_the_peers(tmp_path):
    page = tmp_path / "accuracy.md"
    write_page(page, lines(tmp_path).path, tmp_path / "nowhere")
    assert "## Question answering: SQuAD v1.1" in page.read_text()
    assert "Sentiment" not in page.read_text()


def test_the_page_can_be_made_again_from_the_data_beside_it(tmp_path):
    results = lines(tmp_path)
    line = results.read()["squad dense"]
    line["record"]["trainings"] = [{**TRAINING, "history": [{"loss": 1.0}]}]
    results.append(line)
    page, again = tmp_path / "accuracy.md", tmp_path / "again" / "accuracy.md"
    write_page(page, results.path, tmp_path / "nowhere")
    assert "[accuracy.jsonl](accuracy.jsonl)" in page.read_text()
    assert "history" not in page.with_suffix(".jsonl").read_text()
    write_page(again, page.with_suffix(".jsonl"), tmp_path / "nowhere")
    assert again.read_text() == page.read_text()


def test_what_is_done_is_not_done_again_and_a_failure_does_not_end_the_rest(tmp_path, monkeypatch, capsys):
    tried = []

    def score(options, name, point):
        tried.append(name)
        if len(tried) == 1:
            raise subprocess.CalledProcessError(1, "secateur", stderr="error: the disk is full\n")
        return scored(point, 50.0)

    monkeypatch.setattr(accuracy, "_score", score)
    arguments = [
        "--task",
        "squad",
        "--dense",
        str(tmp_path),
        "--only",
        "^block",
        "--results",
        str(tmp_path / "r.jsonl"),
    ]
    assert accuracy.main(arguments) == 1
    assert "the disk is full" in capsys.readouterr().err
    assert len(tried) == 4
    assert accuracy.main(arguments) == 0
    assert tried[4:] == tried[:1]
    assert [json.loads(text)["measurement"] for text in (tmp_path / "r.jsonl").read_text().splitlines()][-1] == (
        f"squad {tried[0]}"
    )


def test_the_chart_is_drawn_from_the_results(tmp_path):
    pytest.importorskip("matplotlib")
    results = lines(tmp_path)
    entries = {
        name: {"latency": {"median_ms": 5.0}}
        for name in ("Secateur dense", "LiteRT dense", "bcr 4x1 70 second-order loss")
    }
    results.append(
        {"measurement": "latency squad", "machine": MACHINE, "finished": "2026", "record": {"entries": entries}}
    )
    program = accuracy.__file__.replace("accuracy.py", "accuracy_chart.py")
    subprocess.run([sys.executable, program, results.path, "squad", tmp_path / "chart.png"], check=True)
    assert (tmp_path / "chart.png").read_bytes()[:4] == b"\x89PNG"


def test_latency_wants_the_dense_model_scored_first(tmp_path, capsys):
    arguments = ["--task", "squad", "--dense", str(tmp_path), "--latency", "--results", str(tmp_path / "r.jsonl")]
    assert accuracy.main(arguments) == 1
    assert "dense model was not" in capsys.readouterr().err
    assert not (tmp_path / "r.jsonl").exists()


def test_the_chart_shows_each_scheme_and_sparsity_as_good_as_it_is():
    trained = [point for point in POINTS["squad"] if point.steps and point.charted]
    assert len({(point.shape, point.sparsity) for point in trained}) == len(trained) == 4
    assert not Point("bcr", "4x1", 0.7, "one-shot", "uniform").charted
    assert not Point("bcr", "4x1", 0.7, "admm", steps=100).charted


def test_a_scored_bundle_is_timed_as_it_is(tmp_path):
    import torch

    from secateur.benchmarks.workshop import Workshop

    bundle = tmp_path / "a.bundle"
    bundle.mkdir()
    shop = Workshop(tmp_path / "kept", tmp_path, print)
    candidate = shop.for_bundle("a", bundle, torch.nn.Linear(2, 2), {"input": torch.ones(1, 2)})
    assert (candidate.model / "model.bundle").resolve() == bundle.resolve()
    shop.close()
    assert bundle.exists()


@pytest.fixture
def commands(monkeypatch):
    """The commands that a run gives, none of which is run: each leaves the files that the next one looks for."""
    given = []

    def secateur(*arguments):
        given.append(" ".join(arguments))
        if "-o" in arguments:
            out = Path(arguments[arguments.index("-o") + 1])
            out.mkdir(parents=True)
            (out / "config.json").write_text("{}")
            (out / "training.json").write_text(json.dumps({**TRAINING, "steps": len(given)}))
        return {"metrics": {"f1": 50.0, "exact_match": 40.0}, "examples": 1000}

    monkeypatch.setattr(accuracy, "_secateur", secateur)
    monkeypatch.setattr(accuracy, "_zeros", lambda folder: 0.7)
    return given


def test_a_point_goes_on_from_the_one_before_and_has_the_budget_of_both(tmp_path, monkeypatch, commands):
    point = Point("bcr", "4x1", 0.7, steps=100, more_steps=50)
    assert point.name == "bcr 4x1 70 second-order loss 100+50 steps"
    monkeypatch.setattr(accuracy, "POINTS", {"squad": [point]})
    results = tmp_path / "r.jsonl"
    arguments = ["--task", "squad", "--dense", "my-dense", "--only", "^bcr", "--results", str(results)]
    assert accuracy.main([*arguments, "--work", str(tmp_path)]) == 0
    first, then, compiled, scored = commands
    before = tmp_path / "squad" / "bcr-4x1-70-second-order-loss-100-steps"
    assert first.startswith(f"prune my-dense -o {before} ") and first.endswith("--steps 100 --learning-rate 0.0003")
    assert then.startswith(f"prune {before} -o {before.with_name(point.name.replace(' ', '-'))} ")
    assert "--method fixed --seed 1 --teacher my-dense --distill --steps 50" in then
    assert compiled.startswith("compile ") and "100+50" in compiled
    assert scored.startswith("eval ") and "100+50" in scored
    record = json.loads(results.read_text())["record"]
    assert [training["steps"] for training in record["trainings"]] == [1, 2]


def test_a_point_on_bytes_compiles_what_was_pruned_for_f32(tmp_path, monkeypatch, commands):
    points = [Point("bcr", "4x1", 0.7, numbers=numbers) for numbers in ("f32", "int8", "int8 solved")]
    monkeypatch.setattr(accuracy, "POINTS", {"squad": points})
    arguments = ["--task", "squad", "--dense", "d", "--only", "^bcr", "--results", str(tmp_path / "r.jsonl")]
    assert accuracy.main([*arguments, "--work", str(tmp_path)]) == 0
    pruned = [command for command in commands if command.startswith("prune")]
    assert len(pruned) == 2 and "--weights int8" in pruned[1] and "--weights" not in pruned[0]
    compiled = [command.split()[1:] for command in commands if command.startswith("compile")]
    folder = str(tmp_path / "squad" / "bcr-4x1-70-second-order-loss")
    assert [c[0] for c in compiled] == [folder, folder, f"{folder}-int8-solved"]
    assert [c[5:] for c in compiled] == [[], *[["--weights", "int8", "--arithmetic", "int8"]] * 2]
    found = Results(tmp_path / "r.jsonl").read()
    for name, f1 in (("", 71.5), (" int8", 71.25), (" int8 solved", 71.75)):
        found[f"squad bcr 4x1 70 second-order loss{name}"]["record"]["eval"]["metrics"]["f1"] = f1
    found["squad dense"] = {"record": scored(None, 80.0)}
    lines = {name.removeprefix("squad "): line for name, line in found.items()}
    text = "\n".join(task_tables("f1", lines, None))
    assert "| bcr 4x1 | 70% | none | 71.5 | 71.2 | 71.8 |" in text
    assert text.count("71.2") == 1


def test_latency_times_the_bundles_that_were_scored(tmp_path, monkeypatch, commands):
    import torch

    from secateur.benchmarks import measurements
    from secateur.benchmarks.workshop import Workshop

    class Stand(torch.nn.Module):
        def forward(self, input_ids, **rest):
            return input_ids.float()

    points = [Point("bcr", "4x1", 0.7), Point("unstructured", None, 0.7), Point("bcr", "4x1", 0.7, "one-shot")]
    monkeypatch.setattr(accuracy, "POINTS", {"squad": [*points, Point("bcr", "4x1", 0.9)]})
    monkeypatch.setattr(accuracy, "_module", lambda folder: Stand())
    monkeypatch.setattr(Workshop, "for_peer", lambda shop, name, peer, module, inputs: Candidate(name, peer, tmp_path))
    timed = {}

    def contest(shop, candidates, rounds):
        timed.update((c.name, (c.model / "model.bundle").resolve()) for c in candidates)
        return {"entries": {}}

    monkeypatch.setattr(measurements, "run_contest", contest)
    arguments = ["--task", "squad", "--dense", "d", "--results", str(tmp_path / "r.jsonl"), "--work", str(tmp_path)]
    assert accuracy.main([*arguments, "--only", "dense|70"]) == 0
    assert accuracy.main([*arguments, "--latency"]) == 0
    assert set(timed) == {
        *("Secateur dense", "LiteRT dense", "PyTorch dense", "DeepSparse unstructured 70 second-order loss"),
        *(point.name for point in points[:2]),
    }
    assert timed["Secateur dense"] == tmp_path / "squad" / "dense.bundle"
    for point in points[:2]:
        assert timed[point.name] == tmp_path / "squad" / f"{point.name.replace(' ', '-')}.bundle"
