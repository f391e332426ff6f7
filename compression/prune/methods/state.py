"""The state of a run in a checkpoint folder: `pruning.safetensors`, and `pruning.json`, which is written last."""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ..scheme import PruneError

TENSORS = "pruning.safetensors"
VALUES = "pruning.json"
_TRAINER_STATE = "trainer_state.json"


def save_state(folder: Path, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
    """Writes both files, each whole or not at all; a folder without `pruning.json` was not finished."""
    (folder / VALUES).unlink(missing_ok=True)
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    _write(folder / TENSORS, lambda path: save_file(on_cpu, path))
    _write(folder / VALUES, lambda path: path.write_text(json.dumps(dict(values), indent=2), encoding="utf-8"))


def load_state(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """What `save_state` wrote. Raises `PruneError` where it is missing or damaged."""
    if not (folder / VALUES).is_file():
        raise PruneError(
            f"'{folder}' holds no {VALUES}: it was not written whole, or its training did not prune"
            f"{_instead(folder.parent)}"
        )
    try:
        return load_file(folder / TENSORS), json.loads((folder / VALUES).read_text(encoding="utf-8"))
    except (OSError, ValueError, SafetensorError) as error:
        raise PruneError(f"the pruning state in '{folder}' is damaged ({error}){_instead(folder.parent)}") from None


def newest_checkpoint(output_dir: str | Path) -> Path | None:
    """The checkpoint of the most steps in a Trainer's `output_dir` that holds a whole pruning state, or None."""
    found = [
        (int(match[1]), folder)
        for folder in (Path(output_dir).iterdir() if Path(output_dir).is_dir() else ())
        if (match := re.fullmatch(r"checkpoint-([0-9]+)", folder.name))
        and all((folder / name).is_file() for name in (VALUES, TENSORS, _TRAINER_STATE))
    ]
    return max(found)[1] if found else None


def fingerprint(weight: torch.Tensor) -> str:
    """SHA-256 of a weight's bytes: whether a state belongs to the weights that were loaded beside it."""
    return hashlib.sha256(weight.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def _instead(output_dir: Path) -> str:
    newest = newest_checkpoint(output_dir)
    return f"; resume from '{newest}'" if newest else ""


def _write(path: Path, write: Callable[[Path], object]) -> None:
    scratch = path.with_name(f".{path.name}.new")
    try:
        write(scratch)
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink()
