"""A small pruned Hugging Face folder."""

import pytest
import torch
from transformers import BertConfig, BertModel

from secateur.commands import main


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("SECATEUR_RECORDS", str(tmp_path_factory.mktemp("records")))
        yield


@pytest.fixture(scope="session")
def dense_folder(tmp_path_factory):
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    folder = tmp_path_factory.mktemp("model") / "dense"
    BertModel(BertConfig(**sizes, vocab_size=50, max_position_embeddings=64)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pruned_folder(dense_folder):
    folder = dense_folder.parent / "pruned"
    arguments = ["prune", dense_folder, "-o", folder, "--sparsity", "0.8", "--quiet"]
    assert main([str(a) for a in arguments]) == 0
    return folder


@pytest.fixture(scope="session")
def bundle(pruned_folder):
    out = pruned_folder.parent / "model.bundle"
    assert main(["compile", str(pruned_folder), "-o", str(out), "--seq-len", "16", "--quiet"]) == 0
    return out
