"""Names of a classifier's classes: in the bundle, in what `inspect` and `run` print."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMultipleChoice, BertForSequenceClassification, BertForTokenClassification

from secateur.compiler.build.bundle_manifest import class_labels
from secateur.runtime_targets.class_names import named_classes
from secateur.runtime_targets.manifest import TensorSpec

NAMES = {0: "calm", 1: "[red] angry", 2: "glad"}
SIZES = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}


def _bundle(secateur, folder, model_class, **config):
    torch.manual_seed(0)
    model = model_class(BertConfig(**SIZES, vocab_size=50, max_position_embeddings=64, **config)).eval()
    model.save_pretrained(folder / "model")
    done = secateur("compile", folder / "model", "-o", folder / "bundle", "--seq-len", "8", "--quiet")
    assert done.code == 0, done.err
    return model, folder / "bundle"


@pytest.fixture
def ids(tmp_path):
    ids = np.arange(8)[None] + 3
    np.save(tmp_path / "ids.npy", ids)
    np.savez(tmp_path / "rest.npz", attention_mask=np.ones_like(ids), token_type_ids=np.zeros_like(ids))
    return ids, ["--input", f"input_ids={tmp_path / 'ids.npy'}", "--input", tmp_path / "rest.npz"]


@pytest.mark.parametrize("model_class", [BertForSequenceClassification, BertForTokenClassification])
def test_a_bundle_names_its_classes(secateur, tmp_path, ids, model_class):
    model, bundle = _bundle(secateur, tmp_path, model_class, id2label=NAMES)
    with torch.no_grad():
        wanted = model(torch.from_numpy(ids[0])).logits.argmax(-1).numpy()
    names = [[NAMES[i] for i in row] for row in wanted] if wanted.ndim == 2 else [NAMES[i] for i in wanted]
    shown = secateur("inspect", bundle).out
    assert "classes of logits: 0 calm, 1 [red] angry, 2 glad" in shown
    outputs = json.loads(secateur("inspect", bundle, "--json").out)["functions"]["main"]["outputs"]
    assert [output["labels"] for output in outputs] == [list(NAMES.values())]
    assert json.loads(secateur("run", bundle, *ids[1], "--json").out)["outputs"]["logits"]["classes"] == names
    flat = ", ".join(np.array(names, dtype=object).reshape(-1))
    assert f"classes by logits: {flat}" in secateur("run", bundle, *ids[1]).out


def test_numbers_are_no_names_and_choices_are_no_classes(secateur, tmp_path, ids):
    _, bundle = _bundle(secateur, tmp_path, BertForSequenceClassification, num_labels=3)
    assert "classes" not in secateur("inspect", bundle).out
    found = json.loads(secateur("run", bundle, *ids[1], "--json").out)
    assert "classes" not in found["outputs"]["logits"]
    # Its logits are [batch, choices]: transformers gives it two labels all the same.
    assert class_labels(BertForMultipleChoice(BertConfig(**SIZES, vocab_size=50)).config) == ()


def test_labels_are_in_the_order_of_their_numbers():
    class Config:
        id2label = {"10": "k", **{str(i): chr(ord("a") + i) for i in range(10)}}

    assert class_labels(Config) == tuple("abcdefghijk")
    Config.id2label = {1: "a", 2: "b"}
    assert class_labels(Config) == ()
    assert class_labels(None) == ()


def test_nan_has_no_class():
    spec = TensorSpec(name="y", shape=(3, 2), dtype="float32", axes=("batch", None), labels=("no", "yes"))
    found = named_classes(spec, np.array([[0, 1], [2, 1], [np.nan, 1]], np.float32))
    assert found.tolist() == ["yes", "no", None]
