"""Spaces made from a model, what their candidates say, and the models that they are."""

import json
import pickle

import numpy as np
import pytest
import torch
import transformers

from secateur.compression.prune import parse_scheme
from secateur.compression.search.cut import Architecture, collect
from secateur.compression.search.cut.encoder import Encoder
from secateur.compression.search.errors import SearchError
from secateur.compression.search.space import Dimension, Space, candidate_line
from secateur.compression.search.spaces import (
    architecture_space,
    build,
    compression_space,
    plan_of,
    space_named,
    uniform_space,
)
from secateur.compression.search.spaces.building import number_plan
from secateur.dialects.number_formats import number_format

HEADS, FFN = (4, 4, 4), (64, 64, 64)


@pytest.fixture(scope="module")
def dense():
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        vocab_size=60,
        max_position_embeddings=40,
    )
    return transformers.BertForQuestionAnswering(config).eval()


@pytest.fixture(scope="module")
def batches():
    generator = torch.Generator().manual_seed(1)
    return [{"input_ids": torch.randint(3, 60, (8, 12), generator=generator)} for _ in range(4)]


@pytest.fixture(scope="module")
def statistics(dense, batches):
    return collect(dense, batches)


def test_the_most_particular_name_counts():
    plan = plan_of(
        {
            "layer.1": False,
            "heads.*": 2,
            "heads.2": 3,
            "ffn.0": 16,
            "rate.*": 0.5,
            "rate.2": 0.6,
            "rate.ffn_in": 0.7,
            "rate.2.ffn_in": 0.8,
            "rate.0.output": 0.0,
            "scheme.*": "bcr 4x1",
            "scheme.2.qkv": "unstructured",
            "numbers": "int8 x int8",
        },
        HEADS,
        FFN,
    )
    first, last = plan.layers
    assert (first.number, first.heads, first.ffn) == (0, 2, 16)
    assert (last.number, last.heads, last.ffn) == (2, 3, 64)
    band, free = parse_scheme("bcr", "4x1"), parse_scheme("unstructured")
    assert first.pruning == {"qkv": (band, 0.5), "ffn_in": (band, 0.7), "ffn_out": (band, 0.5)}
    assert last.pruning == {"qkv": (free, 0.6), "output": (band, 0.6), "ffn_in": (band, 0.8), "ffn_out": (band, 0.6)}
    assert plan.numbers == number_format("int8", "int8")


def test_numbers_of_layers_are_those_of_the_most_particular_name(dense):
    candidate = {
        "numbers": "f16",
        "numbers.*": "int8",
        "numbers.1": "f16",
        "numbers.ffn_out": "int8 x int8",
        "numbers.2.output": "f32",
    }
    plan = plan_of(candidate, HEADS, FFN)
    assert [{kind: str(found) for kind, found in layer.numbers.items()} for layer in plan.layers] == [
        {"qkv": "int8 x f32", "output": "int8 x f32", "ffn_in": "int8 x f32", "ffn_out": "int8 x int8"},
        {"ffn_out": "int8 x int8"},
        {"qkv": "int8 x f32", "output": "f32 x f32", "ffn_in": "int8 x f32", "ffn_out": "int8 x int8"},
    ]
    numbers = number_plan(plan, dense)
    stem = "bert.encoder.layer"
    for name, wanted in (
        (f"{stem}.0.attention.self", "int8 x f32"),
        (f"{stem}.0.attention.self.key", "int8 x f32"),
        (f"{stem}.2.attention.output.dense", "f32 x f32"),
        (f"{stem}.1.intermediate.dense", "f16 x f32"),
        (f"{stem}.1.output.dense", "int8 x int8"),
        ("bert.embeddings.word_embeddings", "f16 x f32"),
    ):
        assert str(numbers.of(name)) == wanted


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ({"head.0": 3}, "says nothing with 'head.0'"),
        ({"rate.0.query": 0.5}, "says nothing with 'rate.0.query'"),
        ({"rate.*": 0.5}, "has a scheme such as 'bcr 4x1', found None for '0.qkv'"),
        ({"rate.*": 1.0, "scheme.*": "bcr 4x1"}, "from 0 to below 1, found 1.0"),
        ({"rate.*": 0.5, "scheme.*": "bar 4x1"}, "'bar 4x1' for '0.qkv' is no scheme"),
        ({"layers": "0,x"}, "numbers such as"),
        ({"layers": "0,7"}, "the candidate names layer 7"),
        ({"layer.5": True}, "the candidate names 'layer.5'"),
        ({f"layer.{n}": False for n in range(3)}, "leaves out all layers"),
        ({"ffn.*": "many"}, "whole numbers, found"),
        ({"hidden": 1.5}, "'hidden' is a whole number, found 1.5"),
        ({"numbers.3.key": "f16"}, "says nothing with 'numbers.3.key'"),
        ({"numbers.0": "int9"}, "'numbers' are 'int9'"),
        ({"numbers": "f32 x int8"}, "arithmetic in int8 takes weights of int8"),
    ],
)
def test_what_says_nothing_is_a_sentence(candidate, message):
    with pytest.raises(SearchError, match=message):
        plan_of(candidate, HEADS, FFN)


@pytest.mark.parametrize(
    "names", ["architecture", "uniform", "compression", "layers", "architecture,hidden,embeddings,layers"]
)
def test_every_candidate_of_a_made_space_is_in_the_model(dense, names):
    space = pickle.loads(pickle.dumps(space_named(names, dense)))
    generator = np.random.default_rng(0)
    for _ in range(50):
        candidate = space.sample(generator)
        said = json.loads(candidate_line(candidate))
        assert space.encode(said) == space.encode(candidate)
        plan = plan_of(said, HEADS, FFN)
        Architecture(
            tuple(layer.number for layer in plan.layers),
            tuple(layer.heads for layer in plan.layers),
            tuple(layer.ffn for layer in plan.layers),
            plan.hidden,
            plan.embedding,
        ).check(dense)
        assert all(layer.number in range(3) for layer in plan.layers)


def test_first_choices_are_the_dense_model(dense):
    space = space_named("architecture,layers", dense)
    plan = plan_of(space.decode([0] * len(space.dimensions)), HEADS, FFN)
    assert [(layer.heads, layer.ffn, dict(layer.pruning)) for layer in plan.layers] == [(4, 64, {})] * 3


def test_fewest_layers_and_sizes_hold(dense):
    space = architecture_space(dense, heads=(4, 1), ffn=(64, 48), fewest_layers=2)
    found = list(space.enumerate())
    # Three pairs of layers with four shapes each, and three layers.
    assert len(found) == 3 * 4**2 + 4**3
    assert uniform_space(dense).dimensions[0].choices == ("0,1,2", "0,2", "0")


def test_of_layers_that_are_left_out_nothing_is_chosen(dense):
    space = architecture_space(dense) + compression_space(dense, per="layer")
    given = {d.name: d.choices[-1] for d in space.dimensions} | {"layer.0": True, "layer.1": True, "layer.2": False}
    found = space.canonical(given)
    assert (found["heads.2"], found["ffn.2"], found["rate.2.qkv"]) == (4, 64, 0.0)
    assert found["scheme.2.qkv"] == "bcr 4x1" and found["scheme.1.qkv"] == "bcr 16x1"


def test_unknown_spaces_are_refused(dense):
    with pytest.raises(SearchError, match="unknown space 'archtecture'; accepted: architecture"):
        space_named("archtecture", dense)
    with pytest.raises(SearchError, match="per 'kind' or per 'layer', found 'head'"):
        compression_space(dense, per="head")


def test_a_line_alone_rebuilds_the_model(dense, batches, statistics):
    line = candidate_line(
        {
            "layer.1": False,
            "heads.0": 3,
            "hidden": 24,
            "ffn.2": 48,
            "rate.ffn_in": 0.5,
            "scheme.ffn_in": "bcr 4x1",
            "rate.2.qkv": 0.75,
            "scheme.2.qkv": "unstructured",
        }
    )
    module = build(json.loads(line), dense, statistics, batches)
    assert Architecture.of(module) == Architecture((0, 1), (3, 4), (64, 48))
    encoder = Encoder(module)
    for number in (0, 1):
        weight = encoder.linear(number, "expands").weight.detach()
        assert float((weight == 0).float().mean()) == pytest.approx(0.5, abs=0.02)
        bands = weight.reshape(-1, 4, 24)
        assert torch.equal((bands == 0).all(1), (bands == 0).any(1))
        rates = [float((p.weight == 0).float().mean()) for p in encoder.projections(number)]
        assert rates == pytest.approx([0.75 if number else 0.0] * 3, abs=0.01)
        assert not (encoder.linear(number, "contracts").weight == 0).any()
    again = build(json.loads(line), dense, statistics, batches)
    for one, other in zip(module.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_a_space_of_ones_own(dense, statistics):
    space = Space("wide", (Dimension("heads.*", (4, 2)), Dimension("ffn.*", (64, 32))))
    shapes = {Architecture.of(build(candidate, dense, statistics)).ffn for candidate in space.enumerate()}
    assert shapes == {(64, 64, 64), (32, 32, 32)}


def test_pruned_candidates_need_inputs(dense, statistics):
    with pytest.raises(SearchError, match="calibration inputs are needed"):
        build({"rate.*": 0.5, "scheme.*": "bcr 4x1"}, dense, statistics)
