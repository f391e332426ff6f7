"""The models of the table, with random weights: latency does not depend on training."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    Inputs = dict[str, torch.Tensor]

TOKENS = 128
ROWS, COLUMNS = 3072, 768
BYTES = {"weights": "int8", "arithmetic": "int8"}
"""Options of `compile_model` for a model on bytes."""


def bert_base(layers: int = 12) -> "torch.nn.Module":
    """BERT-base without its pooler: 12 layers, hidden size 768, 12 heads, FFN 3072."""
    return _bert(num_hidden_layers=layers)


def minilm_l6() -> "torch.nn.Module":
    """The shape of MiniLM-L6: 6 layers, hidden size 384, 12 heads, FFN 1536."""
    return _bert(num_hidden_layers=6, hidden_size=384, num_attention_heads=12, intermediate_size=1536)


def encoder_layer(attention: str = "sdpa", **config: int) -> "torch.nn.Module":
    """One encoder layer, of BERT-base where `config` says nothing else: hidden states [1, tokens, width] to such.
    `attention` as transformers has it: `sdpa` or `eager`."""
    import torch
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertEncoder

    torch.manual_seed(0)
    whole = BertConfig(num_hidden_layers=1, **config)
    whole._attn_implementation = attention
    return BertEncoder(whole).eval()


def linear() -> "torch.nn.Module":
    """One linear layer, 3072 outputs of 768 inputs: the first of BERT-base's FFN."""
    import torch

    torch.manual_seed(0)
    return torch.nn.Linear(COLUMNS, ROWS).eval()


def bert_inputs() -> "Inputs":
    """One sequence of 128 tokens, none masked."""
    import torch

    ids = torch.randint(0, 30522, (1, TOKENS), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def linear_inputs(tokens: int) -> "Inputs":
    """`tokens` rows of 768 normal numbers."""
    import torch

    return {"input": torch.randn(tokens, COLUMNS, generator=torch.Generator().manual_seed(0))}


def pruned(module: "torch.nn.Module", scheme: str, block: str | None, sparsity: float) -> "torch.nn.Module":
    """A copy with the smallest weights of every encoder linear removed."""
    from secateur.compression.prune import parse_scheme, prune_model

    return prune_model(module, parse_scheme(scheme, block), sparsity)[0]


def kept_weights(module: "torch.nn.Module") -> int:
    """Weights of the linear layers that are not zero."""
    import torch

    weights = [layer.weight for layer in module.modules() if isinstance(layer, torch.nn.Linear)]
    return sum(int(np.count_nonzero(weight.detach().numpy())) for weight in weights)


def remaining_flops(module: "torch.nn.Module", tokens: int) -> float:
    """Operations that a BERT needs for `tokens` tokens: two for every weight of a linear layer that is not zero and
    every token, and the two products of attention. Norms, activations and embeddings are not counted.
    """
    config: Any = getattr(module, "config", None)
    flops = 2.0 * tokens * kept_weights(module)
    if config is not None:
        flops += config.num_hidden_layers * 4.0 * tokens * tokens * config.hidden_size
    return flops


def _bert(**sizes: int) -> "torch.nn.Module":
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    return BertModel(BertConfig(**sizes), add_pooling_layer=False).eval()
