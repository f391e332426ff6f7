"""What `import_model` promises beside the numbers: names, shapes, memory, and a caller's module left alone."""

import copy
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations, prune
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.frontends import FrontendError, import_model
from secateur.frontends.importer import prepare_context
from secateur.passes.base import walk


def state_of(module):
    """What must not change: flags, hooks, and every tensor's place, type and content."""
    return {
        name: (
            part.training,
            len(part._forward_pre_hooks),
            type(part),
            {key: id(value) for key, value in {**part._parameters, **part._buffers}.items()},
        )
        for name, part in module.named_modules()
    }


def test_inputs_and_outputs_are_described(build, inputs):
    imported = import_model(build("BertForQuestionAnswering"), inputs(2, 8))
    assert [(s.name, s.shape, s.dtype, s.axes) for s in imported.inputs] == [
        ("input_ids", (2, 8), "int64", ("batch", "tokens")),
        ("attention_mask", (2, 8), "int64", ("batch", "tokens")),
        ("token_count", (1,), "int32", (None,)),
    ]
    assert [s.counts for s in imported.inputs] == [None, None, "tokens"]
    assert [(s.name, s.shape, s.dtype, s.axes) for s in imported.outputs] == [
        ("start_logits", (2, 8), "float32", ("batch", "tokens")),
        ("end_logits", (2, 8), "float32", ("batch", "tokens")),
    ]
    assert imported.output_form == "dict"


def test_without_a_mask_a_shorter_sequence_is_another_model(build, inputs):
    example = {"input_ids": inputs()["input_ids"]}
    imported = import_model(build("BertModel"), example)
    assert imported.inputs[0].axes == ("batch", None)


def test_a_mean_over_tokens_has_no_token_axis():
    class Mean(torch.nn.Module):
        def forward(self, x):
            return x.mean(1)

    assert import_model(Mean(), {"x": torch.randn(2, 8, 4)}).inputs[0].axes == ("batch", None, None)


def test_hidden_states_and_tuples_are_named(build, inputs):
    imported = import_model(build("BertModel", output_hidden_states=True), inputs())
    assert [s.name for s in imported.outputs] == [
        *("last_hidden_state", "pooler_output", "hidden_states.0", "hidden_states.1", "hidden_states.2")
    ]

    class Two(torch.nn.Module):
        def forward(self, x):
            return x + 1, None, x * 2

    pair = import_model(Two(), {"x": torch.randn(2, 3)})
    assert (pair.output_form, [s.name for s in pair.outputs]) == ("tuple", ["output_0", "output_2"])


def test_weights_are_views_of_the_parameters(build, inputs):
    model = build("BertModel")
    weights = import_model(model, inputs()).weights
    parameters = dict(model.named_parameters())
    shared = [symbol for symbol in weights if symbol in parameters]
    assert "encoder.layer.0.attention.self.query.weight" in shared
    assert all(np.shares_memory(weights[symbol], parameters[symbol].detach().numpy()) for symbol in shared)


def test_no_weight_is_in_the_text(build, inputs):
    imported = import_model(build("BertModel"), inputs())
    text = str(imported.module)
    assert 'source = "encoder.layer.1.output.dense.weight"' in text
    assert len(text) < 40_000


def test_tied_weights_are_one_symbol():
    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Linear(6, 6)
            self.second = torch.nn.Linear(6, 6)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.second(self.first(x))

    weights = import_model(Tied(), {"x": torch.randn(2, 6)}).weights
    assert sorted(weights) == ["first.bias", "first.weight", "second.bias"]


def test_locations_name_module_and_line(build, inputs):
    imported = import_model(build("BertModel"), inputs())
    places = {str(op.location) for op in walk(imported.module, "torch.aten.linear")}
    assert any('"encoder.layer.0.attention.self.query"' in p and "modeling_bert.py" in p for p in places)


def test_half_precision_becomes_f32(build, inputs):
    model = build("BertModel").to(torch.bfloat16)
    imported = import_model(model, inputs())
    assert {array.dtype for array in imported.weights.values()} == {np.dtype(np.float32)}
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_live_pruning_is_folded_and_the_module_is_left_alone(build, inputs):
    model = build("BertModel").train()
    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            prune.random_unstructured(part, "weight", 0.5)
    before, values = state_of(model), copy.deepcopy(model.state_dict())
    config = model.config.to_dict()
    layer = model.encoder.layer[0].output.dense
    imported = import_model(model, inputs())
    expected = (layer.weight_orig * layer.weight_mask).detach().numpy()
    np.testing.assert_array_equal(imported.weights["encoder.layer.0.output.dense.weight"], expected)
    assert not [symbol for symbol in imported.weights if symbol.endswith(("_orig", "_mask"))]
    assert state_of(model) == before
    assert model.config.to_dict() == config
    assert all(torch.equal(values[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "wrap", [parametrizations.weight_norm, parametrizations.orthogonal, torch.nn.utils.weight_norm]
)
def test_parametrizations_are_folded(wrap):
    torch.manual_seed(0)
    layer = wrap(torch.nn.Linear(6, 6))
    model = torch.nn.Sequential(layer)
    before, values = state_of(model), copy.deepcopy(model.state_dict())
    imported = import_model(model, {"input": torch.randn(2, 6)})
    np.testing.assert_allclose(imported.weights["0.weight"], layer.weight.detach().numpy(), atol=1e-6)
    assert sorted(imported.weights) == ["0.bias", "0.weight"]
    assert state_of(model) == before
    assert all(torch.equal(values[name], tensor) for name, tensor in model.state_dict().items())


def test_dropout_is_gone_although_the_module_trains(build, inputs):
    model = build("BertModel").train()
    imported = import_model(model, inputs())
    assert not walk(imported.module, "torch.aten.dropout")
    assert model.training


def test_writing_in_place_is_made_functional():
    class Writes(torch.nn.Module):
        def forward(self, x):
            y = x * 2
            y += 1
            z = torch.zeros_like(x)
            z[:, 1:] = y[:, 1:]
            return y, z

    from secateur.compiler.semantics.evaluation import evaluate

    x = torch.randn(2, 4)
    imported = import_model(Writes(), {"x": x}, make_context())
    for found, expected in zip(evaluate(imported.module, [x.numpy()], imported.weights), Writes()(x), strict=True):
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


def test_the_context_may_be_given():
    context = prepare_context(ir.Context())
    imported = import_model(torch.nn.Linear(2, 2), {"input": torch.randn(1, 2)}, context)
    assert imported.module.context is context
    assert imported.context is context


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ({}, "no example inputs"),
        ({"input": [1.0]}, "'input' is a list"),
        ({"input": torch.randn(1, 2, dtype=torch.float16)}, "'input' has the type torch.float16"),
        ({"other": torch.randn(1, 2)}, "'Linear.forward' has no parameter 'other'; its parameters are input"),
    ],
)
def test_wrong_inputs_are_refused(examples, message):
    with pytest.raises(FrontendError, match=message):
        import_model(torch.nn.Linear(2, 2), examples)


def test_a_branch_on_values_is_refused_with_its_line():
    class Branches(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else x * 2

    with pytest.raises(FrontendError, match=r"cannot export 'Branches' \(.*test_import_model.py:\d+\)"):
        import_model(Branches(), {"x": torch.randn(2)})


def peak_kilobytes():
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


@pytest.mark.slow
def test_bert_base_imports_fast_and_without_copies(monkeypatch):
    """After `torch.export`: under 2 s, and never 300 MB beyond the weights."""
    import transformers

    from secateur.frontends import example_inputs_for, importer

    model = transformers.BertModel(transformers.BertConfig()).eval()
    example = example_inputs_for(model, 1, 128)
    exported = importer._export
    spent = []

    def timed(*arguments):
        began = time.perf_counter()
        program = exported(*arguments)
        spent.append(time.perf_counter() - began)
        return program

    monkeypatch.setattr(importer, "_export", timed)
    Path("/proc/self/clear_refs").write_text("5")
    held, began = peak_kilobytes(), time.perf_counter()
    import_model(model, example)
    seconds = time.perf_counter() - began - spent[0]
    assert seconds < 2
    assert peak_kilobytes() - held < 300 * 1024
