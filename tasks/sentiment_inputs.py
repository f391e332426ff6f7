"""Texts as token ids, and batches of them as a model's inputs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .task import Arrays
from .token_cache import rust_tokenizer


def encode(tokenizer: Any, texts: Sequence[str], window: int) -> dict[str, np.ndarray]:
    """`ids` int32 [tokens] with special tokens, `bounds` int64 [texts + 1]."""
    rust = rust_tokenizer(tokenizer)
    rust.enable_truncation(window)
    ids = [encoding.ids for encoding in rust.encode_batch(list(texts))]
    bounds = np.concatenate([[0], np.cumsum([len(i) for i in ids])]).astype(np.int64)
    return {"ids": np.concatenate(ids).astype(np.int32), "bounds": bounds}


def batch_inputs(
    encoded: dict[str, np.ndarray],
    rows: np.ndarray,
    padding: int,
    names: Sequence[str],
    width: int | None = None,
) -> Arrays:
    """The model's inputs of some texts, int64 [texts, width]; `width`: by default that of the longest."""
    bounds = encoded["bounds"]
    lengths = bounds[rows + 1] - bounds[rows]
    ids = np.full((len(rows), width or int(lengths.max())), padding, np.int64)
    mask = np.zeros_like(ids)
    for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        ids[i, :length] = encoded["ids"][bounds[row] : bounds[row] + length]
        mask[i, :length] = 1
    arrays = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {name: arrays[name] for name in names}


def padding_of(tokenizer: Any) -> int:
    """The token that fills a batch up."""
    return 0 if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def input_names(tokenizer: Any) -> tuple[str, ...]:
    """The inputs that the model takes."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    return names if "token_type_ids" in tokenizer.model_input_names else names[:2]
