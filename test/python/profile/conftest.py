"""A small pruned BERT as a bundle, and a compile cache of the test session's own."""

import pytest
import torch
from transformers import BertConfig, BertModel

from secateur.compiler import compile_model
from secateur.compression.prune import parse_scheme, prune_model

TOKENS, HIDDEN, HEADS, FFN, LAYERS = 37, 64, 4, 128, 2


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def bert():
    torch.manual_seed(0)
    config = BertConfig(
        num_hidden_layers=LAYERS,
        hidden_size=HIDDEN,
        num_attention_heads=HEADS,
        intermediate_size=FFN,
        vocab_size=100,
        max_position_embeddings=TOKENS,
    )
    return prune_model(BertModel(config, add_pooling_layer=False), parse_scheme("bcr", "4x16"), 0.7)[0].eval()


def _compiled(bert, path, **numbers):
    ids = torch.ones(1, TOKENS, dtype=torch.int64)
    compile_model(bert, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, verify=False, **numbers).save(path)
    return path


@pytest.fixture(scope="session")
def bundle(bert, tmp_path_factory):
    return _compiled(bert, tmp_path_factory.mktemp("bundle") / "bert.bundle")


@pytest.fixture(scope="session")
def byte_bundle(bert, tmp_path_factory):
    """The same model with weights and activations of bytes."""
    return _compiled(bert, tmp_path_factory.mktemp("bundle") / "bytes.bundle", weights="int8", arithmetic="int8")
