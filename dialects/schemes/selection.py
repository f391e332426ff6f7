"""Which units to keep: the most of a score within a number of weights. A unit stays or goes as a whole."""

import numpy as np


def keep_largest(scores: np.ndarray, count: int) -> np.ndarray:
    """A mask of the `count` largest entries of `scores` (any shape); of equal ones those that come first."""
    flat = scores.reshape(-1)
    if count <= 0 or count >= flat.size:
        return np.full(scores.shape, count > 0)
    bound = np.partition(flat, flat.size - count)[flat.size - count]
    mask = flat > bound
    mask[np.flatnonzero(flat == bound)[: count - int(mask.sum())]] = True
    return mask.reshape(scores.shape)


def keep_units(scores: np.ndarray, sizes: np.ndarray, budget: int) -> np.ndarray:
    """The units with the largest total score of which at most `budget` weights are kept.

    `scores` (any shape, not negative) and `sizes` (the same shape, positive) of the units. Returns a mask of that
    shape. Exact for one or two different sizes, as a matrix that is cut along one axis has them (each count
    of one size leaves the best count of the other). For more, a heuristic: units by score per weight until one does
    not fit, then those that still fit. The kept weights miss the budget by less than the largest unit.
    """
    different = np.unique(sizes)
    if len(different) == 1:
        return keep_largest(scores, budget // int(different[0]))
    if len(different) == 2:
        return _keep_of_two_sizes(scores, sizes, budget, int(different[0]), int(different[1]))
    return keep_by_density(scores, sizes, budget)


def _keep_of_two_sizes(scores: np.ndarray, sizes: np.ndarray, budget: int, small: int, large: int) -> np.ndarray:
    totals = {}
    for size in (small, large):
        sorted_scores = -np.sort(-scores[sizes == size].astype(np.float64))
        totals[size] = np.concatenate([[0.0], np.cumsum(sorted_scores)])
    of_large = np.arange(min(len(totals[large]) - 1, budget // large) + 1)
    of_small = np.minimum((budget - large * of_large) // small, len(totals[small]) - 1)
    best = int(np.argmax(totals[large][of_large] + totals[small][of_small]))
    mask = np.zeros(scores.shape, bool)
    mask[sizes == large] = keep_largest(scores[sizes == large], int(of_large[best]))
    mask[sizes == small] = keep_largest(scores[sizes == small], int(of_small[best]))
    return mask


def keep_by_density(scores: np.ndarray, sizes: np.ndarray, budget: int) -> np.ndarray:
    """The heuristic of `keep_units`. Units of size zero are never kept."""
    flat, size = scores.reshape(-1), sizes.reshape(-1).astype(np.int64)
    units = np.flatnonzero(size)
    order = units[np.argsort(-flat[units] / size[units], kind="stable")]
    total = np.cumsum(size[order])
    fitting = int(np.searchsorted(total, budget, side="right"))
    mask = np.zeros(flat.shape, bool)
    mask[order[:fitting]] = True
    left = budget - (int(total[fitting - 1]) if fitting else 0)
    rest = order[fitting:]
    while left > 0 and len(rest):
        candidates = np.flatnonzero(size[rest] <= left)
        if not len(candidates):
            break
        unit, rest = rest[candidates[0]], rest[candidates[0] + 1 :]
        mask[unit] = True
        left -= int(size[unit])
    return mask.reshape(scores.shape)
