"""Models that see few tokens, from PyTorch to numbers: their linear layers run with rows for lanes."""

import copy

import numpy as np
import pytest
import torch

from secateur.compiler import compile_model
from secateur.compression.prune import parse_scheme, prune_model
from secateur.runtime_targets import get_target


def close(found, expected):
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("scheme", "tokens"), [("4x16", 1), ("16x1", 8)])
def test_bert(scheme, tokens):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        num_hidden_layers=2,
        hidden_size=64,
        num_attention_heads=4,
        intermediate_size=96,
        vocab_size=50,
        max_position_embeddings=16,
    )
    module = prune_model(BertModel(config), parse_scheme("bcr", scheme), 0.7)[0].eval()
    ids = torch.randint(0, 50, (1, tokens))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    compiled = compile_model(copy.deepcopy(module), inputs)
    with torch.no_grad():
        expected = module(**inputs)
    for name, tensor in compiled(**inputs).items():
        close(tensor, expected[name])
    layers = {k: v for k, v in compiled.report.statistics["sparsity-pack-rows"].items() if k.startswith("layers")}
    assert sum(layers.values()) == 2 * 4 + 1
    # Nothing is left to move into panels.
    assert "sparsity-layout" not in compiled.report.statistics


@pytest.mark.parametrize("threads", [1, 2])
def test_linear_layers(threads):
    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Linear(50, 131), torch.nn.GELU(), torch.nn.Linear(131, 37)).eval()
    module = prune_model(module, parse_scheme("unstructured"), 0.8)[0]
    x = torch.randn(1, 3, 50)
    compiled = compile_model(copy.deepcopy(module), {"input": x}, threads=threads)
    with torch.no_grad():
        close(compiled(x), module(x))
    assert compiled.report.statistics["convert-sparsity-to-kernels"]["dispatches"] == 2


@pytest.mark.parametrize("threads", [1, 2])
def test_blocks_in_windows(threads):
    torch.manual_seed(2)
    module = prune_model(torch.nn.Linear(160, 500).eval(), parse_scheme("bcr", "4x16"), 0.9)[0]
    x = torch.randn(1, 2, 160)
    compiled = compile_model(copy.deepcopy(module), {"input": x}, threads=threads)
    with torch.no_grad():
        close(compiled(x), module(x))
    target = get_target("host-cpu").description
    if target["vector_bytes"] == 64 and "gather" not in target:
        assert compiled.report.statistics["sparsity-pack-rows"]["layers-with-windows"] == 1
