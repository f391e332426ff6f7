"""Tokenised texts as flat arrays, kept on disk and mapped into memory.

An entry is made once per content, tokenizer and options, and appears whole or not at all, as in
`secateur.compiler.build.cache`.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from secateur.compiler.build.cache import Cache, cache_folder

from .task import TaskError

# Changes whenever the arrays of an entry or their meaning do.
_FORMAT = 1


def rust_tokenizer(tokenizer: Any) -> Any:
    """The `tokenizers.Tokenizer` inside a fast tokenizer of transformers, a copy that neither cuts nor pads.

    Raises `TaskError` for one that is not fast.
    """
    from tokenizers import Tokenizer

    return Tokenizer.from_str(_settings(tokenizer))


def _settings(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise TaskError(f"'{type(tokenizer).__name__}' is no fast tokenizer, which finds the words' places in a text")
    # Checkpoints carry the padding and the length of whoever saved them last, and calls change both.
    return json.dumps({**json.loads(backend.to_str()), "truncation": None, "padding": None}, sort_keys=True)


def tokenise(tokenizer: Any, texts: Sequence[str]) -> dict[str, np.ndarray]:
    """Token ids of every text without special tokens, all behind each other.

    `ids` int32 [tokens]; `offsets` int32 [tokens, 2], first character and the one after the last; `bounds` int64
    [texts + 1]: text i has the tokens bounds[i] to bounds[i + 1].
    """
    encodings = rust_tokenizer(tokenizer).encode_batch(list(texts), add_special_tokens=False)
    lengths = np.array([len(encoding) for encoding in encodings], np.int64)
    bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.empty(bounds[-1], np.int32)
    offsets = np.empty((bounds[-1], 2), np.int32)
    for i, encoding in enumerate(encodings):
        part = slice(bounds[i], bounds[i + 1])
        ids[part] = encoding.ids
        offsets[part] = np.array(encoding.offsets, np.int32).reshape(-1, 2)
    return {"ids": ids, "offsets": offsets, "bounds": bounds}


def cached_arrays(
    content: str, tokenizer: Any, options: Mapping[str, Any], make: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What `make` returns, from disk where it was made before: read-only arrays by name, mapped into memory.

    `content` is the hash of what the arrays are made of; `options` are JSON-able.
    """
    folder = cache_folder()
    if folder is None:
        return make()
    parts = json.dumps({"format": _FORMAT, "content": content, "options": dict(options)}, sort_keys=True)
    key = "tokens-" + hashlib.blake2b((parts + _settings(tokenizer)).encode(), digest_size=24).hexdigest()
    cache = Cache(folder)
    found = _read(cache, key)
    if found is not None:
        return found
    arrays = make()
    # A cache that cannot be written only remembers nothing.
    with contextlib.suppress(OSError), cache.write(key) as entry:
        for name, array in arrays.items():
            np.save(entry / f"{name}.npy", array, allow_pickle=False)
    return _read(cache, key) or arrays


def _read(cache: Cache, key: str) -> dict[str, np.ndarray] | None:
    entry = cache.find(key)
    if entry is None:
        return None
    # A disk that was full, or somebody's hand, can damage what was whole; it is then made again.
    with contextlib.suppress(OSError, ValueError, EOFError):
        # As plain arrays over the same mapping: `np.memmap` takes several times longer to slice.
        files = sorted(entry.glob("*.npy"))
        return {file.stem: np.asarray(np.load(file, mmap_mode="r", allow_pickle=False)) for file in files}
    cache.discard(key)
    return None
