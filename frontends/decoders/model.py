"""A causal language model of transformers as a function of a few tokens, their position and a cache."""

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from secateur.frontends.errors import FrontendError
from secateur.frontends.private_copy import private_copy

from .cache import ATTENTION, FunctionalCache, run_with

CHUNKS = (32, 128)
"""How many tokens of a prompt a call takes by default: one function for each."""
_ROUNDED_TO = 16


@dataclasses.dataclass(frozen=True)
class Generation:
    """What a model is compiled for: sequences of up to `context` tokens, prompts in `chunks` of so many."""

    context: int
    chunks: tuple[int, ...] = CHUNKS

    def __post_init__(self) -> None:
        if self.context < 2:
            raise FrontendError(f"expected a context of 2 tokens or more, found {self.context}", usage=True)
        if not self.chunks or any(chunk < 2 for chunk in self.chunks) or len(set(self.chunks)) != len(self.chunks):
            raise FrontendError(f"expected chunks of 2 tokens or more, each once, found {self.chunks}", usage=True)

    @property
    def capacity(self) -> int:
        """Rows of a cache: a chunk may begin at any token of the context, and its padding is written too."""
        rows = self.context + max(self.chunks) - 1
        return -(-rows // _ROUNDED_TO) * _ROUNDED_TO


@dataclasses.dataclass(frozen=True)
class CacheShape:
    """Features of the keys and of the values of each layer: kv_heads * depth."""

    keys: tuple[int, ...]
    values: tuple[int, ...]


class CachedDecoder(nn.Module):
    """`forward(input_ids [1, tokens], position [1], token_count [1], *caches)`: logits [1, vocabulary], new caches.

    `position` is that of the first token; behind `token_count` tokens there is padding (one token has no such input).
    The logits are those of the last token that counts. `caches` are the keys of all layers, then the values.
    """

    def __init__(self, module: Any, context: int) -> None:
        super().__init__()
        self.module = module
        self.context = context

    def forward(self, input_ids: torch.Tensor, position: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        tokens = input_ids.shape[1]
        # The model looks for the rows of these tokens alone before its head.
        kept, caches = (rest[0].long() - 1, rest[1:]) if tokens > 1 else (1, rest)
        layers = len(caches) // 2
        cache = FunctionalCache(caches[:layers], caches[layers:], position, tokens)
        places = position[:, None] + torch.arange(tokens, dtype=torch.int32)
        # Padding may lie behind the last position that the model has a vector for; nobody reads what it gives.
        places = places.clamp(max=self.context - 1).long()
        result = run_with(
            cache,
            lambda: self.module(
                input_ids=input_ids,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=kept,
            ),
        )
        return result.logits[:, 0], *cache.keys, *cache.values


def cached_decoder(module: nn.Module, generation: Generation) -> tuple[CachedDecoder, CacheShape]:
    """A private copy of `module`, which must be a causal language model of transformers, as a `CachedDecoder`.

    Raises `FrontendError` for other models, and for a context that is longer than the model's.
    """
    name, config = type(module).__name__, getattr(module, "config", None)
    if getattr(config, "is_encoder_decoder", False):
        raise FrontendError(f"'{name}' is an encoder and a decoder; accepted for generation are decoders alone")
    parameters = inspect.signature(module.forward).parameters
    missing = [p for p in ("input_ids", "position_ids", "past_key_values", "logits_to_keep") if p not in parameters]
    if config is None or missing or not hasattr(module, "set_attn_implementation"):
        without = f", whose 'forward' has no '{missing[0]}'" if missing else ""
        raise FrontendError(
            f"'{name}' is no causal language model of transformers{without}; accepted for generation are its "
            "'...ForCausalLM' and their like"
        )
    longest = getattr(config, "max_position_embeddings", None)
    if isinstance(longest, int) and generation.context > longest:
        raise FrontendError(
            f"a context of {generation.context} tokens exceeds the {longest} positions of '{name}'", usage=True
        )
    copy: Any = private_copy(module)
    shape = _cache_shape(copy, name)
    try:
        copy.set_attn_implementation(ATTENTION)
    except (ValueError, ImportError) as error:
        raise FrontendError(f"'{name}' takes no attention but its own, which keeps no cache here: {error}") from None
    return CachedDecoder(copy, generation.context).eval(), shape


def example_caches(shape: CacheShape, generation: Generation) -> list[torch.Tensor]:
    """Caches without rows: [1, capacity, features] for the keys of all layers, then for the values."""
    return [torch.zeros(1, generation.capacity, features) for features in (*shape.keys, *shape.values)]


def _cache_shape(module: Any, name: str) -> CacheShape:
    """What the layers keep for a token, found by running the model on one."""
    with torch.no_grad():
        cache = module(input_ids=torch.zeros(1, 1, dtype=torch.int64), use_cache=True).past_key_values
    found: Sequence[Any] = getattr(cache, "layers", ())
    tensors = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in found]
    if not tensors or any(not isinstance(t, torch.Tensor) or t.dim() != 4 for pair in tensors for t in pair):
        raise FrontendError(f"'{name}' keeps something else than keys and values of all layers from token to token")
    keys, values = zip(*((k.shape[1] * k.shape[3], v.shape[1] * v.shape[3]) for k, v in tensors), strict=True)
    return CacheShape(keys, values)
