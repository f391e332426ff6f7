"""What is compiled: a module with example inputs, from a caller or from a Hugging Face folder."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .calling import input_names
from .checkpoint import example_inputs_for, load_model
from .errors import FrontendError
from .private_copy import evaluation_copy
from .state_dicts import check_finite


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A module in evaluation mode that shares its parameters with the caller's, and what belongs to it."""

    module: torch.nn.Module
    example_inputs: dict[str, torch.Tensor]
    tokenizer_files: list[Path]
    config: Any
    name: str


def load(model: Any, example_inputs: Any, seq_len: int, batch: int) -> Loaded:
    """A model as it is compiled: a module with `example_inputs` (tensors by argument name, or in the order of
    `forward`), or a Hugging Face folder, for which inputs [batch, seq_len] are made. Raises `FrontendError`.
    """
    if isinstance(model, (str, os.PathLike)):
        found = load_model(model)
        inputs = dict(example_inputs) if example_inputs else example_inputs_for(found.module, batch, seq_len)
        return Loaded(found.module, inputs, list(found.tokenizer_files), found.config, found.name)
    if not isinstance(model, torch.nn.Module):
        raise FrontendError(f"expected a torch.nn.Module or a folder, found a {type(model).__name__}")
    if example_inputs is None:
        raise FrontendError("a module needs 'example_inputs': tensors by argument name, of the largest shapes to run")
    name = type(model).__name__
    check_finite(dict(model.named_parameters()), f"'{name}'")
    return Loaded(evaluation_copy(model), _by_name(model, example_inputs), [], getattr(model, "config", None), name)


def _by_name(module: torch.nn.Module, inputs: Any) -> dict[str, torch.Tensor]:
    if isinstance(inputs, Mapping):
        return dict(inputs)
    values = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    return dict(zip(input_names(module, len(values)), values, strict=True))
