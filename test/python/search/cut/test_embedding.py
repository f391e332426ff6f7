"""Embeddings of words as two arrays, against NumPy and the dense model."""

import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))

from small_encoders import CLASSES, SIZES, batches, build, outputs

from secateur.compiler import compile_model
from secateur.compression.search.cut import Architecture, Statistics, collect, cut_model
from secateur.compression.search.cut.embedding import factor_embedding
from secateur.compression.search.errors import SearchError
from secateur.compression.search.evaluation.size import weight_bytes
from secateur.compression.search.spaces.building import plan_for
from secateur.frontends import FrontendError, example_inputs_for, load_model
from secateur.frontends.low_rank import LowRankEmbedding


def table(module):
    ids = torch.arange(60)
    with torch.no_grad():
        return module.get_input_embeddings()(ids).double().numpy()


def narrow(module, rank, hidden=None, statistics=None):
    own = Architecture.of(module)
    wanted = Architecture(own.layers, own.heads, own.ffn, hidden, rank)
    return cut_model(module, wanted, statistics or collect(module, batches()))


def test_it_is_the_nearest_table_of_its_rank_for_words_that_count_so():
    module = build()
    before, counts = table(module), torch.randint(0, 50, (60,), generator=torch.Generator().manual_seed(3))
    factor_embedding(module, 8, counts)
    weights = counts.numpy() + 0.1
    mean = np.average(before, axis=0, weights=weights)
    scale = np.sqrt(weights)[:, None]
    u, s, v = np.linalg.svd(scale * (before - mean), full_matrices=False)
    best = (u[:, :8] * s[:8]) @ v[:8] / scale + mean
    np.testing.assert_allclose(table(module), best, atol=1e-4)


def test_words_of_the_inputs_that_count_are_counted(tmp_path):
    module, given = build(), batches()
    found = collect(module, given, cache=tmp_path).words
    ids = np.concatenate([b["input_ids"].numpy()[b["attention_mask"].numpy() != 0] for b in given])
    np.testing.assert_array_equal(found.numpy(), np.bincount(ids, minlength=60))
    assert torch.equal(Statistics.load(next(tmp_path.iterdir())).words, found)


@pytest.mark.parametrize("name", CLASSES)
def test_a_folder_of_it_is_loaded_again(name, tmp_path):
    module = build(name)
    cut = narrow(module, 9)
    assert cut.get_input_embeddings().weight.shape == (60, 9)
    cut.save_pretrained(tmp_path)
    loaded = load_model(tmp_path).module
    inputs = batches(1)[0]
    assert torch.equal(outputs(loaded, inputs), outputs(cut, inputs))
    assert loaded.config.cut["embedding"] == 9 and "two arrays" in loaded.config.cut["note"]
    # Another cut of what was cut.
    assert narrow(loaded, 4).get_input_embeddings().weight.shape == (60, 4)
    with pytest.raises((RuntimeError, ValueError), match="mismatch"):
        type(module).from_pretrained(tmp_path)


@pytest.mark.parametrize(("rank", "hidden"), [(8, None), (8, 16), (16, 16)])
def test_it_goes_with_a_narrower_stream_and_compiles(rank, hidden, tmp_path):
    torch.manual_seed(0)
    module = transformers.BertForQuestionAnswering(transformers.BertConfig(**{**SIZES, "vocab_size": 5000})).eval()
    statistics = collect(module, batches())
    whole, cut = narrow(module, None, hidden, statistics), narrow(module, rank, hidden, statistics)
    # Rank 16 of a stream of 16 is the whole table.
    assert isinstance(cut.get_input_embeddings(), LowRankEmbedding) == (rank < (hidden or 32))
    cut.save_pretrained(tmp_path / "model")
    loaded = load_model(tmp_path / "model").module
    sizes = {}
    for label, model in (("whole", whole), ("cut", loaded)):
        compiled = compile_model(model, example_inputs_for(model, 1, 12), target="host-cpu", verify=True)
        compiled.save(tmp_path / label)
        sizes[label] = sum(file.stat().st_size for file in (tmp_path / label).rglob("*.irpa"))
    arrays = {name: value.numpy() for name, value in example_inputs_for(cut, 1, 12).items()}
    found = np.concatenate([compiled.run(arrays)[name].reshape(-1) for name in ("start_logits", "end_logits")])
    given = {name: torch.from_numpy(value) for name, value in arrays.items()}
    np.testing.assert_allclose(found, outputs(cut, given).numpy(), atol=1e-4)
    assert (sizes["cut"] < sizes["whole"]) == (rank < (hidden or 32))


def test_bytes_that_a_candidate_foretells_are_those_of_its_module():
    module = build()
    for candidate in (
        {"embedding": 9},
        {"embedding": 9, "hidden": 16},
        {"embedding": 32},
        {"embedding": 20, "hidden": 16},
    ):
        cut = narrow(module, candidate["embedding"], candidate.get("hidden"))
        held = sum(4 * p.numel() for p in cut.parameters())
        assert weight_bytes(plan_for(candidate, module), module) == pytest.approx(held)


def test_what_cannot_be_is_a_sentence():
    words = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES))
    with pytest.raises(SearchError, match="embedding of words of a BertForMaskedLM stays: its outputs are words"):
        plan_for({"embedding": 8}, words)
    with pytest.raises(SearchError, match="at least 1 feature, found 0"):
        plan_for({"embedding": 0}, build())
    with pytest.raises(SearchError, match="'embedding' is a whole number, found 'half'"):
        plan_for({"embedding": "half"}, build())


def test_arrays_that_do_not_go_together_are_refused(tmp_path):
    narrow(build(), 9).save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    state = safetensors.torch.load_file(file)
    key = "bert.embeddings.word_embeddings.projection.weight"
    state[key] = state[key][:, :5].contiguous()
    safetensors.torch.save_file(state, file, {"format": "pt"})
    with pytest.raises(
        FrontendError, match=r"arrays of the shapes \[\[60, 9\], \[32, 5\], \[32\]\], expected \[60, rank\]"
    ):
        load_model(tmp_path)
    del state["bert.embeddings.word_embeddings.projection.bias"]
    safetensors.torch.save_file(state, file, {"format": "pt"})
    with pytest.raises(FrontendError, match="arrays of the shapes"):
        load_model(tmp_path)
