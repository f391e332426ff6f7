"""Layers of one model in different formats: each as if the whole model were in its own, or a sentence."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from secateur.compiler import compile_model
from secateur.compiler.errors import CompileError
from secateur.dialects.number_formats import NumberFormatError, layer_formats, number_format

IDS = torch.randint(0, 100, (1, 24), generator=torch.Generator().manual_seed(1))
INPUTS = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS)}


def bert():
    torch.manual_seed(0)
    config = BertConfig(
        num_hidden_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        intermediate_size=64,
        vocab_size=100,
        max_position_embeddings=32,
    )
    return BertModel(config, add_pooling_layer=False).eval()


def rounded(model, formats):
    """A copy with the weights that `formats` say by their names, in NumPy."""
    import copy

    found = copy.deepcopy(model)
    for name, weights in formats.items():
        weight = found.get_submodule(name).weight
        storage = number_format(weights).storage
        weight.data = torch.from_numpy(storage.read_rows(*storage.store_rows(weight.detach().numpy())))
    return found


def test_each_layer_is_stored_as_its_format_says():
    model = bert()
    compiled = compile_model(
        model,
        INPUTS,
        formats={
            "*.0.output.dense": "f32",
            "encoder.layer.0.*": "int8",
            "*.1.attention.self.*": "f16",
            "embeddings.word_embeddings": "int8",
        },
    )
    counted = compiled.report.targets[0].statistics["sparsity-number-format"]
    # Query, key and value are one layer.
    assert counted == {"layers-in-int8": 3, "layers-in-f16": 1, "tables-in-int8": 1}
    assert all(d.tolerance.relative_l2 == 1e-5 for d in compiled.report.verification)
    stored = compiled.report.quantization
    assert stored.exact and stored.weights == "int8 and f16"
    names = dict.fromkeys([f"encoder.layer.1.attention.self.{n}" for n in ("query", "key", "value")], "f16")
    first = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    names |= {f"encoder.layer.0.{name}": "int8" for name in (*first, "intermediate.dense")}
    names |= {"embeddings.word_embeddings": "int8"}
    with torch.no_grad():
        expected = rounded(model, names)(**INPUTS).last_hidden_state.numpy()
        whole = model(**INPUTS).last_hidden_state.numpy()
    found = np.asarray(compiled(**INPUTS)["last_hidden_state"])
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(found - whole).max() > 1e-3


def test_bytes_are_multiplied_in_the_layers_that_say_so():
    model = bert()
    compiled = compile_model(model, INPUTS, weights="f16", formats={"encoder.layer.0.*": "int8 x int8"})
    counted = compiled.report.targets[0].statistics
    assert counted["sparsity-number-format"] == {
        "layers-in-int8": 4,
        "attentions-in-int8": 1,
        "layers-in-f16": 4,
        "tables-in-f16": counted["sparsity-number-format"]["tables-in-f16"],
    }
    # What rounds activations is compared op by op as well.
    assert compiled.report.targets[0].ops_compared > 0
    everywhere = compile_model(model, INPUTS, weights="int8", arithmetic="int8")
    with torch.no_grad():
        expected = model(**INPUTS).last_hidden_state.numpy()

    def error(model):
        return np.linalg.norm(np.asarray(model(**INPUTS)["last_hidden_state"]) - expected)

    assert error(compiled) < error(everywhere)


def test_the_default_may_be_left_for_f32():
    formats = {"encoder.layer.1.*": "f32", "embeddings.*": "f32"}
    compiled = compile_model(bert(), INPUTS, weights="int8", formats=formats)
    assert compiled.report.targets[0].statistics["sparsity-number-format"] == {"layers-in-int8": 4}
    assert compile_model(bert(), INPUTS, weights="int8").report.quantization != compiled.report.quantization


@pytest.mark.parametrize(
    ("formats", "message"),
    [
        ({"encoder.layer.2.*": "int8"}, r"'encoder.layer.2.\*' is the name of no layer with weights; there are emb"),
        (
            {"encoder.layer.0.attention.self.query": "int8"},
            "query' is one layer with .*value, and .* one format, found",
        ),
        ({"*": "int9"}, "unknown 'weights' 'int9'"),
        ({"*": "f32 x int8"}, "arithmetic in int8 takes weights of int8"),
        ({"*.0.*": "f16 x f16"}, "the target 'host-cpu' has no arithmetic in f16"),
    ],
)
def test_what_cannot_be_is_a_sentence(formats, message):
    with pytest.raises(CompileError, match=message):
        compile_model(bert(), INPUTS, formats=formats)


def test_a_file_of_formats(tmp_path):
    file = tmp_path / "formats.json"
    file.write_text(json.dumps({"*.query": "int8 x int8", "*": "f16"}))
    assert [(name, str(found)) for name, found in layer_formats(file)] == [
        ("*.query", "int8 x int8"),
        ("*", "f16 x f32"),
    ]
    for text, message in (
        ("[1]", "is to be an object of JSON"),
        ("{", "cannot be read as JSON"),
        ('{"a": 3}', "is to be"),
    ):
        file.write_text(text)
        with pytest.raises(NumberFormatError, match=message):
            layer_formats(file)
