"""The embedding of words as two arrays, whose product is the nearest to it where words are frequent."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from secateur.frontends.low_rank import LowRankEmbedding

# What a word counts that calibration inputs lack, as a part of one that occurs once: later inputs will have it.
_UNSEEN = 0.1


def count_words(module: Any, batches: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """How often each word of the module's table occurs in calibration inputs, f32 [words]."""
    counts = torch.zeros(module.get_input_embeddings().num_embeddings)
    for batch in batches:
        ids = torch.as_tensor(batch["input_ids"]).cpu()
        mask = torch.as_tensor(batch.get("attention_mask", torch.ones_like(ids))).cpu()
        counts += torch.bincount(ids[mask != 0], minlength=len(counts))
    return counts


@torch.no_grad()
def factor_embedding(module: Any, rank: int, counts: torch.Tensor) -> None:
    """Gives the table of words of a module `rank` features and a linear layer behind it, in place.

    Of all tables of that rank it is the one with the least squared error of the tokens of calibration inputs, in which
    words occur `counts` [words] times: the mean and the principal directions (SVD) of words that count so. Rationale:
    most words of a vocabulary are rare, and directions that only these have are lost cheaply.
    """
    words = module.get_input_embeddings()
    table = (words.projection(words.weight) if isinstance(words, LowRankEmbedding) else words.weight).double()
    share = counts.to(table) + _UNSEEN
    share /= share.sum()
    mean = share @ table
    centred = table - mean
    _, directions = torch.linalg.eigh(centred.T @ (centred * share[:, None]))
    kept = directions[:, -rank:]
    arrays = [array.to(words.weight).contiguous() for array in (centred @ kept, kept, mean)]
    module.set_input_embeddings(LowRankEmbedding(*arrays))


def embedding_rank(module: Any) -> int:
    """Features of the module's table of words: fewer than it gives where it is factored."""
    return int(module.get_input_embeddings().embedding_dim)


def is_factored(module: Any) -> bool:
    """Whether the embedding of words is two arrays."""
    return isinstance(module.get_input_embeddings(), LowRankEmbedding)
