"""Small models of every supported architecture, with random weights."""

import pytest
import torch
import transformers

_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 50,
    "max_position_embeddings": 40,
}
_DISTILBERT = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "vocab_size": 50}
_CONFIGS = {
    "Bert": (transformers.BertConfig, _SIZES),
    "DistilBert": (transformers.DistilBertConfig, {**_DISTILBERT, "max_position_embeddings": 40}),
    "Roberta": (transformers.RobertaConfig, _SIZES),
    "Electra": (transformers.ElectraConfig, {**_SIZES, "embedding_size": 16}),
    "MPNet": (transformers.MPNetConfig, _SIZES),
    "Albert": (transformers.AlbertConfig, {**_SIZES, "embedding_size": 16}),
    "MobileBert": (
        transformers.MobileBertConfig,
        {**_SIZES, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16},
    ),
}


@pytest.fixture
def build():
    """`build("BertForQuestionAnswering")` makes a small model of that class."""

    def make(class_name: str, **options: object) -> torch.nn.Module:
        torch.manual_seed(0)
        family = next(name for name in _CONFIGS if class_name.startswith(name))
        config_class, sizes = _CONFIGS[family]
        model = getattr(transformers, class_name)(config_class(**{**sizes, **options}))
        # The initial biases are zeros and the norms ones, under which a lost operand would not show.
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.data += 0.3 * torch.randn_like(parameter)
        return model.eval()

    return make


@pytest.fixture
def inputs():
    """`inputs(batch, tokens)`: ids and a mask of ones."""

    def make(batch: int = 2, tokens: int = 8) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(batch * 100 + tokens)
        ids = torch.randint(2, 50, (batch, tokens), generator=generator)
        return {"input_ids": ids, "attention_mask": torch.ones(batch, tokens, dtype=torch.int64)}

    return make
