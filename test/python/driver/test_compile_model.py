"""`compile_model` and what it returns, against PyTorch."""

import copy

import numpy as np
import pytest
import torch

from secateur.compiler import compile_model, driver
from secateur.compiler.errors import CompileError, VerificationError
from secateur.compiler.pipeline.levels import Lowering
from secateur.frontends import FrontendError
from secateur.runtime_targets import iree


def reference(module, **inputs):
    with torch.no_grad():
        return copy.deepcopy(module).eval()(**inputs)


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=0, atol=1e-5)


def test_outputs_are_those_of_the_module_by_name_and_in_order(compiled_bert, pruned_bert, bert_inputs):
    expected = reference(pruned_bert, **bert_inputs)
    found = compiled_bert(**bert_inputs)
    assert list(found) == list(expected.keys())
    for name, tensor in found.items():
        assert isinstance(tensor, torch.Tensor)
        close(tensor, expected[name])


def test_numpy_in_gives_numpy_out_and_positions_work_as_names(compiled_bert, bert_inputs):
    by_name = compiled_bert(**bert_inputs)
    by_position = compiled_bert(*(t.numpy() for t in bert_inputs.values()))
    for name, array in by_position.items():
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, by_name[name].numpy())


def test_shorter_sequences_and_smaller_batches(compiled_bert, pruned_bert, bert_inputs):
    inputs = {name: tensor[:1, :7] for name, tensor in bert_inputs.items()}
    found, expected = compiled_bert(**inputs), reference(pruned_bert, **inputs)
    for name, tensor in expected.items():
        assert tuple(found[name].shape) == tuple(tensor.shape)
        close(found[name], tensor)


def test_padded_attention_mask(compiled_bert, pruned_bert, bert_inputs):
    mask = bert_inputs["attention_mask"].clone()
    mask[0, 10:] = 0
    mask[1, 3:] = 0
    inputs = {**bert_inputs, "attention_mask": mask}
    close(compiled_bert(**inputs)["last_hidden_state"], reference(pruned_bert, **inputs)["last_hidden_state"])


def test_wrong_inputs_are_refused(compiled_bert, bert_inputs):
    ids = bert_inputs["input_ids"]
    with pytest.raises(TypeError, match="given twice"):
        compiled_bert(ids, input_ids=ids)
    with pytest.raises(TypeError, match="at most 2 inputs"):
        compiled_bert(ids, ids, ids)
    with pytest.raises(ValueError, match="has no input 'token_type_ids'"):
        compiled_bert(ids, token_type_ids=ids)
    with pytest.raises(ValueError, match="needs the input 'input_ids'"):
        compiled_bert(attention_mask=ids)


def test_a_missing_mask_hides_nothing(compiled_bert, bert_inputs):
    found = compiled_bert(input_ids=bert_inputs["input_ids"])
    assert torch.equal(found["last_hidden_state"], compiled_bert(**bert_inputs)["last_hidden_state"])


def test_the_callers_module_stays_as_it_was(pruned_bert, bert_inputs):
    module = copy.deepcopy(pruned_bert).train()
    module.encoder.layer[0].eval()
    modes = [part.training for part in module.modules()]
    weights = {name: (tensor.data_ptr(), tensor.clone()) for name, tensor in module.state_dict().items()}
    attention = module.config._attn_implementation
    compile_model(module, bert_inputs)
    assert [part.training for part in module.modules()] == modes
    assert module.config._attn_implementation == attention
    for name, tensor in module.state_dict().items():
        assert tensor.data_ptr() == weights[name][0]
        assert torch.equal(tensor, weights[name][1])
    assert all(not part._forward_hooks for part in module.modules())


class Form(torch.nn.Module):
    def __init__(self, form):
        super().__init__()
        self.linear = torch.nn.Linear(16, 8)
        self.form = form

    def forward(self, x):
        a = self.linear(x)
        b = torch.relu(a)
        return {"tensor": a, "tuple": (b, a), "dict": {"second": b, "first": a}}[self.form]


@pytest.mark.parametrize("form", ["tensor", "tuple", "dict"])
def test_the_result_has_the_form_of_the_modules(form):
    torch.manual_seed(0)
    module, x = Form(form), torch.randn(3, 5, 16)
    found, expected = compile_model(module, (x,))(x), module(x)
    if form == "tensor":
        found, expected = (found,), (expected,)
    elif form == "dict":
        assert list(found) == list(expected)
        found, expected = found.values(), expected.values()
    else:
        assert isinstance(found, tuple)
    for a, b in zip(found, expected, strict=True):
        close(a, b.detach())


def test_the_report_tells_layers_statistics_and_figures(compiled_bert, pruned_bert):
    report = compiled_bert.report
    zeros = {n: float((m.weight == 0).float().mean()) for n, m in pruned_bert.named_modules() if hasattr(m, "weight")}
    assert len(report.layers) == 13
    for layer in report.layers:
        assert layer.sparsity_fraction == pytest.approx(zeros[layer.name])
    assert {layer.encoding for layer in report.layers if "encoder" in layer.name} != {"dense"}
    assert report.statistics["sparsity-detect"]["weights-encoded"] == 13
    assert {d.case for d in report.verification} == {"random", "padded", "shorter", "masked"}
    assert all(d.passed for d in report.verification)
    assert {"import", "structural", "scheduled", "kernels", "iree", "verify"} <= set(report.seconds)


def test_the_same_model_comes_from_the_cache_and_a_changed_one_does_not(pruned_bert, bert_inputs, monkeypatch):
    compile_model(pruned_bert, bert_inputs)

    def refuse(*_args, **_kwargs):
        raise CompileError("compiled again")

    monkeypatch.setattr(iree, "compile_assembly", refuse)
    again = compile_model(pruned_bert, bert_inputs)
    assert again.report.cached
    assert again.report.verification
    assert tuple(again(**bert_inputs)["last_hidden_state"].shape) == (2, 24, 32)
    changed = copy.deepcopy(pruned_bert)
    with torch.no_grad():
        changed.encoder.layer[1].output.dense.weight[0, 0] += 1
    with pytest.raises(CompileError, match="compiled again"):
        compile_model(changed, bert_inputs)
    with pytest.raises(CompileError, match="compiled again"):
        compile_model(pruned_bert, bert_inputs, cache=False)
    with pytest.raises(CompileError, match="compiled again"):
        compile_model(pruned_bert, bert_inputs, schedule={"row_tile": 2})


def test_a_damaged_cache_entry_is_made_anew(pruned_bert, bert_inputs, tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    compile_model(pruned_bert, bert_inputs)
    (archive,) = tmp_path.glob("*/bundle/weights.irpa")
    archive.write_bytes(archive.read_bytes()[:-100])
    again = compile_model(pruned_bert, bert_inputs)
    assert not again.report.cached
    assert compile_model(pruned_bert, bert_inputs).report.cached


def damage_layer(monkeypatch, name):
    """The weight of a layer is changed behind the import, as a wrong pass would."""
    original = Lowering.lower

    def lower(self, level, pipeline):
        if self.level == "structural" or level == "structural":
            array = self.weights[f"{name}.weight"].copy()
            array[0, 0] += 1
            self.weights[f"{name}.weight"] = array
        original(self, level, pipeline)

    monkeypatch.setattr(Lowering, "lower", lower)


def test_a_wrong_result_fails_with_figures_and_leaves_nothing_in_the_cache(
    pruned_bert, bert_inputs, tmp_path, monkeypatch
):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    damage_layer(monkeypatch, "encoder.layer.1.attention.output.dense")
    with pytest.raises(VerificationError, match=r"'last_hidden_state' .* relative L2 \d\.\d+e[-+]\d+ \(accepted 1e-05"):
        compile_model(pruned_bert, bert_inputs)
    assert not list(tmp_path.iterdir())
    assert compile_model(pruned_bert, bert_inputs, verify=False).report.unverified_reason


def test_layers_names_the_first_wrong_layer(pruned_bert, bert_inputs, monkeypatch):
    damage_layer(monkeypatch, "encoder.layer.1.attention.output.dense")
    with pytest.raises(VerificationError) as caught:
        compile_model(pruned_bert, bert_inputs, verify="layers", cache=False)
    assert "the first wrong layer is 'encoder.layer.1.attention.output.dense'" in str(caught.value)
    assert "up to 'encoder.layer.1.attention.self.value' all agree" in str(caught.value)


def test_dumped_levels_and_weights_serve_a_pass_writer(pruned_bert, bert_inputs, tmp_path):
    import subprocess
    import sys

    model = compile_model(pruned_bert, bert_inputs, compile_to="kernels", dump_ir=tmp_path)
    names = ["01-torch.mlir", "02-structural.mlir", "03-scheduled.mlir", "04-kernels.mlir", "weights"]
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert model.ir == (tmp_path / "04-kernels.mlir").read_text()
    command = [sys.executable, "-m", "secateur.compiler.opt", "--weights", str(tmp_path / "weights")]
    passes = ["--sparsity-fuse", "--sparsity-schedule", "--sparsity-reorder"]
    done = subprocess.run([*command, str(tmp_path / "02-structural.mlir"), *passes], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "sparsity.schedule" in done.stdout
    with pytest.raises(CompileError, match="level 'kernels' only"):
        model(**bert_inputs)


def test_the_portable_lowering_agrees_too(pruned_bert, bert_inputs):
    model = compile_model(pruned_bert, bert_inputs, lowering="portable")
    close(model(**bert_inputs)["last_hidden_state"], reference(pruned_bert, **bert_inputs)["last_hidden_state"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"compile_to": "asm"}, "accepted: torch, structural, scheduled, kernels, iree"),
        ({"lowering": "fast"}, "accepted: kernels, .*portable"),
        ({"threads": 0}, "'threads' to be 1 or more, found 0"),
        ({"verify": "all"}, "accepted: True, False, 'layers'"),
    ],
)
def test_wrong_arguments_are_named(pruned_bert, bert_inputs, change, message):
    with pytest.raises(CompileError, match=message):
        compile_model(pruned_bert, bert_inputs, **change)


def test_a_module_without_examples_and_something_else_are_refused(pruned_bert):
    with pytest.raises(FrontendError, match="needs 'example_inputs'"):
        compile_model(pruned_bert)
    with pytest.raises(FrontendError, match="found a int"):
        compile_model(3)


def test_a_saved_bundle_runs_again(compiled_bert, bert_inputs, tmp_path):
    expected = compiled_bert(**bert_inputs)
    for name in ("model.bundle", "model.zip"):
        compiled_bert.save(tmp_path / name)
        found = driver.CompiledModel.open(tmp_path / name)(**bert_inputs)
        for key, tensor in expected.items():
            assert torch.equal(found[key], tensor)
