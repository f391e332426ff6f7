"""Families beside BERT's, built by config with random weights: from PyTorch to level 2, against PyTorch."""

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.frontends import import_model
from secateur.frontends.flattening import flatten_output
from secateur.passes.base import PassContext, walk
from secateur.runtime_targets.token_count import in_order

_SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
_TEXT = {**_SIZES, "vocab_size": 30, "max_position_embeddings": 20}
_IMAGE = {**_SIZES, "image_size": 8, "patch_size": 4}
_SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}

TEXT = {
    "CLIPTextModel": {**_TEXT, "eos_token_id": 29},
    "SiglipTextModel": _TEXT,
    "ModernBertModel": {**_TEXT, **_SPECIAL, "local_attention": 4},
    "ConvBertModel": {**_TEXT, "embedding_size": 16, "conv_kernel_size": 3, "head_ratio": 1},
    "GPT2Model": {"n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 30, "n_positions": 20},
    "LlamaModel": {**_TEXT, "num_key_value_heads": 1},
}
IMAGE = {
    "ViTModel": _IMAGE,
    "BeitModel": {**_IMAGE, "use_relative_position_bias": True},
    "CLIPVisionModel": _IMAGE,
    "DINOv3ViTModel": _IMAGE,
    "SwinModel": {"image_size": 8, "patch_size": 2, "embed_dim": 8, "depths": [1], "num_heads": [2], "window_size": 2},
}
MODULES = {
    "LSTM": (lambda: nn.LSTM(4, 6, bidirectional=True), {"input": (3, 2, 4)}),
    "LSTM that projects": (lambda: nn.LSTM(4, 6, proj_size=3, batch_first=True), {"input": (2, 3, 4)}),
    "GRU": (lambda: nn.GRU(4, 6, 2), {"input": (3, 2, 4)}),
    "RNN": (lambda: nn.RNN(4, 6), {"input": (3, 4)}),
    "attention": (lambda: nn.MultiheadAttention(8, 2), {"query": (5, 2, 8), "key": (7, 2, 8), "value": (7, 2, 8)}),
    "Transformer": (lambda: nn.Transformer(16, 2, 1, 1, 32), {"src": (7, 2, 16), "tgt": (5, 2, 16)}),
}


def assert_equals_pytorch(model, example):
    """Returns the ops of level 2 by name."""
    # The initial biases are zeros and the norms ones, under which a lost operand would not show.
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    imported = import_model(model, example, make_context())
    run_pipeline(imported.module, "torch-to-structural", PassContext(weights=imported.weights))
    with torch.no_grad():
        _, expected, _ = flatten_output(model(**example))
    found = evaluate(
        imported.module,
        in_order(imported.inputs, {name: value.numpy() for name, value in example.items()}),
        imported.weights,
    )
    assert len(found) == len(expected)
    for array, tensor in zip(found, expected, strict=True):
        assert np.linalg.norm(array - tensor.numpy()) < 1e-5 * np.linalg.norm(tensor.numpy())
    return [op.operation.name for op in walk(imported.module)]


def build(class_name, sizes):
    torch.manual_seed(0)
    made = getattr(transformers, class_name)
    return made(made.config_class(**sizes)).eval()


@pytest.mark.parametrize("class_name", TEXT)
def test_text(class_name):
    ids = torch.randint(3, 29, (1, 8), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, 6:] = 0
    assert_equals_pytorch(build(class_name, TEXT[class_name]), {"input_ids": ids, "attention_mask": mask})


def test_transposed_weights_are_linear_layers_of_the_same_memory():
    model = build("GPT2Model", TEXT["GPT2Model"])
    ops = assert_equals_pytorch(model, {"input_ids": torch.arange(3, 11)[None]})
    assert ops.count("sparsity.linear") == 4
    weights = import_model(model, {"input_ids": torch.arange(3, 11)[None]}, make_context()).weights
    stored = model.h[0].mlp.c_fc.weight.detach().numpy()
    assert weights["h.0.mlp.c_fc.weight"].shape == stored.T.shape
    assert np.shares_memory(weights["h.0.mlp.c_fc.weight"], stored)


@pytest.mark.parametrize("class_name", IMAGE)
def test_images(class_name):
    ops = assert_equals_pytorch(build(class_name, IMAGE[class_name]), {"pixel_values": torch.randn(1, 3, 8, 8)})
    assert ops.count("sparsity.attention") >= 1


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_pytorch(name):
    torch.manual_seed(0)
    make, shapes = MODULES[name]
    assert_equals_pytorch(make().eval(), {key: torch.randn(shape) for key, shape in shapes.items()})


def test_a_batch_norm_beside_an_op_that_is_decomposed():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)
            self.norm.running_mean.normal_()

        def forward(self, x):
            return nn.functional.unfold(self.norm(x), 2).clip(-1, 1)

    torch.manual_seed(0)
    assert_equals_pytorch(Both().eval(), {"x": torch.randn(2, 3, 4, 4)})
