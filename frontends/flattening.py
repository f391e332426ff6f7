"""A module with named tensor inputs and any output, as one with positional inputs and a flat tuple of tensors."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .calling import call_by_name
from .errors import FrontendError

# What a generating model returns beside its results; a compiled model has no key-value cache.
_NOT_RETURNED = ("past_key_values",)
PREFIX = "module."


@dataclasses.dataclass
class OutputForm:
    """What a module returned: a name per tensor, and `form`, which is "tensor", "dict", "tuple" or "tuple:N".

    N is the length of a tuple whose last items are no tensors.
    """

    names: tuple[str, ...] = ()
    form: str = "tensor"


class FlatModule(nn.Module):
    """Calls `module` with inputs of these names and returns a tuple of tensors; `outputs` describes the last call.

    Inputs behind those are not the module's; an exported program has them.
    """

    def __init__(self, module: nn.Module, input_names: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.input_names = tuple(input_names)
        # An object, because attributes that are set during export are lost.
        self.outputs = OutputForm()

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        result = call_by_name(self.module, dict(zip(self.input_names, inputs, strict=False)))
        self.outputs.names, tensors, self.outputs.form = flatten_output(result)
        return tensors


def flatten_output(result: Any) -> tuple[tuple[str, ...], tuple[torch.Tensor, ...], str]:
    """Names, tensors and form (see `OutputForm`) of a module's result. `None` and key-value caches are left out.

    Nested results are named by path: `hidden_states.0`. Fields of a dataclass count as items of a dict. Raises
    `FrontendError` for a result without tensors, and for numbers and texts beside them.
    """
    if isinstance(result, torch.Tensor):
        return ("output",), (result,), "tensor"
    result = _as_dict(result)
    form = "dict" if isinstance(result, Mapping) else "tuple"
    found: list[tuple[str, torch.Tensor]] = []
    _collect(result, "" if form == "dict" else "output", found)
    if not found:
        raise FrontendError(
            f"the model returns no tensor but a {type(result).__name__}; accepted are a tensor, a tuple and a dict"
        )
    names = tuple(name for name, _ in found)
    if form == "tuple" and not names[-1].startswith(f"output_{len(result) - 1}"):
        form = f"tuple:{len(result)}"
    return names, tuple(tensor for _, tensor in found), form


def _as_dict(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, (Mapping, type)):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value


def _collect(value: Any, path: str, found: list[tuple[str, torch.Tensor]]) -> None:
    value = _as_dict(value)
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
    elif isinstance(value, (bool, int, float, complex, str)):
        raise FrontendError(
            f"the model returns '{path}', which is a {type(value).__name__}; a compiled model returns tensors only"
        )
