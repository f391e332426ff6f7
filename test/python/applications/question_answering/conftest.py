"""A tiny question-answering model with a tokenizer that spells every word, as a folder, a base and two bundles."""

import shutil

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering, BertTokenizer

from secateur.applications.question_answering.answer import Reader
from secateur.commands import main
from secateur.compression.prune import parse_scheme, prune_model

WINDOW = 64


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("SECATEUR_RECORDS", str(tmp_path_factory.mktemp("records")))
        yield


@pytest.fixture(scope="session")
def qa_module():
    torch.manual_seed(0)
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    module = BertForQuestionAnswering(BertConfig(**sizes, vocab_size=128, max_position_embeddings=WINDOW)).eval()
    with torch.no_grad():
        # A fresh head says much the same of all tokens; which one is best should not hang on rounding.
        module.qa_outputs.weight.mul_(40)
    # As packed checkpoints hold it, so that what was compiled once is found in the cache.
    return module.half().float()


@pytest.fixture(scope="session")
def qa_folder(qa_module, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "dense"
    qa_module.save_pretrained(folder)
    signs = [chr(c) for c in range(33, 127) if not chr(c).isupper()]
    spelled = [f"##{c}" for c in signs if c.isalnum()]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *spelled]
    assert len(words) <= 128
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bundle(qa_folder):
    out = qa_folder.parent / "dense.bundle"
    assert main(["compile", str(qa_folder), "-o", str(out), "--seq-len", str(WINDOW), "--quiet"]) == 0
    return out


@pytest.fixture(scope="session")
def pruned_bundle(qa_module, qa_folder):
    folder, out = qa_folder.parent / "pruned", qa_folder.parent / "pruned.bundle"
    prune_model(qa_module, parse_scheme("bcr", "4x4"), 0.5)[0].save_pretrained(folder)
    shutil.copy(qa_folder / "tokenizer.json", folder)
    assert main(["compile", str(folder), "-o", str(out), "--seq-len", str(WINDOW), "--quiet"]) == 0
    return out


@pytest.fixture(scope="module")
def reader(bundle, pruned_bundle):
    with Reader(bundle, pruned_bundle, sessions=2, capacity=4) as opened:
        yield opened
