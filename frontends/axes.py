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

_Roles = list[str | None]
_Inputs = dict[str, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """An input or output: its name, the shape it is compiled for, its NumPy dtype, and a role per axis.

    `axes` holds "batch" or "tokens" where the size follows the batch or the sequence length, else None. "tokens"
    is given only where a shorter sequence, padded with zeros in every input, gives the same results. `counts` is
    "tokens" for the one input that is no input of the module, but says how many tokens the others have. `limit`: of
    integers, the first number that is too large.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    axes: tuple[str | None, ...]
    counts: str | None = None
    limit: int | None = None


def find_axes(
    flat: FlatModule, inputs: Mapping[str, torch.Tensor], outputs: Mapping[str, torch.Tensor]
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Specs of the inputs and outputs of `flat`; `inputs` are examples, `outputs` have the shapes to compile for.

    The module is run on small random inputs, a few tokens long.
    """
    tokens = _token_inputs(inputs)
    # A number without axes is the same for every sequence.
    has_batch = len({value.shape[0] for value in inputs.values() if value.dim()}) == 1
    has_tokens = bool(tokens) and min(inputs[name].shape[1] for name in tokens) >= _PROBE_SHORTER
    roles_in: dict[str, _Roles] = {name: [None] * value.dim() for name, value in inputs.items()}
    roles_out: list[_Roles] = [[None] * value.dim() for value in outputs.values()]
    # Both at once is the usual answer and needs the fewest runs.
    for batch, varied in ((True, True), (False, True), (True, False)):
        if (batch and not has_batch) or (varied and not has_tokens):
            continue
        found = _try(flat, inputs, tokens if varied else (), batch)
        if found is not None:
            roles_out = found
            for name, roles in roles_in.items():
                if batch and roles:
                    roles[0] = BATCH
                if varied and name in tokens:
                    roles[1] = TOKENS
            break
    return (
        [_spec(name, value, roles_in[name]) for name, value in inputs.items()],
        [_spec(name, value, roles) for (name, value), roles in zip(outputs.items(), roles_out, strict=True)],
    )


def _try(
    flat: FlatModule, inputs: Mapping[str, torch.Tensor], tokens: Sequence[str], batch: bool
) -> list[_Roles] | None:
    """Roles of the outputs' axes where the module takes another batch and padded sequences; else None.

    Compares a run with one of fewer sequences (the first alone) that are padded.
    """
    first = _probe(inputs, tokens, _PROBE_SHORTER)
    if batch:
        first = {name: torch.cat([value[:1], value[:1]]) if value.dim() else value for name, value in first.items()}
    second = {name: value[:1] if batch and value.dim() else value for name, value in first.items()}
    second = {name: _pad(value) if name in tokens else value for name, value in second.items()}
    before, after = _run(flat, first), _run(flat, second)
    if before is None or after is None or len(before) != len(after):
        return None
    if any(one.dim() != other.dim() for one, other in zip(before, after, strict=True)):
        return None
    roles = [_changes(one.shape, other.shape) for one, other in zip(before, after, strict=True)]
    if batch:
        before = [_first(one, marks) for one, marks in zip(before, roles, strict=True)]
    return roles if not tokens or _agree(before, after) else None


def _changes(before: Sequence[int], after: Sequence[int]) -> _Roles:
    """The role of each axis by how its size changed."""
    changes = {(_PROBE_SHORTER, _PROBE_TOKENS): TOKENS, (2, 1): BATCH}
    return [changes.get((one, other)) for one, other in zip(before, after, strict=True)]


def _first(tensor: torch.Tensor, roles: _Roles) -> torch.Tensor:
    return tensor[tuple(slice(0, 1) if role == BATCH else slice(None) for role in roles)]


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
            low, high = (int(value.min()), int(value.max())) if value.numel() else (0, 0)
            made[name] = torch.randint(low, high + 1, shape, generator=generator).to(value.dtype)
    return made


def _pad(value: torch.Tensor) -> torch.Tensor:
    padding = list(value.shape)
    padding[1] = _PROBE_TOKENS - padding[1]
    return torch.cat([value, torch.zeros(padding, dtype=value.dtype)], dim=1)


def _run(flat: FlatModule, inputs: _Inputs) -> list[torch.Tensor] | None:
    # So few tokens take longer to hand out to threads than to compute.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            # A module may write to its inputs.
            return list(flat(*(value.clone() for value in inputs.values())))
    except Exception:
        # A model of fixed shape refuses other sizes with whatever error its ops raise: then no axis may vary.
        return None
    finally:
        torch.set_num_threads(threads)


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
