"""What a model does with its key-value cache, as two PyTorch ops that stay whole when it is exported.

    new = write_rows(cache, rows, position)         new[b, position[b] + t] = rows[b, t]
    y = cached_attention(query, keys, values, length, heads, kv_heads, scale, causal, window)

A cache is [batch, capacity, kv_heads * depth]: a token's heads lie side by side, as in rows, queries and results. Both
ops are functional: `write_rows` returns another cache. They run in plain PyTorch; `cache_in_ir` makes level 1 of them.
"""

import torch

NAMESPACE = "secateur"
_LIBRARY = torch.library.Library(NAMESPACE, "DEF")
_LIBRARY.define("write_rows(Tensor cache, Tensor rows, Tensor position) -> Tensor")
_LIBRARY.define(
    "cached_attention(Tensor query, Tensor keys, Tensor values, Tensor length, int heads, int kv_heads, float scale,"
    " bool causal, int window) -> Tensor"
)


def _write_rows(cache: torch.Tensor, rows: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """`rows` [batch, tokens, features] from row `position` [batch] on, in a copy of `cache`."""
    places = position.long()[:, None] + torch.arange(rows.shape[1])
    return cache.scatter(1, places[:, :, None].expand_as(rows), rows.to(cache.dtype))


def _cached_attention(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    length: torch.Tensor,
    heads: int,
    kv_heads: int,
    scale: float,
    causal: bool,
    window: int,
) -> torch.Tensor:
    """`query` [batch, tokens, features] on the first `length` [batch] rows, the last of which are the queries' own.

    `causal`: no query sees rows behind its own; `window` (0: all) is how many rows it sees, its own with them.
    """

    def split(x: torch.Tensor, count: int) -> torch.Tensor:
        return x.float().unflatten(2, (count, -1)).transpose(1, 2)

    k, v = (split(x, kv_heads).repeat_interleave(heads // kv_heads, 1) for x in (keys, values))
    own = (length[:, None] - query.shape[1] + torch.arange(query.shape[1]))[:, None, :, None]
    rows = torch.arange(keys.shape[1])
    seen = rows < length[:, None, None, None]
    if causal:
        seen = seen & (rows <= own)
    if window:
        seen = seen & (rows > own - window)
    y = torch.nn.functional.scaled_dot_product_attention(split(query, heads), k, v, seen, scale=scale)
    return y.transpose(1, 2).flatten(2)


def _attention_shape(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    length: torch.Tensor,
    heads: int,
    kv_heads: int,
    *_: object,
) -> torch.Tensor:
    return query.new_empty(*query.shape[:2], heads * values.shape[2] // kv_heads)


_LIBRARY.impl("write_rows", _write_rows, "CPU")
_LIBRARY.impl("write_rows", lambda cache, rows, position: torch.empty_like(cache), "Meta")
_LIBRARY.impl("cached_attention", _cached_attention, "CPU")
_LIBRARY.impl("cached_attention", _attention_shape, "Meta")

write_rows = torch.ops.secateur.write_rows
cached_attention = torch.ops.secateur.cached_attention
