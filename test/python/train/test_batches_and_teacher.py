"""Batches by length, and what a teacher's logits and losses are, against PyTorch."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from tiny_task import Windows, tiny_bert

from secateur.compression.train.batches import NumberedWindows, TrainingLoader, collate
from secateur.compression.train.distillation import Teacher, hidden_loss, logits_loss, model_inputs


def rows(loader, epoch):
    loader.set_epoch(epoch)
    return [batch["row"].tolist() for batch in loader]


def test_each_window_once_an_epoch_in_an_order_of_seed_and_epoch():
    windows = NumberedWindows(Windows(100, 32, 0))
    loader = TrainingLoader(windows, 8, 0)
    first = rows(loader, 0)
    assert sorted(row for batch in first for row in batch) == list(range(100))
    assert len(first) == len(loader) == 13
    assert rows(TrainingLoader(windows, 8, 0), 0) == first
    assert rows(loader, 1) != first
    assert rows(TrainingLoader(windows, 8, 1), 0) != first


def test_batches_hold_little_padding_and_lose_no_token():
    windows = NumberedWindows(Windows(400, 64, 0))
    loader = TrainingLoader(windows, 8, 0)
    tokens = padded = 0
    for batch in loader:
        tokens += int(batch["attention_mask"].sum())
        padded += batch["attention_mask"].numel()
        assert batch["input_ids"].shape[1] % 8 == 0
    assert tokens == windows.dataset.lengths.sum()
    assert padded < 1.2 * tokens


def test_collate_keeps_labels_and_cuts_only_padding():
    items = [Windows(1, 16, seed)[0] for seed in range(3)]
    for item in items:
        item["attention_mask"][9:] = 0
    items[1]["attention_mask"][:] = 0
    items[1]["attention_mask"][:3] = 1
    batch = collate(items)
    assert batch["input_ids"].shape == (3, 16 if int(items[0]["attention_mask"].sum()) > 8 else 8)
    assert batch["labels"].shape == (3,)


def test_logits_are_computed_once_and_survive_on_disk(tmp_path):
    windows = NumberedWindows(Windows(16, 16, 0))
    batch = collate([windows[i] for i in range(8)])
    module = tiny_bert(3)
    teacher = Teacher(module, len(windows), "key", tmp_path)
    with torch.no_grad():
        expected = module(**model_inputs(batch)).logits
    computed = teacher.logits(batch, 0, 16)["logits"]
    assert torch.equal(computed, expected.half().float())
    module.forward = None  # not asked again
    assert torch.equal(Teacher(module, len(windows), "key", tmp_path).logits(batch, 0, 16)["logits"], computed)


def test_logits_that_cannot_be_kept_are_computed_each_time(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    windows = NumberedWindows(Windows(16, 16, 0))
    batch = collate([windows[i] for i in range(8)])
    module = tiny_bert(3)
    teacher = Teacher(module, len(windows), "key", tmp_path)
    with torch.no_grad():
        expected = module(**model_inputs(batch)).logits.half().float()
    for _ in range(2):
        assert torch.equal(teacher.logits(batch, 0, 16)["logits"], expected)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def _flip(path, place):
    data = bytearray(path.read_bytes())
    data[place] ^= 0x55
    path.write_bytes(data)


@pytest.mark.parametrize("damage", ["values", "checksums", "header", "half of it", "another shape", "no checksums"])
def test_damaged_logits_are_computed_anew_with_a_note(tmp_path, damage):
    windows = NumberedWindows(Windows(16, 16, 0))
    batch, other = (collate([windows[i] for i in rows]) for rows in (range(8), range(8, 16)))
    module = tiny_bert(3)
    first = Teacher(module, len(windows), "key", tmp_path)
    expected = first.logits(batch, 0, 16)["logits"]
    untouched = first.logits(other, 0, 16)["logits"]
    del first
    (folder,) = tmp_path.glob("*/epoch-0")
    logits, checksums = folder / "logits.npy", folder / "checksums.npy"
    {
        "values": lambda: _flip(logits, 128 + 3),
        "checksums": lambda: _flip(checksums, 128 + 3),
        "header": lambda: _flip(logits, 20),
        "half of it": lambda: logits.write_bytes(logits.read_bytes()[: logits.stat().st_size // 2]),
        "another shape": lambda: np.save(logits, np.zeros((3, 2), np.float16)),
        "no checksums": lambda: checksums.unlink(),
    }[damage]()
    notes = []
    teacher = Teacher(module, len(windows), "key", tmp_path, note=notes.append)
    for _ in range(2):
        assert torch.equal(teacher.logits(batch, 0, 16)["logits"], expected)
        assert torch.equal(teacher.logits(other, 0, 16)["logits"], untouched)
    silent = damage == "no checksums"
    assert len(notes) == (0 if silent else 1), notes
    # What was computed anew is whole.
    module.forward = None
    again = Teacher(module, len(windows), "key", tmp_path, note=notes.append)
    assert torch.equal(again.logits(batch, 0, 16)["logits"], expected)
    assert len(notes) == (0 if silent else 1)


def test_loss_is_that_of_the_definition_and_ignores_padding():
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    student = {name: torch.randn(2, 4, generator=generator) for name in ("start_logits", "end_logits")}
    teacher = {name: torch.randn(2, 4, generator=generator) for name in ("start_logits", "end_logits")}
    total = 0.0
    for name in student:
        for row in range(2):
            kept = mask[row].bool()
            p = torch.softmax(teacher[name][row][kept] / 3, 0)
            q = torch.softmax(student[name][row][kept] / 3, 0)
            total += float((p * (p / q).log()).sum()) * 9 / 2 / 2
    assert np.isclose(float(logits_loss(student, teacher, mask, 3.0)), total, rtol=1e-5)
    student["start_logits"][0, 3] = 50
    assert np.isclose(float(logits_loss(student, teacher, mask, 3.0)), total, rtol=1e-5)


def test_hidden_loss_is_relative_to_the_teacher():
    mask = torch.tensor([[1, 1, 0]])
    teacher = (torch.zeros(1, 3, 2), torch.ones(1, 3, 2), 2 * torch.ones(1, 3, 2))
    student = tuple(1.5 * state for state in teacher)
    assert np.isclose(float(hidden_loss(student, teacher, mask)), 0.25)
