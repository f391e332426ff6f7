"""Models with fewer hidden features: readers and norms against least squares, folders, compiled code."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))

from small_encoders import CLASSES, DISTILBERT, SIZES, batches, build, inputs_of, outputs

from secateur.compiler import compile_model
from secateur.compression.search.cut import Architecture, Statistics, collect, cut_model
from secateur.compression.search.cut.encoder import Encoder
from secateur.compression.search.errors import SearchError
from secateur.frontends import example_inputs_for, load_model

CLASSIFIERS = {
    "BertForSequenceClassification": (transformers.BertConfig, SIZES),
    "DistilBertForSequenceClassification": (transformers.DistilBertConfig, DISTILBERT),
    "ElectraForSequenceClassification": (transformers.ElectraConfig, {**SIZES, "embedding_size": 32}),
}


def narrow(module, given, hidden=16, **options):
    dense = Architecture.of(module)
    statistics = collect(module, given, damping=1e-8)
    return cut_model(
        module, Architecture(dense.layers, dense.heads, dense.ffn, hidden), statistics, **options
    ), statistics


@pytest.mark.parametrize("name", [*(name for name in CLASSES if name != "MPNetModel"), *CLASSIFIERS])
def test_all_parts_lose_the_same_features(name, monkeypatch, tmp_path):
    for key, value in CLASSIFIERS.items():
        monkeypatch.setitem(CLASSES, key, value)
    module, given = build(name), batches()
    cut, _ = narrow(module, given, 24)
    assert Encoder(cut).hidden == 24 and Encoder(module).hidden == 32
    inputs = given[0]
    found = outputs(cut, inputs)
    assert torch.isfinite(found).all()
    cut.save_pretrained(tmp_path)
    loaded = load_model(tmp_path).module
    assert type(loaded) is type(module) and loaded.config.hidden_size == 24
    torch.testing.assert_close(outputs(loaded, inputs), found)


def test_readers_are_at_the_least_squares_optimum():
    module, given = build(), batches()
    cut, statistics = narrow(module, given, damping=1e-8)
    kept = statistics.stream.kept(16).numpy()
    for part in (
        lambda m: Encoder(m).linear(1, "expands"),
        lambda m: m.qa_outputs,
        lambda m: Encoder(m).projections(2)[1],
    ):
        old, new = part(module), part(cut)
        x = inputs_of(old, module, given)
        wanted = x @ old.weight.detach().double().numpy().T + old.bias.detach().double().numpy()
        design = np.concatenate([x[:, kept], np.ones((len(x), 1))], axis=1)
        best = np.square(design @ np.linalg.lstsq(design, wanted, rcond=None)[0] - wanted).sum()
        found = x[:, kept] @ new.weight.detach().double().numpy().T + new.bias.detach().double().numpy()
        assert np.square(found - wanted).sum() == pytest.approx(best, rel=1e-3)


def test_norms_are_fitted():
    module, given = build(), batches()
    cut, statistics = narrow(module, given)
    kept = statistics.stream.kept(16).numpy()
    norm, new = module.bert.encoder.layer[0].output.LayerNorm, cut.bert.encoder.layer[0].output.LayerNorm
    x = statistics.stream.norms["bert.encoder.layer.0.output.LayerNorm"].double()
    # Of padded tokens nothing is asked.
    seen = inputs_of(norm, module, given)
    rows = {tuple(row) for row in np.float32(np.float16(np.float32(seen)))}
    assert {tuple(row) for row in x.float().numpy()} <= rows and len(x) > 300
    with torch.no_grad():
        wanted = norm.double()(x)[:, kept].numpy()
        norm.float()
    part = x[:, kept].numpy()
    given = (part - part.mean(1, keepdims=True)) / np.sqrt(part.var(1, keepdims=True) + norm.eps)
    for feature in range(16):
        slope, shift = np.polyfit(given[:, feature], wanted[:, feature], 1)
        assert new.weight.detach()[feature].item() == pytest.approx(slope, rel=1e-3, abs=1e-4)
        assert new.bias.detach()[feature].item() == pytest.approx(shift, rel=1e-3, abs=1e-4)


def test_features_that_nobody_reads_go_first():
    module, given = build(), batches()
    encoder = Encoder(module)
    unread = torch.arange(8, 16)
    for number in range(3):
        for linear in (*encoder.projections(number), encoder.linear(number, "expands")):
            linear.weight.data[:, unread] = 0
    module.qa_outputs.weight.data[:, unread] = 0
    cut, statistics = narrow(module, given, 24)
    assert set(statistics.stream.order[:8].tolist()) == set(unread.tolist())
    assert (
        float(statistics.stream.errors[8])
        < 1e-9
        < float(statistics.stream.errors[9])
        <= float(statistics.stream.errors[-1])
    )
    # What is left is that norms are over fewer features: little.
    before, after = outputs(module, given[0]), outputs(cut, given[0])
    assert float((after - before).square().mean() / before.var()) < 0.15


def test_fewer_features_with_more_heads_and_all_else_compile(tmp_path):
    module = build()
    statistics = collect(module, batches(), cache=tmp_path / "cache")
    again = Statistics.load(next((tmp_path / "cache").iterdir()))
    assert (
        torch.equal(again.stream.order, statistics.stream.order)
        and again.stream.norms.keys() == statistics.stream.norms.keys()
    )
    # Two heads are what 16 features have room for in the config; the first layer has three.
    cut = cut_model(module, Architecture((0, 2), (3, 1), (40, 17), 16), again)
    cut.save_pretrained(tmp_path / "model")
    loaded = load_model(tmp_path / "model").module
    inputs = example_inputs_for(loaded, 1, 16)
    found = compile_model(loaded, inputs)(**inputs)
    with torch.no_grad():
        expected = cut(**inputs)
    torch.testing.assert_close(torch.as_tensor(found["start_logits"]), expected.start_logits, atol=1e-4, rtol=1e-3)


def test_hidden_widths_that_cannot_be_are_a_sentence():
    module = build()
    for hidden in (12, 40, 0):
        with pytest.raises(SearchError, match=f"multiple of 8, the features of a head, up to 32; found {hidden}"):
            Architecture((0,), (4,), (48,), hidden).check(module)
    words = transformers.BertForMaskedLM(transformers.BertConfig(**SIZES))
    with pytest.raises(SearchError, match="BertForMaskedLM stays: its outputs are words"):
        Architecture((0,), (4,), (48,), 16).check(words)
    with pytest.raises(SearchError, match="MPNetModel stays: its layers share a bias"):
        Architecture((0,), (4,), (48,), 16).check(build("MPNetModel"))
    with pytest.raises(SearchError, match="this ElectraModel is not 16, that of its embeddings"):
        Architecture((0,), (4,), (48,), 16).check(build("ElectraModel"))
    statistics = collect(transformers.BertModel(transformers.BertConfig(**SIZES)), batches(1))
    bare = build().bert
    with pytest.raises(SearchError, match="those of other weights"):
        cut_model(bare, Architecture((0,), (4,), (48,), 16), statistics)


def test_statistics_of_another_head_are_refused():
    module = build()
    statistics = collect(module.bert, batches(1))
    with pytest.raises(SearchError, match="on a model without 'bert"):
        cut_model(module, Architecture((0,), (4,), (48,), 16), statistics)
