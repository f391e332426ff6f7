"""Packed checkpoints: exact in fp16, and nothing read that was altered or belongs to another base."""

import copy
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from secateur.applications.question_answering.packed_checkpoint import PackedError, load_packed, read_note, save_packed


@pytest.fixture(scope="module")
def base_folder(qa_module, tmp_path_factory):
    """The bare encoder before fine-tuning: its names lack the prefix, its encoder has other weights."""
    folder = tmp_path_factory.mktemp("base")
    state = {name.removeprefix("bert."): v.clone() for name, v in qa_module.state_dict().items() if "qa_" not in name}
    save_file({n: v if "embeddings" in n else v + 1 for n, v in state.items()}, folder / "model.safetensors")
    return folder


@pytest.fixture
def pruned(qa_module):
    module = copy.deepcopy(qa_module)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim == 2 and "encoder" in name:
                weight[torch.rand(weight.shape, generator=generator) < 0.7] = 0
    return module


@pytest.fixture
def packed(pruned, base_folder, tmp_path):
    path = tmp_path / "packed.safetensors"
    sizes = save_packed(pruned, load_file(base_folder / "model.safetensors"), path, note="trained for a test")
    return path, sizes


def test_reading_gives_the_weights_in_fp16_exactly(packed, pruned, base_folder):
    path, _ = packed
    read = load_packed(path, base_folder)
    assert type(read) is type(pruned) and not read.training
    assert read.config.hidden_size == pruned.config.hidden_size
    expected = pruned.state_dict()
    assert read.state_dict().keys() == expected.keys()
    for name, value in read.state_dict().items():
        wanted = expected[name] if "embeddings" in name else expected[name].half().float()
        assert torch.equal(value, wanted), name
    assert read_note(path) == "trained for a test"


def test_the_file_holds_kept_values_and_bits_alone(packed, pruned):
    path, sizes = packed
    weights = [w for n, w in pruned.named_parameters() if w.ndim == 2 and "encoder" in n]
    count, kept = sum(w.numel() for w in weights), sum(int((w != 0).sum()) for w in weights)
    assert sizes.values_bytes == 2 * kept
    assert sizes.mask_bytes == count / 8
    assert sizes.sparsity_fraction == pytest.approx(1 - kept / count)
    assert sizes.file_bytes == path.stat().st_size
    held = load_file(path)
    assert sum(v.nbytes for v in held.values()) == sizes.values_bytes + sizes.mask_bytes + sizes.whole_bytes
    assert not any("embeddings" in name for name in held)
    assert re.search(r"70\.\d % are zero", str(sizes))


def test_a_flipped_byte_anywhere_is_refused(packed, base_folder):
    path, _ = packed
    data = path.read_bytes()
    places = np.random.default_rng(0).choice(len(data), 60, replace=False)
    for place in [0, 7, 8, 20, len(data) - 1, *places]:
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(PackedError, match=re.escape(f"'{path}'")):
            load_packed(path, base_folder)


def test_a_cut_file_is_refused(packed, base_folder):
    path, _ = packed
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PackedError, match="is no safetensors file, or a damaged one"):
        load_packed(path, base_folder)


def test_another_base_is_refused(packed, base_folder, tmp_path):
    path, _ = packed
    state = load_file(base_folder / "model.safetensors")
    name = "embeddings.word_embeddings.weight"
    save_file({**state, name: state[name] * 2}, tmp_path / "model.safetensors")
    with pytest.raises(PackedError, match="packed against another base"):
        load_packed(path, tmp_path)
    save_file({n: v for n, v in state.items() if n != name}, tmp_path / "model.safetensors")
    with pytest.raises(PackedError, match=f"has no tensor '{name}'"):
        load_packed(path, tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(PackedError, match=r"has no model\.safetensors"):
        load_packed(path, tmp_path)


def test_other_safetensors_files_are_refused(base_folder):
    with pytest.raises(PackedError, match="is no packed checkpoint"):
        load_packed(base_folder / "model.safetensors", base_folder)


@pytest.mark.parametrize(("value", "sentence"), [(float("nan"), "holds NaN"), (1e6, "fp16 ends at 65504")])
def test_weights_that_fp16_cannot_hold_are_refused(pruned, base_folder, tmp_path, value, sentence):
    with torch.no_grad():
        pruned.qa_outputs.weight[0, 0] = value
    with pytest.raises(PackedError, match=f"qa_outputs.weight' {sentence}|qa_outputs.weight' holds .*{sentence}"):
        save_packed(pruned, load_file(base_folder / "model.safetensors"), tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command_prints_the_sizes(qa_folder, base_folder, tmp_path):
    module = "secateur.applications.question_answering.packed_checkpoint"
    command = [sys.executable, "-m", module, qa_folder, "--base", base_folder, "-o", tmp_path / "out.safetensors"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "of kept weights in fp16" in done.stdout and (tmp_path / "out.safetensors").is_file()


def test_what_ships_is_whole_and_below_30_mb():
    from secateur.applications.question_answering.demo import DENSE, PRUNED

    for file in (DENSE, PRUNED):
        # Reading compares the digest.
        assert "F1" in read_note(file)
    assert DENSE.stat().st_size + PRUNED.stat().st_size < 30e6
    assert PRUNED.stat().st_size < 0.4 * DENSE.stat().st_size
