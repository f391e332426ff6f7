"""A module with named tensor inputs and any output, as one with positional inputs and a flat tuple of tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .errors import FrontendError

# What a generating model returns beside its results; a compiled model has no key-value cache.
_NOT_RETURNED = ("past_key_values",)
PREFIX = "module."


class FlatModule(nn.Module):
    """Calls `module` with keyword inputs and returns a tuple of tensors.

    After a call `output_names` holds a name per tensor and `output_form` what the module returned: "tensor",
    "tuple" or "dict".
    """

    def __init__(self, module: nn.Module, input_names: Sequence[str], positional: bool) -> None:
        super().__init__()
        self.module = module
        self.input_names = tuple(input_names)
        self.positional = positional
        self.output_names: tuple[str, ...] = ()
        self.output_form = "tensor"

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if self.positional:
            result = self.module(*inputs)
        else:
            result = self.module(**dict(zip(self.input_names, inputs, strict=True)))
        names, tensors, form = flatten_output(result)
        self.output_names, self.output_form = names, form
        return tensors


def flatten_output(result: Any) -> tuple[tuple[str, ...], tuple[torch.Tensor, ...], str]:
    """Names, tensors and form of a module's result. `None` and key-value caches are left out.

    Nested results are named by path: `hidden_states.0`. Raises `FrontendError` for a result without tensors.
    """
    if isinstance(result, torch.Tensor):
        return ("output",), (result,), "tensor"
    form = "dict" if isinstance(result, Mapping) else "tuple"
    found: list[tuple[str, torch.Tensor]] = []
    _collect(result, "" if form == "dict" else "output", found)
    if not found:
        raise FrontendError(
            f"the model returns no tensor but a {type(result).__name__}; accepted are a tensor, a tuple and a dict"
        )
    return tuple(name for name, _ in found), tuple(tensor for _, tensor in found), form


def _collect(value: Any, path: str, found: list[tuple[str, torch.Tensor]]) -> None:
    if isinstance(value, torch.Tensor):
        found.append((path, value))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _NOT_RETURNED:
                _collect(item, f"{path}.{key}" if path else str(key), found)
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            separator = "_" if path == "output" else "."
            _collect(item, f"{path}{separator}{index}", found)
