"""The files of a checkpoint: safetensors or PyTorch's, one or several with an index. Nothing in them is executed."""

import json
import pickle
from pathlib import Path

import torch

from .errors import FrontendError
from .state_dicts import inner_state_dict

_NAMES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def read_state_dict(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the checkpoint in `folder` by name, mapped from disk where the format allows it.

    Raises `FrontendError` where there is none, or a file is missing, malformed, or holds anything but tensors.
    """
    for name in _NAMES:
        path = folder / name
        if path.is_file():
            return _read_index(path) if name.endswith(".json") else read_file(path)
    raise FrontendError(f"'{folder}' holds no weights; expected one of {', '.join(_NAMES)}")


def _read_index(path: Path) -> dict[str, torch.Tensor]:
    try:
        files = sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FrontendError(f"'{path}' cannot be read: {error!r}") from None
    state: dict[str, torch.Tensor] = {}
    for file in files:
        if not isinstance(file, str) or Path(file).name != file:
            raise FrontendError(f"'{path}' names {file!r}; expected a file of the same folder")
        state.update(read_file(path.parent / file))
    return state


def read_file(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of one file by name. Raises `FrontendError`."""
    if not path.is_file():
        raise FrontendError(f"'{path}' is missing, though the index of the checkpoint names it")
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            return safetensors.torch.load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))
    except pickle.UnpicklingError as error:
        reason = str(error).strip().split("\n")[0]
        if "Unsupported global" in str(error):
            raise FrontendError(
                f"'{path}' holds objects of Python, such as a whole model, and not tensors alone; loading them would "
                "run their code: save it anew, by model.save_pretrained(folder) or torch.save(model.state_dict(), file)"
            ) from None
        raise FrontendError(f"'{path}' holds more than tensors or is damaged: {reason}") from None
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise FrontendError(f"'{path}' cannot be read: {reason}") from None
    state = inner_state_dict(state)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise FrontendError(f"'{path}' is no state dict of tensors")
    odd = next((name for name in state if not isinstance(name, str)), None)
    if odd is not None:
        raise FrontendError(f"'{path}' names a tensor {odd!r}; expected names that are texts")
    return dict(state)


def _is_zip(path: Path) -> bool:
    # Only PyTorch's newer format, a zip archive, can be mapped.
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"
