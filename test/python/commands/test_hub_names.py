"""Names of models of the hub, which are in its cache here: every command that takes a model takes them."""

import shutil

import pytest


@pytest.fixture
def name(dense_folder, tmp_path, monkeypatch):
    """`some/bert`, in a cache of the hub, from a folder where nothing has that name."""
    home = tmp_path / "hub" / "models--some--bert"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("a" * 40)
    shutil.copytree(dense_folder, home / "snapshots" / ("a" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return "some/bert"


@pytest.mark.parametrize(
    "words",
    [
        ["inspect", "some/bert", "--json"],
        ["inspect", "some/bert", "--fusion", "--seq-len", "16", "--json"],
        ["compile", "some/bert", "--compile-to", "torch", "--seq-len", "16", "--json"],
        ["prune", "some/bert", "--sparsity", "0.5", "-o", "out", "--json"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_a_name_of_the_hub(secateur, name, words):
    result = secateur(*words, "-q")
    assert result.code == 0, result.err
    assert result.json


def test_a_bundle_has_the_models_name_and_is_compared_with_it(secateur, name):
    assert secateur("compile", name, "-o", "b", "--seq-len", "16", "-q").code == 0
    assert secateur("inspect", "b", "--json").json["model"] == "bert"
    result = secateur("bench", "b", "--model", name, "--rounds", "3", "--json", "-q")
    assert result.code == 0 and "PyTorch" in result.json["latency_ms"], result.err


def test_where_it_is_asked_for_a_tokenizer_that_is_said(secateur, name):
    result = secateur("eval", name, "--task", "squad", "--data", __file__, "-q")
    assert result.code == 1 and "has no tokenizer" in result.err
