"""Where a model's folder is: a folder as it was given, or the snapshot of a model of the Hugging Face hub.

A name such as `bert-base-uncased` or `organisation/model` is looked up in the local cache of `huggingface_hub` first
and is downloaded where it is not there. Nothing else in Secateur opens a connection to load a model.
"""

import os
import re
import socket
import urllib.parse
import urllib.request
from pathlib import Path

from .errors import FrontendError

# A name of the hub: at most one slash, and no part that begins with a dot.
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_NAMED_FILES = (
    *("config.json", "adapter_config.json", "*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*"),
    *("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "added_tokens.json", "*.model"),
)
_SECONDS = 10.0


def is_name(given: str) -> bool:
    """Whether `given` can only be the name of a model of the hub: nothing stands there, and it reads as one."""
    return not os.path.lexists(given) and _NAME.fullmatch(given) is not None


def model_folder(given: str | os.PathLike[str]) -> Path:
    """The folder that `given` names: itself where it exists, else that of a model of the hub.

    Raises `FrontendError` where there is neither, or the model is not in the local cache and cannot be downloaded.
    """
    if not isinstance(given, str) or not is_name(given):
        return Path(given)
    text = given
    found = local_folder(text)
    if found is not None:
        return found
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    missing = f"'{text}' is no folder, and no model of that name is in the local cache of the Hugging Face hub"
    if constants.HF_HUB_OFFLINE:
        raise FrontendError(f"{missing}; HF_HUB_OFFLINE forbids to download it", usage=True)
    if not _reachable(constants.ENDPOINT):
        raise FrontendError(
            f"{missing}; there is no connection to {constants.ENDPOINT} to download it from", usage=True
        )
    try:
        # Weights once: safetensors where there are any.
        patterns = list(_NAMED_FILES)
        if any(name.endswith(".safetensors") for name in _files_of(text)):
            patterns = [pattern for pattern in patterns if ".bin" not in pattern]
        return Path(snapshot_download(text, allow_patterns=patterns, etag_timeout=_SECONDS))
    except Exception as error:
        unknown = isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError)
        raise FrontendError(f"{missing}; downloading it failed: {_reason(error)}", usage=unknown) from None


def local_folder(name: str) -> Path | None:
    """Where the local cache of the hub has a model; None where it has not, or `name` cannot be one of the hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if _NAME.fullmatch(name) is None:
        return None
    try:
        return Path(snapshot_download(name, allow_patterns=list(_NAMED_FILES), local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        return None


def _reachable(address: str) -> bool:
    """Whether the host's name is known, which the hub's own client asks for some seconds; a proxy may know more."""
    if urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(urllib.parse.urlsplit(address).hostname, 443)
    except OSError:
        return False
    return True


def _files_of(name: str) -> list[str]:
    """The names of a model's files. Raises what `huggingface_hub` does."""
    from huggingface_hub import HfApi

    found = HfApi().model_info(name, timeout=_SECONDS).siblings or []
    return [file.rfilename for file in found]


def _reason(error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return "its owner grants access to it only to those who are logged in and asked for it (`hf auth login`)"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no model of that name that you may see"
    lines = str(error).strip().split("\n")
    return f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__
