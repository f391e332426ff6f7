"""A training: killed and resumed it ends as one that ran through; frozen weights, errors that name a cause."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from tiny_task import TinyTask, tiny_bert  # noqa: E402

from secateur.compression.prune import PruningCallback  # noqa: E402
from secateur.compression.train import TrainError, TrainingJob, run_training  # noqa: E402

STEPS = 24

# What a process of its own trains; the first argument is the folder, the second how long a step takes at least.
SCRIPT = f"""
import sys, time
sys.path.insert(0, {str(HERE)!r})
import torch
torch.set_num_threads(1)
from test_run_training import job
from secateur.compression.train import run_training
made = job(sys.argv[1])
made.progress = lambda step: time.sleep(float(sys.argv[2])) or print(step.step, flush=True)
run_training(made)
"""


def job(out, **options):
    given = {"steps": STEPS, "batch": 8, "window": 16, "dropout": 0.1, "checkpoint_steps": 5, "evaluate_every": 1}
    given |= {
        "teacher": tiny_bert(1),
        "hidden_weight": 0.5,
        "evaluate_limit": 8,
        "teacher_cache": Path(out).parent / "t",
    }
    pruning = PruningCallback("admm", "bcr", "4x4", 0.5, updates=3)
    return TrainingJob(tiny_bert(), TinyTask(), None, Path(out), **{**given, "callbacks": [pruning], **options})


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def state(folder):
    from safetensors.torch import load_file

    return load_file(Path(folder) / "model.safetensors")


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    torch.set_num_threads(1)
    return run_training(job(tmp_path_factory.mktemp("straight") / "out"))


def kill_at(step, out):
    """Starts the training in a process and kills it once it has told of `step`."""
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, out, "0.02"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) >= step:
            break
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_killed_twice_and_resumed_is_bit_identical(straight, tmp_path):
    out = tmp_path / "out"
    kill_at(8, out)
    kept = sorted(p.name for p in (out / "checkpoints").iterdir())
    assert "checkpoint-5" in kept
    # As a kill in the middle of writing leaves it.
    (out / "checkpoints" / "checkpoint-7").mkdir()
    (out / "checkpoints" / "checkpoint-7" / "model.safetensors").write_bytes(b"half")
    kill_at(17, out)
    kept = sorted(p.name for p in (out / "checkpoints").iterdir())
    assert kept == ["checkpoint-10", "checkpoint-15", "job.json"]
    result = run_training(job(out))
    expected, found = state(straight.out), state(out)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert result.record["tokens"] == straight.record["tokens"]
    assert [entry["step"] for entry in result.record["history"]] == [
        entry["step"] for entry in straight.record["history"]
    ]
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "model.safetensors", "training.json"]


def test_another_seed_gives_other_weights(straight, tmp_path):
    other = run_training(job(tmp_path / "out", seed=1))
    name = "bert.encoder.layer.0.output.dense.weight"
    assert not torch.equal(state(straight.out)[name], state(other.out)[name])


def test_result_is_pruned_scored_and_frozen_where_asked(straight):
    weights = state(straight.out)
    layer = weights["bert.encoder.layer.0.intermediate.dense.weight"]
    assert float((layer == 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    dense = tiny_bert().state_dict()
    embeddings = [name for name in weights if "embeddings" in name]
    assert embeddings and all(torch.equal(weights[name], dense[name]) for name in embeddings)
    assert all(parameter.requires_grad for parameter in straight.module.parameters())
    assert {part.p for part in straight.module.modules() if isinstance(part, torch.nn.Dropout)} == {0.1}
    record = json.loads((straight.out / "training.json").read_text())
    assert record["scores"]["examples"] == 1000
    assert record["steps"] == STEPS
    assert record["job"]["seed"] == 0
    assert record["plan"]["steps_per_epoch"] == 7


def test_finished_training_is_returned_and_another_one_refused(straight):
    before = (straight.out / "training.json").stat().st_mtime_ns
    again = run_training(job(straight.out))
    assert again.record == straight.record
    assert all(torch.equal(again.module.state_dict()[name], value) for name, value in state(straight.out).items())
    with pytest.raises(TrainError, match=r"holds another training \(learning rate 0.0003, now 0.001\)"):
        run_training(job(straight.out, learning_rate=1e-3))
    with pytest.raises(TrainError, match="callbacks"):
        run_training(job(straight.out, callbacks=[PruningCallback("admm", "bcr", "4x4", 0.6, updates=3)]))
    assert (straight.out / "training.json").stat().st_mtime_ns == before


def test_folder_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(TrainError, match="holds no training"):
        run_training(job(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_training_asks_for_its_folder(tmp_path, monkeypatch):
    def refuse(out):
        raise TrainError(f"asked for {out.name}")

    monkeypatch.setattr("secateur.compression.train.run.locked_folder", refuse)
    with pytest.raises(TrainError, match="asked for out"):
        run_training(job(tmp_path / "out"))


def test_minutes_are_planned_once(tmp_path, monkeypatch):
    from secateur.compression.train import schedule

    ticks = iter(np.arange(1000) * 0.5)
    monkeypatch.setattr(schedule.time, "perf_counter", lambda: float(next(ticks)))
    before = tiny_bert().state_dict()
    planned = job(tmp_path / "out", steps=None, minutes=0.1, score_limit=0)
    result = run_training(planned)
    # Half a second a step by this clock: 0.93 * 6 s / 0.5 s.
    assert result.record["steps"] == 11
    assert result.record["plan"]["seconds_per_step"] == 0.5
    rates = {entry["step"]: entry["learning_rate"] for entry in result.record["history"] if "learning_rate" in entry}
    # One step of warm-up, then straight down to zero behind the last step.
    assert rates == {10: pytest.approx(3e-4 * 2 / 10)}
    stepped = run_training(job(tmp_path / "steps", steps=11, score_limit=0))
    assert all(torch.equal(value, state(stepped.out)[name]) for name, value in state(result.out).items()), (
        "measuring changed the training"
    )
    assert not torch.equal(before["classifier.weight"], state(result.out)["classifier.weight"])


class Poison(torch.nn.Module):
    """Lets so many calls pass, then gives NaN."""

    def __init__(self, inner, calls):
        super().__init__()
        self.inner, self.calls = inner, calls

    def forward(self, x):
        self.calls -= self.training
        return self.inner(x) * (1 if self.calls >= 0 else float("nan"))


def test_nan_loss_stops_and_keeps_the_checkpoint(tmp_path):
    made = job(tmp_path / "out", teacher=None, callbacks=[], evaluate_every=0)
    made.module.bert.pooler.activation = Poison(torch.nn.Tanh(), 12)
    with pytest.raises(TrainError, match=r"loss is nan at step 13 of 24.*checkpoint of step 10 stays"):
        run_training(made)
    weights = state(tmp_path / "out" / "checkpoints" / "checkpoint-10")
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    assert not (tmp_path / "out" / "training.json").exists()


def test_nan_in_weights_is_named(tmp_path):
    made = job(tmp_path / "out")
    with torch.no_grad():
        made.module.classifier.weight[0, 3] = float("nan")
    with pytest.raises(TrainError, match=r"'classifier.weight' of the model holds 1 values that are NaN"):
        run_training(made)
    assert not (tmp_path / "out").exists()


def test_full_disk_is_a_sentence_and_the_last_checkpoint_stays(tmp_path, monkeypatch):
    made = job(tmp_path / "out")
    write = torch.save

    def full(value, path, *rest, **more):
        if "checkpoint-10" in str(path) and str(path).endswith("optimizer.pt"):
            Path(path).write_bytes(b"half")
            raise RuntimeError("PytorchStreamWriter failed writing file: No space left on device\nmore")
        write(value, path, *rest, **more)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrainError, match=r"No space left on device.*run the same command again"):
        run_training(made)
    monkeypatch.undo()
    torch.set_num_threads(1)
    run_training(job(tmp_path / "out"))
    assert (tmp_path / "out" / "training.json").exists()


def test_everything_frozen_or_a_wrong_length_is_refused(tmp_path):
    with pytest.raises(TrainError, match="freezes every parameter"):
        run_training(job(tmp_path / "out", freeze=["*"]))
    with pytest.raises(TrainError, match="found epochs and steps"):
        job(tmp_path / "out", epochs=1)
    with pytest.raises(TrainError, match="more than 0, found 0"):
        job(tmp_path / "out", steps=0)


def test_teacher_of_another_class_is_refused(tmp_path):
    with pytest.raises(TrainError, match="BertForSequenceClassification, found BertModel"):
        run_training(job(tmp_path / "out", teacher=tiny_bert().bert))


def test_missing_package_is_named(tmp_path, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "accelerate" else find(name, *a))
    with pytest.raises(TrainError, match=r"pip install 'secateur\[train\]'"):
        run_training(job(tmp_path / "out"))
