"""Compiled executables of pruned models of every architecture against PyTorch, at two lengths, with a padded mask."""

import numpy as np
import pytest
import torch
import transformers

from secateur.compiler import compile_model
from secateur.compression.prune import parse_scheme, prune_model

SIZES = {"hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 96, "num_hidden_layers": 2}
DISTIL = {"dim": 48, "n_heads": 3, "hidden_dim": 96, "n_layers": 2}
MOBILE = {**SIZES, "embedding_size": 24, "intra_bottleneck_size": 24, "num_attention_heads": 2}
MODELS = {
    "BertModel": SIZES,
    "BertForQuestionAnswering": SIZES,
    "DistilBertModel": DISTIL,
    "RobertaModel": SIZES,
    "ElectraForSequenceClassification": {**SIZES, "embedding_size": 24},
    "MPNetModel": SIZES,
    "AlbertModel": {**SIZES, "embedding_size": 24},
    "MobileBertModel": MOBILE,
}
VOCABULARY = 99


def build(class_name: str) -> torch.nn.Module:
    """A small model with random weights, 70 % of its encoder gone in blocks of 4 x 8."""
    torch.manual_seed(0)
    made = getattr(transformers, class_name)
    module = made(made.config_class(**MODELS[class_name], vocab_size=VOCABULARY)).eval()
    return prune_model(module, parse_scheme("bcr", "4x8"), 0.7)[0]


def example(batch: int = 2, tokens: int = 32) -> dict[str, torch.Tensor]:
    """Ids, and a mask that hides the end of the first sequence."""
    ids = torch.randint(3, VOCABULARY, (batch, tokens), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, tokens * 2 // 3 :] = 0
    return {"input_ids": ids, "attention_mask": mask}


@pytest.mark.parametrize("class_name", MODELS)
def test_executable_equals_pytorch(class_name):
    module = build(class_name)
    compiled = compile_model(module, example(), verify=False)
    for tokens in (32, 13):
        inputs = example(tokens=tokens)
        found = compiled(**inputs)
        with torch.no_grad():
            expected = module(**inputs)
        assert list(found) == [name for name in expected if name in found]
        for name, value in found.items():
            wanted = expected[name].double()
            assert value.shape == wanted.shape
            difference = torch.linalg.vector_norm(value.double() - wanted) / torch.linalg.vector_norm(wanted)
            assert difference < 1e-5, (name, tokens)


def test_two_threads_give_what_one_gives():
    module, inputs = build("BertModel"), example()
    one, two = (compile_model(module, inputs, threads=threads)(**inputs) for threads in (1, 2))
    for name in one:
        np.testing.assert_allclose(two[name].numpy(), one[name].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("token", [VOCABULARY, 10**12, -1])
def test_ids_outside_of_the_vocabulary_are_refused(token):
    compiled = compile_model(build("BertModel"), example(), verify=False)
    inputs = example()
    inputs["input_ids"][1, 5] = token
    with pytest.raises(ValueError, match=f"'input_ids' holds {token}; accepted are 0 to {VOCABULARY - 1}"):
        compiled(**inputs)
