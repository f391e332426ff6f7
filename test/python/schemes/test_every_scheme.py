"""What holds for every registered scheme: projections, descriptions, attributes, texts and random masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compression.prune import PruneError, Scheme, parse_scheme, project, prunable_layers, prune_model
from secateur.compression.prune.second_order.layer import solve
from secateur.dialects.schemes import ENCODINGS, PRUNINGS, Dense, detect, encoding_of
from secateur.dialects.schemes.detect import candidates
from secateur.dialects.sparsity.attributes import EncodingAttribute

LAYERS = {2: torch.nn.Linear, 3: torch.nn.Conv1d, 4: torch.nn.Conv2d, 5: torch.nn.Conv3d}
SEEDS = st.integers(0, 2**32 - 1)
DENSITIES = st.floats(0.1, 0.9)


def shapes(rule, draw):
    """Shapes of whole blocks, so that a projection can reach what is asked for."""
    rows, columns = (size * draw(st.integers(1, 4)) for size in rule.block)
    dimensions = draw(st.sampled_from(rule.dimensions))
    return (rows, columns, *(draw(st.integers(1, 3)) for _ in range(dimensions - 2)))


@st.composite
def pruned(draw, name):
    """A scheme, a weight and its mask."""
    scheme = Scheme(name, PRUNINGS[name].default)
    shape = shapes(scheme.rule, draw)
    weight = np.random.default_rng(draw(SEEDS)).standard_normal(shape).astype(np.float32)
    (sparsity,) = scheme.rule.reachable([draw(st.integers(1, 15)) / 16])
    return scheme, weight, sparsity, project(weight, scheme, sparsity)


@pytest.mark.parametrize("name", PRUNINGS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_projection_keeps_what_is_asked_for_within_a_unit(name, data):
    scheme, weight, sparsity, kept = data.draw(pruned(name))
    budget = round((1 - sparsity) * weight.size)
    assert 0 <= budget - kept.sum() <= scheme.rule.step(weight.shape)
    # Whoever kept as many of the same units at random would not keep more.
    other = scheme.rule.random_mask(weight.shape, sparsity, np.random.default_rng(0))
    if scheme.rule.units(weight.shape).choice in ("free", "rows", "quota"):
        assert np.square(weight)[kept].sum() >= np.square(weight)[other].sum() * (1 - 1e-6)


@pytest.mark.parametrize("name", PRUNINGS)
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_what_a_projection_keeps_is_described_and_detected(name, data):
    scheme, weight, _, kept = data.draw(pruned(name))
    own = scheme.rule.encoding(kept)
    np.testing.assert_array_equal(own.kept(kept), kept)
    found = detect(weight * kept)
    assert (found.kept(kept) >= kept).all()
    assert found.packed_bytes(kept) <= Dense().packed_bytes(kept)
    costs = {encoding: size for size, encoding in candidates(kept)}
    assert found.packed_bytes(kept) <= costs.get(own, float("inf"))


@pytest.mark.parametrize("name", PRUNINGS)
@settings(deadline=None, max_examples=20)
@given(data=st.data(), seed=SEEDS)
def test_random_masks_conform(name, data, seed):
    rule = PRUNINGS[name](PRUNINGS[name].default)
    shape = shapes(rule, data.draw)
    (sparsity,) = rule.reachable([0.75])
    mask = rule.random_mask(shape, sparsity, np.random.default_rng(seed))
    assert mask.shape == shape
    np.testing.assert_array_equal(rule.encoding(mask).kept(mask), mask)


@pytest.mark.parametrize("name", PRUNINGS)
def test_texts_build_the_same_scheme(name):
    scheme = parse_scheme(name)
    _, _, block = str(scheme).partition(" ")
    assert parse_scheme(name, block or None) == scheme
    with pytest.raises(PruneError, match=f"scheme '{name}' takes"):
        parse_scheme(name, "2:x")
    finest, next_kind = scheme.rule.coarseness()
    assert 1 <= finest <= next_kind


@pytest.mark.parametrize("name", [n for n in ENCODINGS if n not in PRUNINGS] + list(PRUNINGS))
def test_attributes_hold_the_description(name):
    encoding = Dense()
    if name in PRUNINGS:
        rule = PRUNINGS[name](PRUNINGS[name].default)
        shape = (*(8 * n for n in rule.block), *(3,) * (rule.dimensions[-1] - 2))
        mask = rule.random_mask(shape, rule.reachable([0.5])[0], np.random.default_rng(0))
        encoding = rule.encoding(mask)
    assert encoding_of(encoding.scheme, encoding.parameters()) == encoding
    with make_context():
        attribute = EncodingAttribute.of_encoding(encoding)
        attribute.check()
        assert attribute.encoding() == encoding
        assert ir.Attribute.parse(str(attribute)).encoding() == encoding


@pytest.mark.parametrize("name", PRUNINGS)
def test_a_model_is_pruned_by_magnitude(name):
    scheme = parse_scheme(name)
    rule = scheme.rule
    rows, columns = (4 * size for size in rule.block)
    torch.manual_seed(0)
    for dimensions in rule.dimensions:
        kind = LAYERS[dimensions]
        layer = kind(columns, rows) if dimensions == 2 else kind(columns, rows, 3)
        module = torch.nn.Sequential(layer, torch.nn.ReLU())
        (sparsity,) = rule.reachable([0.5])
        result, report = prune_model(module, scheme, sparsity)
        weight = result[0].weight.detach().numpy()
        np.testing.assert_array_equal(weight != 0, project(layer.weight.detach().numpy(), scheme, sparsity))
        assert report.sparsity_fraction == pytest.approx(np.mean(weight == 0))
    others = [kind for n, kind in LAYERS.items() if n not in rule.dimensions]
    with pytest.raises(PruneError, match=r"the model has no .*, which scheme"):
        prunable_layers(others[0](4, 4) if others[0] is torch.nn.Linear else others[0](4, 4, 3), scheme)


@pytest.mark.parametrize("name", PRUNINGS)
def test_second_order_pruning_keeps_the_scheme(name):
    scheme = parse_scheme(name)
    rule = scheme.rule
    area = 8 if rule.dimensions[0] > 2 else 1
    rows, columns = 3 * max(rule.block[0], 2), 2 * max(rule.block[1], 4) * area
    random = np.random.default_rng(0)
    weight, inputs = (torch.from_numpy(random.standard_normal((n, columns))) for n in (rows, 4 * columns))
    (sparsity,) = rule.reachable([0.5])
    solved = solve(weight, inputs.T @ inputs, scheme, sparsity, 0.01, area)
    shape = (rows, columns // area, *(2,) * 3)[: rule.dimensions[-1]] if area > 1 else (rows, columns)
    mask = solved.mask.numpy().reshape(shape)
    np.testing.assert_array_equal(rule.encoding(mask).kept(mask), mask)
    assert 0 < solved.error < solved.energy
