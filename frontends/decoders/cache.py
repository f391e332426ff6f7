"""The key-value cache that a model of transformers is exported with: tensors in, tensors out, nothing changed."""

import contextvars
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from secateur.frontends.errors import FrontendError

from .cache_ops import cached_attention, write_rows

ATTENTION = "secateur_cached"
"""The name under which transformers finds the attention of this module."""

# What says something that is known here in another way, or nothing about which keys a query sees.
_IGNORED = {
    *("position_ids", "cache_position", "position_embeddings", "is_causal", "use_cache", "output_attentions"),
    *("output_hidden_states", "return_dict", "num_items_in_batch", "cu_seq_lens_q", "cu_seq_lens_k"),
}
_current: contextvars.ContextVar["FunctionalCache"] = contextvars.ContextVar("cache")


class FunctionalCache(Cache):
    """The cache of one call. `keys` and `values`: one tensor [batch, capacity, kv_heads * depth] a layer.

    They hold the rows of all tokens before `position` [batch] when the call begins, and new tensors, with the rows of
    its own `tokens` too, when it ends.
    """

    def __init__(
        self, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor], position: torch.Tensor, tokens: int
    ) -> None:
        # The base class makes layers that grow; of it, models use only the methods below.
        self.layers: list[Any] = []
        self.keys, self.values = list(keys), list(values)
        self._position, self._length = position, position + tokens
        self._written: set[int] = set()
        self._attended = 0

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """Writes the rows of a layer; what is returned goes to `attention` as it is."""
        self.keys[layer_idx] = write_rows(self.keys[layer_idx], _side_by_side(key_states), self._position)
        self.values[layer_idx] = write_rows(self.values[layer_idx], _side_by_side(value_states), self._position)
        self._written.add(layer_idx)
        return self.keys[layer_idx], self.values[layer_idx]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Only asked for where positions are not given, which they are."""
        return 0

    def attend(
        self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float, window: int
    ) -> torch.Tensor:
        """Attention of a layer on what `update` returned for it; `query` [batch, heads, tokens, depth]."""
        if not any(keys is known for known in self.keys):
            raise FrontendError("attention reads other keys than those of the cache; accepted are causal decoders")
        self._attended += 1
        heads, depth = query.shape[1], query.shape[3]
        merged = _side_by_side(query)
        kv_heads = keys.shape[2] // depth
        return cached_attention(merged, keys, values, self._length, heads, kv_heads, scale, True, window)

    def check(self) -> None:
        """Raises `FrontendError` unless each layer wrote its rows and attended to them, once."""
        layers = len(self.keys)
        if len(self._written) != layers or self._attended != layers:
            raise FrontendError(
                f"{len(self._written)} of {layers} layers keep keys and values, and {self._attended} attend to them "
                "in the way that transformers lets others compute; accepted are models all of whose layers do both"
            )


def attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls in place of its own attention; the result is [batch, tokens, heads, depth].

    Raises `FrontendError` for what `cached_attention` cannot say: masks, caps of scores, sinks, bidirectional layers.
    """
    unknown = sorted(name for name, given in others.items() if given is not None and name not in _IGNORED)
    if attention_mask is not None:
        unknown.insert(0, "attention_mask")
    if unknown or dropout or not getattr(module, "is_causal", True):
        what = f"'{unknown[0]}'" if unknown else "dropout" if dropout else "no causal order"
        raise FrontendError(f"'{type(module).__name__}' has {what}, which attention on a cache does not know")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    result = _current.get().attend(query, key, value, scale, sliding_window or 0)
    return result.unflatten(2, (query.shape[1], -1)), None


def _side_by_side(x: torch.Tensor) -> torch.Tensor:
    """[batch, heads, tokens, depth] as [batch, tokens, heads * depth]."""
    return x.transpose(1, 2).flatten(2)


AttentionInterface.register(ATTENTION, attention)


def run_with(cache: FunctionalCache, call: Any) -> Any:
    """The result of `call()`, in which a model reads and writes `cache`. Raises what `FunctionalCache.check` raises."""
    token = _current.set(cache)
    try:
        result = call()
    finally:
        _current.reset(token)
    cache.check()
    return result
