"""The input that says how many tokens a call has: no input of the model, and filled in for the caller."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def given_by_caller(specs: Sequence[Any]) -> list[Any]:
    """The specs of the inputs that a caller gives."""
    return [spec for spec in specs if spec.counts is None]


def in_order(
    specs: Sequence[Any], arrays: Mapping[str, np.ndarray], sizes: Mapping[str, int] | None = None
) -> list[np.ndarray]:
    """`arrays`, by name, in the order of `specs`, with the number of tokens where the module takes it.

    `sizes`: what was padded, by role of its axes; by default nothing was.
    """
    full = {
        axis: size
        for spec in given_by_caller(specs)
        for axis, size in zip(spec.axes, arrays[spec.name].shape, strict=True)
        if axis is not None
    }
    known = {**full, **(sizes or {})}
    return [
        arrays[spec.name] if spec.counts is None else np.full(spec.shape, known[spec.counts], spec.dtype)
        for spec in specs
    ]
