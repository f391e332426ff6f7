"""Which axes of a model's inputs and outputs follow the batch and the sequence length, found by running it."""

import dataclasses
from collections.abc import Mapping, Sequence

import torch

from .flattening import FlatModule

BATCH, TOKENS = "batch", "tokens"
# Long enough to tell lengths apart, short enough to cost little.
_PROBE_TOKENS = 6
_PROBE_SHORTER = 4
_TOLERANCE = 1e-3

_Shapes = Sequence[tuple[int, ...]]
_Inputs = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """An input or output: its name, the shape it is compiled for, its NumPy dtype, and a role per axis.

    `axes` holds "batch" or "tokens" where the size follows the batch or the sequence length, else None. "tokens"
    is given only where a shorter sequence, padded with zeros in every input, gives the same results.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str | None, ...]


def find_axes(
    flat: FlatModule, inputs: Mapping[str, torch.Tensor], outputs: Sequence[torch.Tensor]
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Specs of the inputs and outputs of `flat`; `inputs` are examples, `outputs` have the shapes to compile for.

    The module is run on small random inputs, a few tokens long.
    """
    roles_in: list[list[str | None]] = [[None] * value.dim() for value in inputs.values()]
    roles_out: list[list[str | None]] = [[None] * value.dim() for value in outputs]
    tokens = _token_inputs(inputs)
    has_batch = len({value.shape[0] if value.dim() else 0 for value in inputs.values()}) == 1
    has_tokens = bool(tokens) and min(inputs[name].shape[1] for name in tokens) >= _PROBE_SHORTER
    short = _probe(inputs, tokens if has_tokens else (), _PROBE_SHORTER)
    base = _run(flat, short)
    if base is not None and has_batch:
        larger = _run(flat, {name: torch.cat([value, value[:1]]) for name, value in short.items()})
        if larger is not None:
            _mark(BATCH, base, larger, roles_out)
            for roles in roles_in:
                roles[0] = BATCH
    if base is not None and has_tokens:
        padded = _run(flat, {name: _pad(value) if name in tokens else value for name, value in short.items()})
        if padded is not None and _agree(base, padded):
            _mark(TOKENS, base, padded, roles_out)
            for name, roles in zip(inputs, roles_in, strict=True):
                if name in tokens:
                    roles[1] = TOKENS
    return (
        [_spec(name, value, roles) for (name, value), roles in zip(inputs.items(), roles_in, strict=True)],
        [_spec(*described) for described in zip(flat.output_names, outputs, roles_out, strict=True)],
    )


def _spec(name: str, value: torch.Tensor, roles: Sequence[str | None]) -> TensorSpec:
    return TensorSpec(name, tuple(value.shape), str(value.dtype).removeprefix("torch."), tuple(roles))


def _token_inputs(inputs: Mapping[str, torch.Tensor]) -> list[str]:
    """The inputs whose second axis may count tokens: ids, masks of their length, and sequences of vectors."""
    surely = [
        name
        for name, value in inputs.items()
        if (value.dim() == 2 and not value.is_floating_point()) or (value.dim() == 3 and value.is_floating_point())
    ]
    lengths = {inputs[name].shape[1] for name in surely}
    if len(lengths) != 1:
        return []
    return [name for name, value in inputs.items() if value.dim() >= 2 and value.shape[1] in lengths]


def _probe(inputs: Mapping[str, torch.Tensor], tokens: Sequence[str], length: int) -> _Inputs:
    generator = torch.Generator().manual_seed(0)
    made = {}
    for name, value in inputs.items():
        shape = list(value.shape)
        if name in tokens:
            shape[1] = length
        if "mask" in name:
            made[name] = torch.ones(shape, dtype=value.dtype)
        elif value.is_floating_point():
            made[name] = torch.randn(shape, generator=generator, dtype=value.dtype)
        else:
            low, high = int(value.min()), int(value.max())
            made[name] = torch.randint(low, high + 1, shape, generator=generator).to(value.dtype)
    return made


def _pad(value: torch.Tensor) -> torch.Tensor:
    padding = list(value.shape)
    padding[1] = _PROBE_TOKENS - padding[1]
    return torch.cat([value, torch.zeros(padding, dtype=value.dtype)], dim=1)


def _run(flat: FlatModule, inputs: _Inputs) -> list[torch.Tensor] | None:
    try:
        with torch.no_grad():
            return list(flat(*inputs.values()))
    except Exception:
        # A model of fixed shape refuses other sizes with whatever error its ops raise: then no axis may vary.
        return None


def _mark(role: str, base: Sequence[torch.Tensor], other: Sequence[torch.Tensor], roles: list) -> None:
    for before, after, marks in zip(base, other, roles, strict=True):
        for axis, (was, now) in enumerate(zip(before.shape, after.shape, strict=True)):
            if was != now:
                marks[axis] = role


def _agree(base: Sequence[torch.Tensor], padded: Sequence[torch.Tensor]) -> bool:
    """Whether the results for a padded sequence hold those for the sequence itself."""
    for short, long in zip(base, padded, strict=True):
        if short.dim() != long.dim():
            return False
        part = long[tuple(slice(0, size) for size in short.shape)]
        if part.shape != short.shape:
            return False
        if not torch.allclose(part.double(), short.double(), rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
            return False
    return True
