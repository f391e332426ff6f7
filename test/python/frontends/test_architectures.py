"""Every supported architecture, from PyTorch to level 2, against PyTorch."""

from collections import Counter

import numpy as np
import pytest
import torch

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.frontends import import_model
from secateur.frontends.flattening import flatten_output
from secateur.passes.base import PassContext, walk
from secateur.runtime_targets.token_count import in_order

ENCODERS = (
    "BertModel",
    "DistilBertModel",
    "RobertaModel",
    "ElectraModel",
    "MPNetModel",
    "AlbertModel",
    "MobileBertModel",
)
HEADS = (
    "BertForQuestionAnswering",
    "BertForSequenceClassification",
    "DistilBertForQuestionAnswering",
    "MPNetForSequenceClassification",
    "AlbertForQuestionAnswering",
)


def structural(imported):
    """Lowers to level 2; the ops by name."""
    run_pipeline(imported.module, "torch-to-structural", PassContext(weights=imported.weights))
    return Counter(op.operation.name for op in walk(imported.module))


def assert_equals_pytorch(imported, model, example):
    with torch.no_grad():
        _, expected, _ = flatten_output(model(**example))
    given = {name: value.numpy() for name, value in example.items()}
    found = evaluate(imported.module, in_order(imported.inputs, given), imported.weights)
    assert len(found) == len(expected)
    for array, tensor in zip(found, expected, strict=True):
        error = np.linalg.norm(array - tensor.numpy()) / np.linalg.norm(tensor.numpy())
        assert error < 1e-5


@pytest.mark.parametrize(
    ("class_name", "tokens"), [*((name, n) for name in ENCODERS for n in (8, 13)), *((name, 11) for name in HEADS)]
)
def test_equals_pytorch_with_a_padded_mask(build, inputs, class_name, tokens):
    model, example = build(class_name), inputs(2, tokens)
    # Imported with a mask of ones: its content must not be baked in.
    imported = import_model(model, example, make_context())
    ops = structural(imported)
    assert ops["sparsity.attention"] == 2
    assert not [name for name in ops if name.startswith(("torch", "tm_tensor"))]
    example["attention_mask"][0, tokens - 3 :] = 0
    example["attention_mask"][1, tokens - 5 :] = 0
    assert_equals_pytorch(imported, model, example)


def test_level_1_equals_pytorch(build, inputs):
    model, example = build("MPNetModel"), inputs(2, 9)
    imported = import_model(model, example, make_context())
    example["attention_mask"][1, 4:] = 0
    assert_equals_pytorch(imported, model, example)


@pytest.mark.parametrize("class_name", ["BertModel", "DistilBertModel", "RobertaModel", "ElectraModel", "AlbertModel"])
def test_a_padding_mask_is_a_bias_per_key(build, inputs, class_name):
    imported = import_model(build(class_name), inputs(2, 8), make_context())
    structural(imported)
    for attention in walk(imported.module, "sparsity.attention"):
        assert list(attention.key_bias.type.shape) == [2, 8]
        assert attention.bias is None
    # All layers share the mask.
    assert len({attention.key_bias for attention in walk(imported.module, "sparsity.attention")}) == 1


def test_relative_positions_are_a_bias_beside_the_mask(build, inputs):
    imported = import_model(build("MPNetModel"), inputs(1, 8), make_context())
    structural(imported)
    for attention in walk(imported.module, "sparsity.attention"):
        assert list(attention.key_bias.type.shape) == [1, 8]
        assert list(attention.bias.type.shape) == [1, 2, 8, 8]


def test_a_bert_layer_is_a_chain_of_structural_ops(build, inputs):
    imported = import_model(build("BertModel", num_hidden_layers=1), inputs(1, 8), make_context())
    structural(imported)
    names = [op.operation.name.removeprefix("sparsity.") for op in walk(imported.module)]
    first = names.index("linear")
    layer = [name for name in names[first:] if name != "weight"]
    # Between query and attention nothing but the mask may stand.
    of_mask = ("linalg.", "tensor.", "arith.")
    assert [name for name in layer if not name.startswith(of_mask)][:12] == [
        *("linear", "linear", "linear", "attention", "linear", "add", "layer_norm"),
        *("linear", "activation", "linear", "add", "layer_norm"),
    ]


def test_eager_attention_is_recognised(build, inputs):
    model = build("BertModel", attn_implementation="eager")
    model._supports_sdpa = False
    example = inputs(2, 8)
    imported = import_model(model, example, make_context())
    assert not walk(imported.module, "torch.aten.scaled_dot_product_attention")
    assert structural(imported)["sparsity.attention"] == 2
    for attention in walk(imported.module, "sparsity.attention"):
        assert attention.key_bias is not None and attention.bias is None
    example["attention_mask"][1, 4:] = 0
    assert_equals_pytorch(imported, model, example)


def test_shared_layers_share_their_weights(build, inputs):
    imported = import_model(build("AlbertModel"), inputs(), make_context())
    weights = [symbol for symbol in imported.weights if symbol.endswith("attention.query.weight")]
    assert len(weights) == 1


def test_a_module_of_plain_pytorch(inputs):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(12, 20), torch.nn.ReLU(), torch.nn.Linear(20, 3, bias=False))
    example = {"input": torch.randn(5, 12)}
    imported = import_model(model, example, make_context())
    assert imported.output_form == "tensor"
    assert imported.inputs[0].axes == ("batch", None)
    ops = structural(imported)
    assert (ops["sparsity.linear"], ops["sparsity.activation"]) == (2, 1)
    assert_equals_pytorch(imported, model, example)


def test_pytorchs_own_encoder_layer():
    torch.manual_seed(0)
    model = torch.nn.TransformerEncoderLayer(32, 2, 64, batch_first=True).eval()
    hidden = torch.zeros(2, 8, dtype=torch.bool)
    example = {"src": torch.randn(2, 8, 32), "src_key_padding_mask": hidden}
    imported = import_model(model, example, make_context())
    assert structural(imported)["sparsity.attention"] == 1
    hidden[1, 5:] = True
    assert_equals_pytorch(imported, model, example)
