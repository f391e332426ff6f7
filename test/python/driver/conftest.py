"""Small pruned models, and a compile cache of the test session's own."""

import pytest
import torch
from transformers import BertConfig, BertModel

from secateur.compression.prune import parse_scheme, prune_model


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_CACHE", str(folder))
        patch.setenv("SECATEUR_RECORDS", str(tmp_path_factory.mktemp("records")))
        yield folder


def bert(seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {
        "num_hidden_layers": 2,
        "hidden_size": 32,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 100,
        "max_position_embeddings": 40,
    }
    return BertModel(BertConfig(**{**sizes, **changes}))


@pytest.fixture(scope="session")
def pruned_bert():
    return prune_model(bert(), parse_scheme("bcr", "4x16"), 0.7)[0]


@pytest.fixture(scope="session")
def bert_inputs():
    ids = torch.randint(0, 100, (2, 24), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


@pytest.fixture(scope="session")
def compiled_bert(pruned_bert, bert_inputs):
    from secateur.compiler import compile_model

    return compile_model(pruned_bert, bert_inputs)
