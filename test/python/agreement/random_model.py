"""Small models drawn at random: architecture, sizes, activation, pruning scheme, batch, tokens and padding."""

import dataclasses
import random

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ElectraConfig,
    ElectraModel,
    RobertaConfig,
    RobertaModel,
)

from secateur.compression.prune import parse_scheme, prune_model

_SCHEMES = [
    ("bcr", "4x16"),
    ("bcr", "4x1"),
    ("bcr", "16x1"),
    ("bcr", "8x4"),
    ("block", "8"),
    ("pattern", "4x4"),
    ("filter", None),
    ("nm", "2:4"),
    ("unstructured", None),
]


@dataclasses.dataclass(frozen=True)
class RandomModel:
    """A pruned model with inputs of its full size; `about` says what was drawn."""

    module: torch.nn.Module
    inputs: dict[str, torch.Tensor]
    about: str


def random_model(seed: int) -> RandomModel:
    """The model of a seed: the same one every time."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    heads, width = draw.choice([1, 2, 3, 4]), draw.choice([8, 12, 16, 24])
    hidden, inner, layers = heads * width, draw.randrange(16, 130), draw.choice([1, 1, 2])
    activation = draw.choice(["gelu", "gelu_new", "relu", "silu"])
    batch, tokens = draw.choice([1, 1, 2, 3]), draw.choice([1, 3, 7, 16, 17, 33, 40, 64, 70])
    kind = draw.choice(["bert", "classifier", "distilbert", "electra", "roberta"])
    shared = {"vocab_size": 60, "max_position_embeddings": 80}
    if kind == "distilbert":
        # Its activations are these two.
        activation = draw.choice(["gelu", "relu"])
        sizes = {"dim": hidden, "hidden_dim": inner, "n_layers": layers, "n_heads": heads, "activation": activation}
        module: torch.nn.Module = DistilBertModel(DistilBertConfig(**sizes, **shared))
    else:
        sizes = {
            "hidden_size": hidden,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "hidden_act": activation,
        }
        if kind == "electra":
            module = ElectraModel(ElectraConfig(**sizes, embedding_size=draw.choice([hidden, 20]), **shared))
        elif kind == "roberta":
            module = RobertaModel(RobertaConfig(**sizes, **shared))
        elif kind == "classifier":
            module = BertForSequenceClassification(BertConfig(**sizes, num_labels=draw.choice([2, 5]), **shared))
        else:
            module = BertModel(BertConfig(**sizes, **shared))
    # Biases and norms of a fresh model are zeros and ones, which would hide a term that is left out.
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape))
    scheme, block = draw.choice(_SCHEMES)
    if block in ("4x16", "16x1") and hidden < 16:
        # A block larger than the weight is refused.
        block = "4x4"
    sparsity = 0.5 if scheme == "nm" else draw.choice([0.3, 0.6, 0.8, 0.95])
    pruned, _ = prune_model(module.eval(), parse_scheme(scheme, block), sparsity)
    ids = torch.randint(2, 60, (batch, tokens))
    mask = torch.ones_like(ids)
    for row in range(batch):
        mask[row, draw.randrange(1, tokens + 1) :] = 0
    about = f"{kind} {layers}x{hidden}/{inner}, {heads} heads, {activation}, {batch}x{tokens}"
    about += f", {scheme} {block} {sparsity}"
    return RandomModel(pruned, {"input_ids": ids, "attention_mask": mask}, about)
