"""Encoders that are cut out of a trained one, against least squares, NumPy and the dense model."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))

from small_encoders import CLASSES, batches, build, inputs_of, outputs

from secateur.compiler import compile_model
from secateur.compression.search.cut import Architecture, Statistics, collect, cut_model, layer_order
from secateur.compression.search.cut.encoder import Encoder
from secateur.compression.search.errors import SearchError
from secateur.frontends import FrontendError, example_inputs_for, load_model


@pytest.mark.parametrize(("part", "reader", "keep"), [("heads", "gathers", 2), ("ffn", "contracts", 19)])
def test_what_stays_is_the_least_squares_optimum(part, reader, keep):
    module, given = build(), batches()
    statistics = collect(module, given, damping=1e-9)
    dense = Architecture.of(module)
    sizes = {"heads": list(dense.heads), "ffn": list(dense.ffn)}
    sizes[part][1] = keep
    cut = cut_model(module, Architecture(dense.layers, **sizes), statistics, damping=1e-9)
    old, new = Encoder(module).linear(1, reader), Encoder(cut).linear(1, reader)
    columns = statistics.of(1, part).columns(keep).numpy()
    x = inputs_of(old, module, given)
    wanted = x @ old.weight.detach().double().numpy().T + old.bias.detach().double().numpy()
    design = np.concatenate([x[:, columns], np.ones((len(x), 1))], axis=1)
    solution = np.linalg.lstsq(design, wanted, rcond=None)[0]
    found = x[:, columns] @ new.weight.detach().double().numpy().T + new.bias.detach().double().numpy()
    best = np.square(design @ solution - wanted).sum()
    assert np.square(found - wanted).sum() == pytest.approx(best, rel=1e-4)
    # The error that the statistics foretell is that of the best solution.
    assert statistics.error(1, part, keep) == pytest.approx(best / np.square(wanted - wanted.mean(0)).sum(), rel=1e-2)
    np.testing.assert_allclose(new.weight.detach().numpy(), solution[:-1].T, atol=1e-3)


def test_the_order_is_not_worse_than_chance():
    module, given = build(), batches()
    statistics = collect(module, given, damping=1e-9)
    reader, structure = Encoder(module).linear(0, "contracts"), statistics.of(0, "ffn")
    x = inputs_of(reader, module, given)
    x = x - x.mean(0)
    wanted = x @ reader.weight.detach().double().numpy().T

    def error(columns):
        return np.square(x[:, columns] @ np.linalg.lstsq(x[:, columns], wanted, rcond=None)[0] - wanted).sum()

    generator = np.random.default_rng(0)
    others = [error(generator.choice(48, 24, replace=False)) for _ in range(50)]
    assert error(structure.columns(24).numpy()) < min(others)


@pytest.mark.parametrize("name", CLASSES)
def test_what_does_nothing_goes_first_and_changes_nothing(name):
    module = build(name)
    encoder = Encoder(module)
    for number in range(3):
        size = encoder.head_size(number)
        encoder.linear(number, "gathers").weight.data[:, size : 2 * size] = 0
        encoder.linear(number, "contracts").weight.data[:, 5:21] = 0
    statistics = collect(module, batches())
    heads = (4, 4, 4) if name == "MPNetModel" else (3, 3, 3)
    cut = cut_model(module, Architecture((0, 1, 2), heads, (32, 32, 32)), statistics)
    assert Architecture.of(cut) == Architecture((0, 1, 2), heads, (32, 32, 32))
    inputs = batches(1)[0]
    torch.testing.assert_close(outputs(cut, inputs), outputs(module, inputs), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", CLASSES)
def test_a_folder_of_it_is_loaded_again(name, tmp_path):
    module = build(name)
    heads = (4, 4) if name == "MPNetModel" else (1, 3)
    wanted = Architecture((0, 2), heads, (40, 17))
    cut = cut_model(module, wanted, collect(module, batches()))
    cut.save_pretrained(tmp_path)
    loaded = load_model(tmp_path).module
    assert Architecture.of(loaded) == Architecture((0, 1), heads, (40, 17))
    assert "load_model" in loaded.config.cut["note"] and loaded.config.cut["ffn"] == [40, 17]
    inputs = batches(1)[0]
    torch.testing.assert_close(outputs(loaded, inputs), outputs(cut, inputs))
    # It may be cut once more.
    smaller = cut_model(loaded, Architecture((1,), heads[1:], (9,)), collect(loaded, batches()))
    assert Architecture.of(smaller).ffn == (9,)


def test_what_the_config_can_say_is_loaded_by_transformers(tmp_path):
    module = build()
    cut = cut_model(module, Architecture((1, 2), (4, 4), (24, 24)), collect(module, batches()))
    cut.save_pretrained(tmp_path)
    assert not hasattr(cut.config, "cut")
    loaded = transformers.AutoModelForQuestionAnswering.from_pretrained(tmp_path).eval()
    inputs = batches(1)[0]
    torch.testing.assert_close(outputs(loaded, inputs), outputs(cut, inputs))


@pytest.mark.parametrize(("weights", "far"), [("f32", 1e-4), ("int8", 5e-2)])
def test_heads_and_widths_that_differ_from_layer_to_layer_compile(weights, far):
    module = build()
    cut = cut_model(module, Architecture((0, 2), (3, 1), (40, 17)), collect(module, batches()))
    inputs = example_inputs_for(cut, 1, 16)
    found = compile_model(cut, inputs, weights=weights)(**inputs)
    with torch.no_grad():
        expected = cut(**inputs)
    for name in ("start_logits", "end_logits"):
        difference = torch.as_tensor(found[name]) - expected[name]
        assert float(difference.norm() / expected[name].norm()) < far


def test_leaving_nothing_out_changes_nothing():
    module = build()
    cut = cut_model(module, Architecture.of(module), collect(module, batches()))
    for one, other in zip(cut.state_dict().values(), module.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_statistics_are_kept_by_weights_and_inputs(tmp_path):
    module, given = build(), batches()
    first = collect(module, given, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    calls = []
    again = collect(module, given, cache=tmp_path, progress=lambda *about: calls.append(about))
    assert not calls
    for name, structure in first.structures.items():
        for field in ("mean", "covariance", "order", "errors"):
            assert torch.equal(getattr(structure, field), getattr(again.structures[name], field))
    collect(module, given[:2], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    other = copy.deepcopy(module)
    Encoder(other).linear(0, "contracts").weight.data[0, 0] += 1
    with pytest.raises(SearchError, match="those of other weights"):
        cut_model(other, Architecture((0,), (4,), (48,)), first)
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(SearchError, match="no statistics of this version"):
        Statistics.load(tmp_path / "broken.safetensors")


def test_a_layer_that_does_nothing_is_left_out_first():
    module = build()
    encoder = Encoder(module)
    middle = encoder.layers[1]
    for part in (middle.attention.output, middle.output):
        # Post-norm layers that add nothing and do not scale give what they get: it was normalised before.
        part.dense.weight.data.zero_()
        part.dense.bias.data.zero_()
    for norm in (encoder.layers[0].output.LayerNorm, middle.attention.output.LayerNorm, middle.output.LayerNorm):
        norm.weight.data.fill_(1)
        norm.bias.data.zero_()
    found = layer_order(module, batches(1))
    assert found.order[0] == 1 and found.errors[1] < 1e-6 < found.errors[2]
    assert found.kept(2) == (0, 2) and len(encoder.layers) == 3 == module.config.num_hidden_layers


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        (((0, 3), (4, 4), (48, 48)), "has 3 layers, from 0; found layer 3"),
        (((0,), (5,), (48,)), "layer 0 of the model has 4 heads, found 5"),
        (((0,), (4,), (49,)), "layer 0 of the model has 48 FFN neurons, found 49"),
        (((1, 0), (4, 4), (48, 48)), "rising numbers"),
        (((0,), (4, 4), (48,)), "a number for each of its 1 layers, found 2"),
        (((0,), (0,), (48,)), "at least 1 in each layer, found 0"),
    ],
)
def test_what_cannot_be_cut_is_a_sentence(architecture, message):
    module = build()
    with pytest.raises(SearchError, match=message):
        cut_model(module, Architecture(*architecture), collect(module, batches(1)))


def test_models_of_other_families_and_shared_biases_are_refused():
    config = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=50, n_positions=32)
    with pytest.raises(SearchError, match="found a model of the type 'gpt2'"):
        Architecture.of(transformers.GPT2Model(config))
    with pytest.raises(SearchError, match="found Linear"):
        Architecture.of(torch.nn.Linear(3, 3))
    module = build("MPNetModel")
    with pytest.raises(SearchError, match="share a bias for each head"):
        Architecture((0,), (3,), (48,)).check(module)


def test_half_a_head_is_refused_when_a_folder_is_loaded(tmp_path):
    module = build()
    for projection in Encoder(module).projections(0):
        projection.weight.data = projection.weight.data[:20]
        projection.bias.data = projection.bias.data[:20]
    gathers = Encoder(module).linear(0, "gathers")
    gathers.weight.data = gathers.weight.data[:, :20].contiguous()
    module.save_pretrained(tmp_path)
    with pytest.raises(FrontendError, match="has 20 rows; heads of 8 rows can be removed"):
        load_model(tmp_path)
