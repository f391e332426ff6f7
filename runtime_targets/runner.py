"""Calls a bundle's model with arrays by name; shorter sequences and smaller batches than compiled are padded."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.dialects.entry_points import MAIN, POSITION
from secateur.dialects.errors import SecateurError

from .manifest import Function, Manifest, TensorSpec
from .output_form import as_returned
from .token_count import given_by_caller, in_order

if TYPE_CHECKING:
    from .iree.session import Session


class InputError(SecateurError, ValueError):
    """An input does not fit the model; the text is one sentence with its name, what was found and what is accepted."""


class Runner:
    """A loaded model. Call it as `runner(input_ids=ids, attention_mask=mask)`.

    It returns what the model's `output_form` says: one array, a tuple (nested as the model's), or a dict by output
    name. `run` always returns a dict.

    An axis that follows the batch or the sequence length may be shorter than compiled: the input is padded with zeros
    and the outputs are cut. Several threads may call it; calls are made one after the other.
    """

    def __init__(self, manifest: Manifest, session: "Session", keep: object = None) -> None:
        """`keep`: what lives as long as the object, as an unpacked bundle has to."""
        self._manifest, self._session, self._keep = manifest, session, keep

    def __call__(self, **inputs: Any) -> Any:
        """Runs the model. Raises `InputError` or `SessionError`."""
        return as_returned(self.run(inputs), self._manifest.function().output_form)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `main` is given."""
        return tuple(given_by_caller(self._manifest.function().inputs))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `main` gives."""
        return self._manifest.function().outputs

    @property
    def functions(self) -> Mapping[str, Function]:
        """What can be called, by name, and how."""
        return self._manifest.functions

    def reset(self) -> None:
        """Gives all state of the model its first value. Raises `SessionError`."""
        self._session.reset()

    def run(self, inputs: Mapping[str, Any], function: str = MAIN) -> dict[str, np.ndarray]:
        """Calls a function of the model on arrays (or what NumPy takes for one) by name.

        Raises `BundleError` where the model has no such function, `InputError` or `SessionError`.
        """
        called = self._manifest.function(function)
        specs = given_by_caller(called.inputs)
        known = [spec.name for spec in specs]
        for name in inputs:
            if name not in known:
                raise InputError(f"the model has no input '{name}'; its inputs are {', '.join(known)}", usage=True)
        missing = [name for name in known if name not in inputs]
        if missing:
            raise InputError(f"the model needs the input '{missing[0]}', which was not given", usage=True)
        sizes: dict[str, tuple[int, str]] = {}
        arrays = {spec.name: _prepare(spec, inputs[spec.name], sizes) for spec in specs}
        counted = {axis: size for axis, (size, _) in sizes.items()}
        _check_positions(specs, arrays, counted.get("tokens", 1))
        results = self._session.run(in_order(called.inputs, arrays, counted), function)
        return {s.name: _cut(s, r, sizes) for s, r in zip(called.outputs, results, strict=True)}


def _check_positions(specs: Sequence[TensorSpec], arrays: Mapping[str, np.ndarray], tokens: int) -> None:
    """Raises `InputError` where tokens begin at a position from which on they do not fit the context."""
    for spec in specs:
        if spec.name == POSITION and spec.limit is not None and int(arrays[POSITION].max()) + tokens > spec.limit:
            first = int(arrays[POSITION].max())
            raise InputError(f"{tokens} tokens from position {first} on do not fit the context of {spec.limit} tokens")


def _prepare(spec: TensorSpec, value: Any, sizes: dict[str, tuple[int, str]]) -> np.ndarray:
    """The input in the dtype and shape of its spec; notes the sizes of its axes in `sizes`."""
    array = _cast(spec, np.asarray(value))
    shape = list(array.shape)
    if len(shape) != len(spec.shape):
        raise InputError(f"input '{spec.name}' has shape {shape}; accepted is {_accepted(spec)}")
    for size, limit, axis in zip(shape, spec.shape, spec.axes, strict=True):
        if (axis is None and size != limit) or size > limit or (size == 0 and limit > 0):
            raise InputError(f"input '{spec.name}' has shape {shape}; accepted is {_accepted(spec)}")
        if axis is not None and sizes.setdefault(axis, (size, spec.name))[0] != size:
            other, name = sizes[axis]
            raise InputError(f"input '{spec.name}' has {size} on its {axis} axis, but '{name}' has {other}")
    if spec.limit is not None and array.size and not (array.min() >= 0 and array.max() < spec.limit):
        wrong = array[(array < 0) | (array >= spec.limit)][0]
        raise InputError(f"input '{spec.name}' holds {wrong}; accepted are 0 to {spec.limit - 1}")
    if array.shape == spec.shape:
        return array
    padded = np.zeros(spec.shape, array.dtype)
    padded[tuple(slice(size) for size in shape)] = array
    return padded


def _accepted(spec: TensorSpec) -> str:
    sizes = [f"{s} or less ({a})" if a else str(s) for s, a in zip(spec.shape, spec.axes, strict=True)]
    return f"[{', '.join(sizes)}]"


def _cast(spec: TensorSpec, array: np.ndarray) -> np.ndarray:
    wanted = np.dtype(spec.dtype)
    if array.dtype == wanted:
        return array
    if np.can_cast(array.dtype, wanted, "same_kind"):
        with np.errstate(over="ignore"):
            cast = array.astype(wanted)
        # A narrower integer must hold the same numbers; a narrower float rounds.
        if wanted.kind == "f" or np.array_equal(cast, array):
            return cast
        raise InputError(f"input '{spec.name}' holds numbers that {wanted} cannot hold")
    raise InputError(f"input '{spec.name}' is {array.dtype}; accepted is {wanted}")


def _cut(spec: TensorSpec, array: np.ndarray, sizes: dict[str, tuple[int, str]]) -> np.ndarray:
    if not any(axis in sizes for axis in spec.axes):
        return array
    whole = [slice(sizes[axis][0]) if axis in sizes else slice(None) for axis in spec.axes]
    cut = array[tuple(whole)]
    # A view would keep the padding alive as long as the result.
    return array if cut.shape == array.shape else cut.copy()
