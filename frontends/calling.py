"""How a module's `forward` is called with inputs by name, whatever kinds of parameters it has."""

import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from .errors import FrontendError

_Parameters = Mapping[str, inspect.Parameter]


def call_by_name(module: nn.Module, inputs: Mapping[str, Any]) -> Any:
    """The result of `module` for `inputs`.

    Parameters before a `/` are passed by position. The inputs `xs_0`, `xs_1`, ... are those of `*xs`. Others are passed
    by keyword.
    """
    positional: list[Any] = []
    keywords = dict(inputs)
    parameters = _parameters(module)
    several = next((p.name for p in parameters.values() if p.kind is p.VAR_POSITIONAL), None)
    by_position = several is not None and f"{several}_0" in keywords
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            numbered = (f"{name}_{number}" for number in itertools.count())
            positional += [keywords.pop(each) for each in itertools.takewhile(keywords.__contains__, numbered)]
        elif parameter.kind is parameter.POSITIONAL_ONLY or (
            by_position and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ):
            if name not in keywords and not by_position:
                break
            positional.append(keywords.pop(name, parameter.default))
    return module(*positional, **keywords)


def input_names(module: nn.Module, count: int) -> list[str]:
    """Names for `count` inputs given by position. Raises `FrontendError` where `forward` takes fewer."""
    names: list[str] = []
    for name, parameter in _parameters(module).items():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(name)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{name}_{number}" for number in range(count - len(names))]
    if count > len(names):
        raise FrontendError(
            f"'{type(module).__name__}.forward' takes {len(names)} inputs by position, found {count} examples"
        )
    return names[:count]


def check_names(module: nn.Module, names: Sequence[str]) -> None:
    """Raises `FrontendError` where `forward` has no parameter of one of the `names`, or needs another."""
    parameters = _parameters(module)
    kinds = {parameter.kind for parameter in parameters.values()}
    several = [name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_POSITIONAL]
    numbered = {f"{name}_{number}" for name in several for number in range(len(names))}
    accepted = [name for name, parameter in parameters.items() if parameter.kind < parameter.VAR_KEYWORD]
    accepted = [name for name in accepted if name not in several]
    where = f"'{type(module).__name__}.forward'"
    unknown = [name for name in names if name not in accepted and name not in numbered]
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        shown = ", ".join([*accepted, *(f"{name}_0 and so on" for name in several)]) or "none"
        raise FrontendError(f"{where} has no parameter '{unknown[0]}'; its parameters are {shown}")
    needed = [name for name in accepted if parameters[name].default is inspect.Parameter.empty]
    missing = [name for name in needed if name not in names]
    if missing:
        raise FrontendError(f"{where} needs {_quoted(missing)}, which the example inputs do not give")


def _quoted(names: Iterable[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)


def _parameters(module: nn.Module) -> _Parameters:
    return inspect.signature(module.forward).parameters
