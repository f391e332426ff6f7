"""The config of a Hugging Face folder, and the class that it names. It chooses no code but model classes of
transformers, and no sizes that no checkpoint has."""

import contextlib
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import FrontendError

# Far more than any model has; as many layers, or names of labels, would be made before a weight is looked at.
_MOST = {"layers": 10_000, "labels": 1_000_000}
_COUNT = re.compile(r".*(layer|label)s?|depths?")


def read_config(folder: Path) -> Any:
    """The config of a Hugging Face folder. Raises `FrontendError`."""
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise FrontendError(
            f"'{folder}' {found}; expected a Hugging Face folder with config.json and weights", usage=True
        )
    path = folder / "config.json"
    values = read_json(path, f"'{folder}' has no config.json, so it is no Hugging Face folder")
    if "model_type" not in values:
        raise FrontendError(f"'{path}' names no 'model_type'; expected the config of a transformers model")
    _check_counts(values, path)
    from transformers import AutoConfig

    with quiet_transformers():
        try:
            return AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise FrontendError(f"'{path}' is not accepted by transformers: {first_line(error)}") from error


def read_json(path: Path, missing: str) -> dict[str, Any]:
    """The values of a JSON file. Raises `FrontendError`, with the sentence `missing` where there is no file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FrontendError(missing, usage=True) from None
    except (OSError, ValueError, RecursionError) as error:
        raise FrontendError(f"'{path}' cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise FrontendError(f"'{path}' holds a {type(values).__name__}; expected a mapping")
    return values


def _check_counts(values: dict[str, Any], path: Path) -> None:
    for name, value in values.items():
        most = _MOST["labels" if "label" in name else "layers"]
        if _COUNT.fullmatch(name) and isinstance(value, int) and value > most:
            raise FrontendError(f"'{name}' in '{path}' is {value}; accepted are up to {most}")


def find_class(folder: Path, config: Any, architecture: str | None) -> Any:
    """The model class that a config names, or `architecture`. Raises `FrontendError` for what is no model class."""
    import transformers

    named = [architecture] if architecture is not None else getattr(config, "architectures", None) or []
    if not isinstance(named, (list, tuple)) or not all(isinstance(name, str) for name in named):
        raise FrontendError(f"'architectures' in '{folder / 'config.json'}' is {named!r}; expected a list of names")
    if not named:
        return class_for(transformers.AutoModel, config, folder)
    found = getattr(transformers, named[0], None)
    # What is written in a config must not choose which other code of transformers runs.
    if not isinstance(found, type) or not issubclass(found, transformers.PreTrainedModel):
        raise FrontendError(f"'{folder}' asks for the class '{named[0]}', which is no model class of transformers")
    if getattr(found, "config_class", None) is None or not isinstance(config, found.config_class):
        kind = type(config).__name__
        raise FrontendError(f"'{folder}' asks for the class '{named[0]}', which does not take its config, a {kind}")
    return found


def class_for(auto_class: Any, config: Any, folder: Path) -> Any:
    """The class that an `Auto...` class of transformers has for a config. Raises `FrontendError`."""
    return type(skeleton_of(auto_class.from_config, config, folder))


def skeleton_of(make: Any, config: Any, folder: Path) -> Any:
    """The module that `make(config)` gives, without memory for its numbers. Raises `FrontendError`."""
    import torch

    with quiet_transformers(), torch.device("meta"):
        try:
            return make(config)
        except Exception as error:
            raise FrontendError(f"'{folder / 'config.json'}' describes no model: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its class where that is empty."""
    return str(error).strip().split("\n")[0] or type(error).__name__


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps transformers from writing reports and progress bars; what matters is raised."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
