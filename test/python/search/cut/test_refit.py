"""Cut models whose linear layers are solved for again, against NumPy and the dense model."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from small_encoders import CLASSES, batches, build, inputs_of, outputs

from secateur.compression.search.cut import Architecture, collect, cut_model
from secateur.compression.search.cut.encoder import Encoder
from secateur.compression.search.cut.refit import refit
from secateur.compression.search.spaces import build as build_candidate


def change(module, dense, given):
    """The squared difference of outputs over the variance of the dense model's."""
    pairs = [(outputs(module, batch), outputs(dense, batch)) for batch in given]
    return sum(float((a - b).square().sum()) for a, b in pairs) / sum(
        float((b - b.mean()).square().sum()) for _, b in pairs
    )


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("layers", [(0, 2), (1, 2), (0, 1), (0,)])
def test_outputs_are_nearer_without_these_layers(name, layers):
    module, given, others = build(name), batches(24), batches(28)[24:]
    own = Architecture.of(module)
    architecture = Architecture(layers, own.heads[: len(layers)], own.ffn[: len(layers)])
    statistics = collect(module, given)
    cut = cut_model(module, architecture, statistics)
    before, state = change(cut, module, others), copy.deepcopy(module.state_dict())
    refit(cut, module, architecture, statistics, given, 0.01)
    assert change(cut, module, others) < 0.8 * before
    assert all(torch.equal(tensor, state[key]) for key, tensor in module.state_dict().items())
    assert Architecture.of(cut) == Architecture(range(len(layers)), architecture.heads, architecture.ffn)


def test_heads_neurons_and_hidden_width_go_together_with_layers():
    module, given = build(), batches(24)
    statistics = collect(module, given)
    for hidden in (None, 24):
        architecture = Architecture((0, 2), (4, 2), (48, 30), hidden)
        cut = cut_model(module, architecture, statistics)
        before = change(cut, module, given)
        refit(cut, module, architecture, statistics, given, 0.01)
        assert change(cut, module, given) < 0.8 * before


def test_the_first_layer_that_reads_another_stream_is_at_its_optimum():
    module, given = build(), batches()
    architecture = Architecture((1, 2), (4, 4), (48, 48))
    statistics = collect(module, given)
    cut = cut_model(module, architecture, statistics)
    refit(cut, module, architecture, statistics, given, 1e-9)
    query = Encoder(module).projections(1)[0]
    wanted = inputs_of(query, module, given) @ query.weight.detach().double().numpy().T
    wanted += query.bias.detach().double().numpy()
    found = Encoder(cut).projections(0)[0]
    x = inputs_of(found, cut, given)
    design = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    best = design @ np.linalg.lstsq(design, wanted, rcond=None)[0]
    given_by_it = x @ found.weight.detach().double().numpy().T + found.bias.detach().double().numpy()
    least = np.square(best - wanted).sum()
    assert np.square(given_by_it - wanted).sum() == pytest.approx(least, rel=1e-2)
    # It had something to solve for, and the dense model's weights would not do.
    own = x @ query.weight.detach().double().numpy().T + query.bias.detach().double().numpy()
    assert 1e-3 < least < 0.5 * np.square(own - wanted).sum()


def test_where_nothing_was_cut_nothing_moves_and_padding_has_no_say():
    module, given = build(), batches()
    own, statistics = Architecture.of(module), collect(module, given)
    whole = cut_model(module, own, statistics)
    refit(whole, module, own, statistics, given, 0.01)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), module.parameters(), strict=True))
    results = []
    for word in (5, 9):
        padded = [{**b, "input_ids": torch.where(b["attention_mask"] != 0, b["input_ids"], word)} for b in given]
        architecture = Architecture((0, 2), (4, 4), (48, 48))
        cut = cut_model(module, architecture, statistics)
        refit(cut, module, architecture, statistics, padded, 0.01)
        results.append(outputs(cut, given[1]))
    torch.testing.assert_close(*results)


def test_candidates_that_leave_out_layers_are_refitted():
    module, given = build(), batches(24)
    statistics = collect(module, given)
    candidate = {"layers": "0,2", "ffn.*": 24}
    refitted = build_candidate(candidate, module, statistics, given)
    assert change(refitted, module, given) < 0.8 * change(build_candidate(candidate, module, statistics), module, given)
