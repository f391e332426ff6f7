"""The classes that outputs name."""

import numpy as np

from .manifest import TensorSpec


def named_classes(spec: TensorSpec, array: np.ndarray) -> np.ndarray | None:
    """The label with the largest value along the last axis of an output.

    `array`: [..., labels]; the result, strings, has the other axes. None for an output without labels. An item is None
    where a value is NaN, for then none is the largest.
    """
    if not spec.labels:
        return None
    names = np.array(spec.labels, dtype=object)[array.argmax(axis=-1)]
    return np.where(np.isnan(array).any(axis=-1), None, names)
