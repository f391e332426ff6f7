"""Whole models: which layers are pruned, that the caller's module is left alone, and what inspection finds then."""

import numpy as np
import pytest
import torch
from torch.nn.utils import prune as torch_prune
from transformers import BertConfig, BertForQuestionAnswering

from secateur.compiler.inspect.model import inspect_model
from secateur.compression.prune import PruneError, Scheme, parse_scheme, prune_model
from secateur.dialects.weight_store import WeightStore


@pytest.fixture
def bert():
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, vocab_size=50
    )
    return BertForQuestionAnswering(config).eval()


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_every_linear_of_the_encoder_is_pruned_in_a_copy(bert):
    before = state_of(bert)
    pruned, report = prune_model(bert, parse_scheme("bcr", "4x16"), 0.9)
    assert len(report.layers) == 12 and report.skipped == ["qa_outputs"]
    assert report.sparsity_fraction == pytest.approx(0.9, abs=0.005)
    assert all(torch.equal(before[name], value) for name, value in bert.state_dict().items())
    changed = {name for name, value in pruned.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {f"{layer.name}.weight" for layer in report.layers}
    for layer in report.layers:
        weight = pruned.get_submodule(layer.name).weight.detach()
        original = before[f"{layer.name}.weight"]
        assert layer.sparsity_fraction == pytest.approx((weight == 0).double().mean().item())
        assert layer.kept_norm_fraction == pytest.approx((weight.norm() / original.norm()).item(), rel=1e-5)
        assert torch.equal(weight[weight != 0], original[weight != 0])
    assert not pruned.training


def test_in_place_where_asked(bert):
    pruned, _ = prune_model(bert, Scheme("unstructured"), 0.5, copy=False)
    assert pruned is bert
    assert (bert.bert.encoder.layer[0].output.dense.weight == 0).double().mean().item() == pytest.approx(0.5, abs=0.01)


def test_include_and_skip(bert):
    _, report = prune_model(bert, Scheme("filter"), 0.5, skip=["*.attention.*"])
    assert len(report.layers) == 4 and "qa_outputs" in report.skipped
    _, report = prune_model(bert, Scheme("unstructured"), 0.5, include=["qa_outputs", "*.0.output.dense"])
    assert {layer.name for layer in report.layers} == {"qa_outputs", "bert.encoder.layer.0.output.dense"}
    with pytest.raises(PruneError, match="no linear layer of the model is to be pruned: 13 are left out"):
        prune_model(bert, Scheme("unstructured"), 0.5, include=["nothing"])
    with pytest.raises(PruneError, match="the model has no convolutions, which scheme 'punched 4x4' is for"):
        prune_model(bert, parse_scheme("punched"), 0.5)


def test_an_error_names_the_layer_and_changes_nothing(bert):
    before = state_of(bert)
    with torch.no_grad():
        bert.bert.encoder.layer[1].output.dense.weight[0, 0] = torch.nan
    with pytest.raises(PruneError, match=r"layer 'bert.encoder.layer.1.output.dense': the weight holds 1 values"):
        prune_model(bert, Scheme("unstructured"), 0.5, copy=False)
    name = "bert.encoder.layer.0.output.dense.weight"
    assert torch.equal(bert.state_dict()[name], before[name])


def test_a_shared_weight_is_pruned_and_listed_once():
    first = torch.nn.Linear(16, 16)
    second = torch.nn.Linear(16, 16)
    second.weight = first.weight
    pruned, report = prune_model(torch.nn.Sequential(first, second), Scheme("unstructured"), 0.5)
    assert [layer.name for layer in report.layers] == ["0"]
    assert pruned[0].weight is pruned[1].weight
    assert len(inspect_model(pruned)) == 1


def test_weights_under_torch_pruning():
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(32, 32))
    torch_prune.l1_unstructured(module[0], "weight", amount=0.3)
    x = torch.randn(2, 32)
    module(x)
    before = module[0].weight.detach().clone()
    pruned, report = prune_model(module, Scheme("unstructured"), 0.6)
    assert torch.equal(module[0].weight, before)
    expected = before * (before.abs() >= before.abs().flatten().sort().values[-round(0.4 * 1024)])
    torch.testing.assert_close(pruned(x), torch.nn.functional.linear(x, expected, module[0].bias))
    assert torch.equal(pruned[0].weight, expected)
    assert report.layers[0].sparsity_fraction == pytest.approx(0.6, abs=0.005)


def test_convolutions_are_punched():
    module = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3), torch.nn.Linear(4, 4))
    pruned, report = prune_model(module, parse_scheme("punched", "4x4"), 0.5)
    assert [layer.name for layer in report.layers] == ["0"]
    assert (pruned[0].weight == 0).double().mean().item() == pytest.approx(0.5, abs=0.06)


def test_progress_is_told(bert):
    told = []
    prune_model(bert, Scheme("unstructured"), 0.5, progress=lambda done, total, name: told.append((done, total)))
    assert told == [(i, 12) for i in range(13)]


def test_inspection_counts_what_is_kept(bert):
    pruned, _ = prune_model(bert, parse_scheme("bcr", "16x1"), 0.75)
    layers = inspect_model(pruned, seq_len=10)
    assert [layer.encoding for layer in layers] == ["bcr 16x1"] * 12 + ["dense"]
    layer = layers[0]
    weight = pruned.bert.encoder.layer[0].attention.self.query.weight.detach().numpy()
    kept = np.count_nonzero(weight)
    assert (layer.rows, layer.columns) == weight.shape
    assert layer.parameters == {"block_rows": 16, "block_columns": 1}
    assert layer.sparsity_fraction == pytest.approx(1 - kept / weight.size)
    assert (layer.dense_flops, layer.kept_flops) == (20 * weight.size, 20 * kept)
    assert (layer.dense_bytes, layer.csr_bytes) == (4 * weight.size, 8 * kept + 4 * 65)
    assert layer.packed_bytes == 4 * kept + 4 * (kept // 16) + 4 * 5


def test_inspection_of_a_store_and_its_folder(bert, tmp_path):
    store = WeightStore()
    for name, value in bert.state_dict().items():
        store[name] = value.numpy()
    names = [layer.name for layer in inspect_model(bert)]
    assert [layer.name for layer in inspect_model(store)] == names
    store.save(tmp_path / "weights")
    assert sorted(layer.name for layer in inspect_model(tmp_path / "weights")) == sorted(names)
