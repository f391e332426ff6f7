"""Hugging Face folders, as people have them."""

import json

import pytest
import safetensors.torch
import torch
from torch.nn.utils import prune

from secateur.frontends import FrontendError, example_inputs_for, import_model, load_model


def outputs(model, example):
    with torch.no_grad():
        return [value for value in model(**example).values() if isinstance(value, torch.Tensor)]


def assert_same(folder, model):
    loaded = load_model(folder)
    assert type(loaded.module) is type(model)
    assert not loaded.module.training
    example = example_inputs_for(loaded.module, 2, 8)
    for found, expected in zip(outputs(loaded.module, example), outputs(model, example), strict=True):
        torch.testing.assert_close(found, expected)
    return loaded


@pytest.mark.parametrize(
    "class_name",
    [
        *("BertModel", "BertForSequenceClassification", "DistilBertForQuestionAnswering", "RobertaModel"),
        *("ElectraModel", "MPNetModel", "AlbertForQuestionAnswering", "MobileBertModel"),
    ],
)
def test_the_class_of_the_config_is_loaded(build, tmp_path, class_name):
    model = build(class_name)
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    loaded = assert_same(tmp_path / "model", model)
    assert loaded.name == "model"
    assert loaded.tokenizer_files == [tmp_path / "model" / "tokenizer.json"]


def test_another_class_may_be_asked_for(build, tmp_path):
    build("BertForQuestionAnswering").save_pretrained(tmp_path)
    with pytest.raises(FrontendError, match=r"no weights for .*classifier\.bias and 1 more"):
        load_model(tmp_path, architecture="BertForSequenceClassification")
    with pytest.raises(FrontendError, match="asks for the class 'NoSuchModel'"):
        load_model(tmp_path, architecture="NoSuchModel")


def test_a_missing_pooler_gives_no_pooled_output(build, tmp_path):
    model = build("BertModel")
    model.pooler = None
    model.save_pretrained(tmp_path)
    assert load_model(tmp_path).module.pooler is None


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_masks_of_pruning_are_folded(build, tmp_path, file):
    model = build("BertForQuestionAnswering")
    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            prune.random_unstructured(part, "weight", 0.5)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path)
    if file.endswith(".bin"):
        torch.save(model.state_dict(), tmp_path / file)
    else:
        safetensors.torch.save_file(model.state_dict(), tmp_path / file)
    model(**example_inputs_for(model, 1, 4))
    loaded = assert_same(tmp_path, model)
    weight = loaded.module.bert.encoder.layer[0].output.dense.weight
    assert 0.4 < float((weight == 0).float().mean()) < 0.6


def test_several_files_with_an_index(build, tmp_path):
    model = build("BertModel")
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert_same(tmp_path, model)
    next(iter(tmp_path.glob("*.safetensors"))).unlink()
    with pytest.raises(FrontendError, match="is missing, though the index of the checkpoint names it"):
        load_model(tmp_path)


def test_half_precision_becomes_f32(build, tmp_path):
    build("BertModel").to(torch.bfloat16).save_pretrained(tmp_path)
    assert {p.dtype for p in load_model(tmp_path).module.parameters()} == {torch.float32}


def test_removed_heads_and_neurons(build, tmp_path):
    model = build("BertForQuestionAnswering")
    model.save_pretrained(tmp_path)
    state = model.state_dict()
    own = "bert.encoder.layer.0."
    for name in ("query", "key", "value"):
        for kind in ("weight", "bias"):
            key = f"{own}attention.self.{name}.{kind}"
            state[key] = state[key][:16].clone()
    state[f"{own}attention.output.dense.weight"] = state[f"{own}attention.output.dense.weight"][:, :16].clone()
    state[f"{own}intermediate.dense.weight"] = state[f"{own}intermediate.dense.weight"][:40].clone()
    state[f"{own}intermediate.dense.bias"] = state[f"{own}intermediate.dense.bias"][:40].clone()
    state[f"{own}output.dense.weight"] = state[f"{own}output.dense.weight"][:, :40].clone()
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    module = load_model(tmp_path).module
    layer = module.bert.encoder.layer[0]
    assert (layer.attention.self.query.out_features, layer.output.dense.in_features) == (16, 40)
    imported = import_model(module, example_inputs_for(module, 1, 8))
    assert imported.weights[f"{own}attention.self.key.weight"].shape == (16, 32)
    assert torch.equal(layer.intermediate.dense.weight, state[f"{own}intermediate.dense.weight"])


def test_a_larger_layer_is_refused(build, tmp_path):
    model = build("BertModel")
    model.save_pretrained(tmp_path)
    state = model.state_dict()
    state["pooler.dense.weight"] = torch.zeros(33, 32)
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(FrontendError, match=r"'pooler.dense.weight' .* has shape \[33, 32\], expected \[32, 32\]"):
        load_model(tmp_path)


def write_config(folder, text):
    (folder / "config.json").write_text(text)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "has no config.json"),
        ("{", "cannot be read"),
        ("[]", "expected a mapping"),
        (json.dumps({"model_type": "no-such-model"}), "is not accepted by transformers"),
        (json.dumps({"model_type": "bert", "architectures": ["BertModel"]}), "holds no weights"),
    ],
)
def test_a_malformed_folder_is_refused(tmp_path, config, message):
    if config is not None:
        write_config(tmp_path, config)
    with pytest.raises(FrontendError, match=message) as raised:
        load_model(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(FrontendError, match="does not exist"):
        load_model(tmp_path / "nothing")


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_damaged_weights_are_refused(build, tmp_path, file):
    build("BertModel").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / file).write_bytes(b"not a checkpoint")
    with pytest.raises(FrontendError, match=file):
        load_model(tmp_path)


def test_code_in_a_checkpoint_is_not_run(build, tmp_path):
    class Payload:
        def __reduce__(self):
            return (eval, ("open('harm', 'w')",))

    build("BertModel").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"w": Payload()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(FrontendError, match="holds objects of Python"):
        load_model(tmp_path)


def test_a_parametrization_that_nobody_describes_is_refused(build, tmp_path):
    model = build("BertModel")
    model.save_pretrained(tmp_path)
    state = model.state_dict()
    state["pooler.dense.parametrizations.weight.original"] = state.pop("pooler.dense.weight")
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(FrontendError, match="belongs to a parametrization that the checkpoint does not describe"):
        load_model(tmp_path)


def test_examples_follow_the_model(build):
    assert list(example_inputs_for(build("BertModel"), 2, 8)) == ["input_ids", "attention_mask", "token_type_ids"]
    assert list(example_inputs_for(build("MPNetModel"), 2, 8)) == ["input_ids", "attention_mask"]
    with pytest.raises(FrontendError, match="sequence length of 39 exceeds the 38 positions"):
        example_inputs_for(build("RobertaModel"), 1, 39)
    with pytest.raises(FrontendError, match="takes no 'input_ids'"):
        example_inputs_for(torch.nn.Linear(2, 2), 1, 4)
