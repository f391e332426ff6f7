"""Whole models: the order of layers, masks of padding, ties, biases, and what goes wrong."""

import copy

import numpy as np
import pytest
import torch

from secateur.compression.prune import PruneError, Scheme, prune_model
from secateur.compression.prune.second_order import prune_second_order

UNSTRUCTURED = Scheme("unstructured")


class Blocks(torch.nn.Module):
    """Residual blocks in a module list, as encoders have them."""

    def __init__(self, width=16, depth=3):
        super().__init__()
        self.layers = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Linear(width, 2 * width), torch.nn.GELU(), torch.nn.Linear(2 * width, width))
            for _ in range(depth)
        )

    def forward(self, x, attention_mask=None):
        for layer in self.layers:
            x = x + layer(x)
        return x


def batches(count=4, rows=8, tokens=10, width=16, seed=0):
    g = np.random.default_rng(seed)
    mixing = g.standard_normal((width, width)).astype(np.float32)
    return [{"x": g.standard_normal((rows, tokens, width)).astype(np.float32) @ mixing + 1} for _ in range(count)]


def seeded(make, seed=0):
    torch.manual_seed(seed)
    return make().eval()


def model_error(pruned, dense, inputs):
    with torch.no_grad():
        pairs = [(pruned(torch.from_numpy(b["x"])), dense(torch.from_numpy(b["x"]))) for b in inputs]
    return sum(float((a - b).square().sum()) for a, b in pairs) / sum(float(b.square().sum()) for _, b in pairs)


@pytest.mark.parametrize("inputs", ["pruned", "dense"])
@pytest.mark.parametrize("scheme", [UNSTRUCTURED, Scheme("bcr", (4, 1)), Scheme("bcr", (4, 8))], ids=str)
def test_outputs_change_less_than_by_magnitude(scheme, inputs):
    dense, given = seeded(Blocks), batches()
    pruned, report = prune_second_order(dense, given, scheme, 0.5, inputs=inputs)
    simple, _ = prune_model(dense, scheme, 0.5)
    assert model_error(pruned, dense, given) < 0.5 * model_error(simple, dense, given)
    assert report.sparsity_fraction == pytest.approx(0.5, abs=0.01)
    assert all(0 < layer.output_error_fraction < 0.3 for layer in report.layers)
    assert [layer.name for layer in report.layers] == [f"layers.{i}.{j}" for i in range(3) for j in (0, 2)]


def test_twice_gives_the_same_bits_and_the_original_is_untouched():
    dense, given = seeded(Blocks), batches()
    before = copy.deepcopy(dense.state_dict())
    first, _ = prune_second_order(dense, given, Scheme("bcr", (4, 1)), 0.6)
    second, _ = prune_second_order(dense, given, Scheme("bcr", (4, 1)), 0.6)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert all(torch.equal(before[name], value) for name, value in dense.state_dict().items())
    assert dense.layers[0].forward.__func__ is torch.nn.Sequential.forward


def test_remembered_outputs_change_nothing(monkeypatch):
    dense, given = seeded(Blocks), batches()
    fast, _ = prune_second_order(dense, given, UNSTRUCTURED, 0.6)
    monkeypatch.setattr("secateur.compression.prune.second_order.calibration._REMEMBERED_BYTES", 0)
    slow, _ = prune_second_order(dense, given, UNSTRUCTURED, 0.6)
    assert all(torch.equal(a, b) for a, b in zip(fast.state_dict().values(), slow.state_dict().values(), strict=True))


def test_later_layers_see_what_the_pruned_ones_give():
    """With pruned inputs the second layer is fitted to the outputs of the pruned first, with dense ones not."""
    dense = seeded(lambda: torch.nn.Sequential(torch.nn.Linear(12, 12), torch.nn.Linear(12, 12)))
    g = torch.Generator().manual_seed(1)
    given = [{"input": torch.randn(200, 12, generator=g)}]
    pruned, report = prune_second_order(dense, given, UNSTRUCTURED, 0.5)
    with torch.no_grad():
        x = pruned[0](given[0]["input"])
        change = pruned[1](x) - dense[1](x)
        wanted = dense[1](x) - dense[1](x).mean(dim=0)
    expected = float(change.square().sum() / wanted.square().sum())
    assert report.layers[1].output_error_fraction == pytest.approx(expected, rel=1e-3)
    other, _ = prune_second_order(dense, given, UNSTRUCTURED, 0.5, inputs="dense")
    assert torch.equal(other[0].weight, pruned[0].weight)
    assert not torch.equal(other[1].weight, pruned[1].weight)


def test_padding_does_not_count():
    dense, given = seeded(Blocks), batches()
    masked = []
    for batch in given:
        mask = np.ones(batch["x"].shape[:2], np.int64)
        mask[:, 6:] = 0
        x = batch["x"].copy()
        x[:, 6:] = 1e3
        masked.append({"x": x, "attention_mask": mask})
    short = [{"x": np.ascontiguousarray(batch["x"][:, :6])} for batch in given]
    with_padding, _ = prune_second_order(dense, masked, UNSTRUCTURED, 0.5)
    without, _ = prune_second_order(dense, short, UNSTRUCTURED, 0.5)
    for a, b in zip(with_padding.parameters(), without.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_bias_takes_up_the_mean():
    dense = seeded(lambda: torch.nn.Sequential(torch.nn.Linear(8, 6)))
    given = [{"input": torch.randn(100, 8, generator=torch.Generator().manual_seed(0)) + 3}]
    pruned, _ = prune_second_order(dense, given, Scheme("filter"), 0.5)
    with torch.no_grad():
        drift = (pruned(given[0]["input"]) - dense(given[0]["input"])).mean(dim=0)
    assert drift.abs().max() < 1e-4
    kept, _ = prune_second_order(dense, given, Scheme("filter"), 0.5, correct_bias=False)
    assert torch.equal(kept[0].bias, dense[0].bias)
    plain = seeded(lambda: torch.nn.Sequential(torch.nn.Linear(8, 6, bias=False)))
    assert prune_second_order(plain, given, UNSTRUCTURED, 0.5)[1].sparsity_fraction == 0.5


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.relu(self.first(x)) + 1)


def test_a_weight_that_two_layers_share_is_fitted_to_both():
    dense = seeded(Tied)
    given = [{"x": torch.randn(50, 8, generator=torch.Generator().manual_seed(0))}]
    pruned, report = prune_second_order(dense, given, UNSTRUCTURED, 0.5)
    assert pruned.first.weight is pruned.second.weight
    assert [layer.name for layer in report.layers] == ["first"]
    with torch.no_grad():
        inputs = torch.cat([given[0]["x"], torch.relu(dense.first(given[0]["x"])) + 1])
        outputs = inputs @ dense.first.weight.T
        change = inputs @ pruned.first.weight.T - outputs
    expected = float(change.square().sum() / outputs.square().sum())
    assert report.layers[0].output_error_fraction == pytest.approx(expected, rel=1e-4)


def test_a_layer_that_is_used_twice_counts_both_inputs():
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(8, 8)])

        def forward(self, x):
            return self.layers[0](torch.relu(self.layers[0](x)))

    dense = seeded(Twice)
    given = [{"x": torch.randn(50, 8, generator=torch.Generator().manual_seed(0)) + 1}]
    _, report = prune_second_order(dense, given, UNSTRUCTURED, 0.5, inputs="dense")
    _, other = prune_second_order(dense, given, UNSTRUCTURED, 0.5)
    assert report.layers == other.layers


def test_a_layer_that_nothing_reaches_is_pruned_by_magnitude():
    dense = seeded(Blocks)
    dense.spare = torch.nn.Linear(16, 16)
    pruned, report = prune_second_order(dense, batches(), UNSTRUCTURED, 0.5)
    simple, _ = prune_model(dense, UNSTRUCTURED, 0.5)
    assert torch.equal(pruned.spare.weight, simple.spare.weight)
    assert [layer.output_error_fraction is None for layer in report.layers] == [False] * 6 + [True]
    with pytest.raises(PruneError, match="no calibration input reaches"):
        prune_second_order(dense, batches(), UNSTRUCTURED, 0.5, include=["spare"])


def test_convolutions_with_groups_strides_and_dilation():
    dense = seeded(
        lambda: torch.nn.Sequential(
            torch.nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 8, 3, dilation=2, padding="same", padding_mode="reflect"),
        )
    )
    given = [{"input": torch.randn(6, 8, 16, 16, generator=torch.Generator().manual_seed(0))}]
    scheme = Scheme("punched", (4, 4))
    pruned, report = prune_second_order(dense, given, scheme, 0.5)
    simple, _ = prune_model(dense, scheme, 0.5)
    x = given[0]["input"]
    with torch.no_grad():
        change = pruned[0](x) - dense[0](x)
        wanted = dense[0](x) - dense[0](x).mean(dim=(0, 2, 3), keepdim=True)
        assert change.square().sum() < (simple[0](x) - dense[0](x)).square().sum()
    expected = float(change.square().sum() / wanted.square().sum())
    assert report.layers[0].output_error_fraction == pytest.approx(expected, rel=1e-3)
    with pytest.raises(PruneError, match=r"layer '0'.*groups have 8"):
        prune_second_order(dense, given, Scheme("punched", (3, 2)), 0.5)


def test_weights_under_a_pruning_hook():
    from torch.nn.utils import prune

    dense = seeded(Blocks)
    prune.l1_unstructured(dense.layers[0][0], "weight", amount=0.2)
    pruned, report = prune_second_order(dense, batches(), UNSTRUCTURED, 0.5)
    layer = pruned.layers[0][0]
    with torch.no_grad():
        pruned(torch.from_numpy(batches()[0]["x"]))
    assert 1 - int(torch.count_nonzero(layer.weight)) / layer.weight.numel() == pytest.approx(0.5, abs=0.01)
    assert report.layers[0].sparsity_fraction == pytest.approx(0.5, abs=0.01)


def test_rates_of_layers():
    _, report = prune_second_order(seeded(Blocks), batches(), UNSTRUCTURED, 0.5, rates={"layers.1.*": 0.75})
    assert [round(layer.sparsity_fraction, 2) for layer in report.layers] == [0.5, 0.5, 0.75, 0.75, 0.5, 0.5]


def test_progress_and_training_mode():
    dense, calls = seeded(Blocks).train(), []
    pruned, _ = prune_second_order(
        dense, batches(), UNSTRUCTURED, 0.5, progress=lambda *call: calls.append(call), copy=False
    )
    assert pruned is dense and all(module.training for module in dense.modules())
    assert calls[0] == (0, 6, "layers.0.0") and calls[-1] == (6, 6, "")


def test_faults_are_sentences_and_leave_the_module_alone():
    dense, given = seeded(Blocks), batches()
    before = copy.deepcopy(dense.state_dict())

    def fails(match, inputs=given, sparsity=0.5, scheme=UNSTRUCTURED, **options):
        with pytest.raises(PruneError, match=match):
            prune_second_order(dense, inputs, scheme, sparsity, copy=False, **options)
        assert all(torch.equal(before[name], value) for name, value in dense.state_dict().items())

    fails("found no batch", inputs=[])
    fails("at least 0 and less than 1, found 1", sparsity=1.0)
    fails("layer 'layers.0.0'.*exceeds", scheme=Scheme("bcr", (64, 1)))
    fails("does not take the calibration inputs words", inputs=[{"words": np.zeros((1, 2), np.int64)}])
    with pytest.raises(PruneError, match=r"found .sparse.$"):
        prune_second_order(dense, given, UNSTRUCTURED, 0.5, inputs="sparse")
    fails("damping is larger than 0", damping=0.0)
    broken = [*given[:-1], {"x": np.full_like(given[0]["x"], np.nan)}]
    fails("layer 'layers.0.0': the calibration inputs reach it as NaN", inputs=broken)
    dense.layers[1][0].weight.data[0, 0] = torch.nan
    with pytest.raises(PruneError, match=r"layer 'layers.1.0': the weight holds 1 values"):
        prune_second_order(dense, given, UNSTRUCTURED, 0.5)
