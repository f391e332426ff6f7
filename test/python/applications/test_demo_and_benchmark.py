"""`make demo` and `make bench` on small models."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DEMO = ROOT / "applications" / "sentence_similarity"


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
