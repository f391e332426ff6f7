"""Adapters of LoRA: the loaded model computes what the layers beside each other do."""

import json
import math

import pytest
import safetensors.torch
import torch

from secateur.frontends import FrontendError, example_inputs_for, load_model

R, ALPHA = 3, 8
LAYERS = [f"bert.encoder.layer.{i}.attention.self.{part}" for i in range(2) for part in ("query", "value")]


class Beside(torch.nn.Module):
    """A linear layer with the low-rank path beside it."""

    def __init__(self, layer, first, second, scale):
        super().__init__()
        self.layer, self.first, self.second, self.scale = layer, first, second, scale

    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.first.T @ self.second.T)


@pytest.fixture
def base(build, tmp_path):
    """A task model in the folder `base`."""
    model = build("BertForSequenceClassification")
    model.save_pretrained(tmp_path / "base")
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    return model


def write_adapter(folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    values = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "r": R,
        "lora_alpha": ALPHA,
        "base_model_name_or_path": "base",
    }
    (folder / "adapter_config.json").write_text(json.dumps({**values, **config}))
    named = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(named, folder / "adapter_model.safetensors")
    return folder


def paths(hidden=32):
    """A and B of each layer, none of them small."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for layer in LAYERS:
        found[f"{layer}.lora_A.weight"] = torch.randn(R, hidden, generator=generator)
        found[f"{layer}.lora_B.weight"] = torch.randn(hidden, R, generator=generator)
    return found


def with_paths(model, tensors, scale):
    for layer in LAYERS:
        holder, _, name = layer.rpartition(".")
        first, second = (tensors[f"{layer}.lora_{part}.weight"] for part in "AB")
        setattr(model.get_submodule(holder), name, Beside(model.get_submodule(layer), first, second, scale))
    return model


def assert_same(found, expected):
    example = example_inputs_for(found, 2, 8)
    with torch.no_grad():
        torch.testing.assert_close(found(**example).logits, expected(**example).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stabilised", [False, True])
def test_an_adapter_is_merged_into_the_model_beside_it(base, tmp_path, stabilised):
    tensors = paths()
    folder = write_adapter(tmp_path / "adapter", tensors, use_rslora=stabilised)
    loaded = load_model(folder)
    assert loaded.name == "adapter" and loaded.tokenizer_files == [tmp_path / "base" / "tokenizer.json"]
    assert_same(loaded.module, with_paths(base, tensors, ALPHA / (math.sqrt(R) if stabilised else R)))


def test_a_head_of_its_own_on_a_bare_encoder(build, tmp_path):
    bare = build("BertModel")
    bare.save_pretrained(tmp_path / "base")
    tensors, expected = paths(), build("BertForSequenceClassification", num_labels=5)
    expected.bert.load_state_dict(bare.state_dict())
    head = {f"classifier.{name}": tensor.detach() for name, tensor in expected.classifier.named_parameters()}
    loaded = load_model(write_adapter(tmp_path / "adapter", {**tensors, **head}))
    assert loaded.module.config.num_labels == 5
    assert_same(loaded.module, with_paths(expected, tensors, ALPHA / R))


def test_a_scale_by_layer_and_a_bias(base, tmp_path):
    tensors = paths()
    bias = torch.randn(32)
    changed = {**tensors, f"{LAYERS[0]}.base_layer.bias": bias}
    # With `bias="all"` PEFT also writes the head, which is trained whole, and the one that it took the place of.
    changed["classifier.modules_to_save.bias"] = head = torch.randn(2)
    changed["classifier.original_module.bias"] = torch.randn(2)
    folder = write_adapter(tmp_path / "adapter", changed, alpha_pattern={r"layer\.0\..*query": 30}, bias="all")
    expected = with_paths(base, tensors, ALPHA / R)
    first = expected.get_submodule(LAYERS[0])
    first.scale, first.layer.bias.data, expected.classifier.bias.data = 30 / R, bias, head
    assert_same(load_model(folder).module, expected)


def test_transposed_weights(tmp_path):
    """GPT-2's layers store [inputs, outputs]."""
    from transformers import GPT2Config, GPT2Model

    torch.manual_seed(0)
    model = GPT2Model(GPT2Config(n_layer=1, n_head=2, n_embd=32, vocab_size=50, n_positions=16)).eval()
    model.save_pretrained(tmp_path / "base")
    first, second = torch.randn(R, 32), torch.randn(96, R)
    tensors = {"h.0.attn.c_attn.lora_A.weight": first, "h.0.attn.c_attn.lora_B.weight": second}
    folder = write_adapter(tmp_path / "adapter", tensors, task_type=None, fan_in_fan_out=True)
    merged = load_model(folder).module.h[0].attn.c_attn
    x = torch.randn(4, 32)
    expected = model.h[0].attn.c_attn(x) + ALPHA / R * (x @ first.T @ second.T)
    torch.testing.assert_close(merged(x), expected, rtol=1e-4, atol=1e-4)


def test_embeddings(base, tmp_path):
    first, second = torch.randn(R, 50), torch.randn(32, R)
    layer = "bert.embeddings.word_embeddings"
    folder = write_adapter(
        tmp_path / "adapter", {f"{layer}.lora_embedding_A": first, f"{layer}.lora_embedding_B": second}
    )
    found = load_model(folder).module.bert.embeddings.word_embeddings.weight
    expected = base.bert.embeddings.word_embeddings.weight + ALPHA / R * (second @ first).T
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "config", "sentence"),
    [
        ({}, {"base_model_name_or_path": "some/bert"}, "for the model 'some/bert', which is not on this machine; put"),
        ({}, {"base_model_name_or_path": None}, "an adapter that names no model"),
        ({}, {"base_model_name_or_path": "\0"}, "is not on this machine"),
        ({}, {"peft_type": "IA3"}, r"of the kind IA3, and not LoRA; merge it: PeftModel"),
        ({}, {"use_dora": True}, "of the kind DoRA"),
        ({}, {"lora_alpha": "8"}, "'lora_alpha' of '.*' is '8'; expected a number"),
        ({}, {"alpha_pattern": {"(": 1}}, "no pattern"),
        ({}, {"task_type": None, "auto_mapping": {"base_model_class": "os"}}, "no model class of transformers"),
        ({"bert.nothing.lora_A.weight": torch.ones(R, 32)}, {}, "'bert.nothing.weight' of .* is no part"),
        ({f"{LAYERS[0]}.lora_B.weight": torch.ones(7, R)}, {}, r"changes weights of shape \[7, 32\], found \[32, 32\]"),
        ({f"{LAYERS[0]}.lora_B.weight": torch.ones(32, 5)}, {}, r"A of shape \[3, 32\] and B of \[32, 5\]"),
        ({f"{LAYERS[0]}.lora_magnitude_vector": torch.ones(32)}, {}, "is no part of LoRA"),
        ({"nothing.weight": torch.ones(3)}, {}, "'nothing.weight' of the adapter '.*' is no part of BertForSequence"),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_a_sentence(base, tmp_path, change, config, sentence):
    with pytest.raises(FrontendError, match=sentence):
        load_model(write_adapter(tmp_path / "adapter", {**paths(), **change}, **config))


def test_an_adapter_without_weights_is_a_sentence(base, tmp_path):
    folder = write_adapter(tmp_path / "adapter", {})
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(FrontendError, match=r"holds no weights of the adapter; expected one of adapter_model"):
        load_model(folder)


def test_a_command_takes_an_adapter(base, tmp_path, secateur):
    folder = write_adapter(tmp_path / "adapter", paths())
    result = secateur("inspect", folder, "--json", "-q")
    assert result.code == 0, result.err
    assert len(result.json["layers"]) == 14
