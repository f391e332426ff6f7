"""The projection of a weight onto a scheme: the mask that keeps the most norm at a wanted sparsity."""

import math

import numpy as np

from .blocks import group_sizes, group_sums, project_bcr, spread
from .scheme import PruneError, Scheme
from .selection import keep_largest, keep_units

_PATTERNS = 8  # masks of a pattern set, as PatDNN uses
_FREQUENT = 64
_SAMPLED_TILES = 1 << 15


def project(
    weight: np.ndarray, scheme: Scheme, sparsity: float | None = None, row_share: float | None = None
) -> np.ndarray:
    """Which weights to keep: a boolean array of the weight's shape.

    `weight` has two or more dimensions; all but the first are columns of the matrix, except for `punched`, which
    takes `[filters, channels, ...]`. At most round((1 - sparsity) * weights) weights are kept, and that many but
    for less than one unit (the block's rows, a segment, a row, ...). What is largest in kept norm:

    - `unstructured`, `filter`, `block`, `bcr` with one row or column a block, `punched` without remainder on one of
      the two sides: exact.
    - `nm`: exact; the sparsity is 1 - n/m, and may be left out.
    - `pattern`: of tiles p x p each takes one of 8 masks that keep round((1 - sparsity) p^2) weights, so the
      sparsity is a multiple of 1/p^2. Exact for the set; the set is a heuristic (PatDNN: the most frequent best
      masks; here of the 64 most frequent those that greedily add the most norm).
    - `bcr` otherwise: see `project_bcr`, to which `row_share` is passed.

    Raises `PruneError` for a sparsity outside 0 <= s < 1, weights that are NaN or infinite, a block larger than
    the weight, and a sparsity that the scheme cannot reach.
    """
    if weight.ndim < 2 or weight.size == 0:
        raise PruneError(f"a weight to prune has two or more dimensions, none empty; found {list(weight.shape)}")
    if sparsity is None:
        if scheme.name != "nm":
            raise PruneError(f"scheme '{scheme}' needs a sparsity")
        sparsity = 1 - scheme.sizes[0] / scheme.sizes[1]
    if not 0 <= sparsity < 1:
        raise PruneError(f"a sparsity is at least 0 and less than 1, found {sparsity:g}")
    if not np.isfinite(weight).all():
        raise PruneError(f"the weight holds {int((~np.isfinite(weight)).sum())} values that are NaN or infinite")
    squares = np.square(weight, dtype=np.float64)
    budget = round((1 - sparsity) * weight.size)
    if scheme.name == "punched":
        return _project_punched(squares, scheme, budget)
    matrix = squares.reshape(weight.shape[0], -1)
    _check_fit(scheme, matrix.shape)
    if scheme.name == "unstructured":
        kept = keep_largest(matrix, budget)
    elif scheme.name == "filter":
        rows = keep_largest(matrix.sum(axis=1), budget // matrix.shape[1])
        kept = np.repeat(rows[:, None], matrix.shape[1], axis=1)
    elif scheme.name == "block":
        kept = project_bcr(matrix, (1, scheme.sizes[0]), budget)
    elif scheme.name == "bcr":
        kept = project_bcr(matrix, (scheme.sizes[0], scheme.sizes[1]), budget, row_share)
    elif scheme.name == "nm":
        kept = _project_nm(matrix, scheme, sparsity)
    else:
        kept = _project_pattern(matrix, scheme, sparsity)
    return kept.reshape(weight.shape)


def _check_fit(scheme: Scheme, shape: tuple[int, ...]) -> None:
    rows, columns = shape
    needed = {"block": (1, *scheme.sizes), "nm": (1, *scheme.sizes[1:])}.get(scheme.name, scheme.sizes)
    if needed and (needed[0] > rows or needed[1] > columns):
        raise PruneError(f"the block of '{scheme}' exceeds the weight, which is {rows}x{columns}")


def _project_nm(squares: np.ndarray, scheme: Scheme, sparsity: float) -> np.ndarray:
    n, m = scheme.sizes
    if not math.isclose(sparsity, 1 - n / m, abs_tol=0.005):
        raise PruneError(f"scheme '{scheme}' gives a sparsity of {1 - n / m:g}, found {sparsity:g} wanted")
    rows, columns = squares.shape
    padded = np.full((rows, -(-columns // m) * m), -1.0)
    padded[:, :columns] = squares
    groups = padded.reshape(rows, -1, m)
    order = np.argsort(-groups, axis=2, kind="stable")
    kept = np.zeros(groups.shape, bool)
    np.put_along_axis(kept, order[:, :, :n], True, axis=2)
    return kept.reshape(rows, -1)[:, :columns]


def _project_pattern(squares: np.ndarray, scheme: Scheme, sparsity: float) -> np.ndarray:
    size = scheme.sizes[0]
    area = size * size
    count = round((1 - sparsity) * area)
    if count == 0:
        raise PruneError(f"scheme '{scheme}' reaches sparsities up to {1 - 1 / area:g}, found {sparsity:g} wanted")
    rows, columns = squares.shape
    height, width = -(-rows // size), -(-columns // size)
    padded = np.zeros((height * size, width * size))
    padded[:rows, :columns] = squares
    tiles = padded.reshape(height, size, width, size).transpose(0, 2, 1, 3).reshape(-1, area)
    patterns = pattern_set(tiles, count)
    chosen = patterns[np.argmax(tiles @ patterns.T.astype(np.float64), axis=1)]
    kept = chosen.reshape(height, width, size, size).transpose(0, 2, 1, 3).reshape(padded.shape)
    return kept[:rows, :columns]


def pattern_set(tiles: np.ndarray, count: int) -> np.ndarray:
    """Up to 8 masks [masks, area] of `count` weights for tiles [tiles, area] of squared weights."""
    area = tiles.shape[1]
    sample = tiles[:: -(-len(tiles) // _SAMPLED_TILES)]
    best = np.argsort(-sample, axis=1, kind="stable")[:, :count]
    codes, frequency = np.unique((1 << best.astype(np.int64)).sum(axis=1), return_counts=True)
    frequent = codes[np.argsort(-frequency, kind="stable")[:_FREQUENT]]
    masks = ((frequent[:, None] >> np.arange(area)) & 1).astype(bool)
    norms = sample @ masks.T.astype(np.float64)
    chosen: list[int] = []
    reached = np.zeros(len(sample))
    while len(chosen) < min(_PATTERNS, len(masks)):
        totals = np.maximum(norms, reached[:, None]).sum(axis=0)
        totals[chosen] = -1
        chosen.append(int(np.argmax(totals)))
        reached = np.maximum(reached, norms[:, chosen[-1]])
    return masks[chosen]


def _project_punched(squares: np.ndarray, scheme: Scheme, budget: int) -> np.ndarray:
    if squares.ndim < 3:
        raise PruneError(f"scheme '{scheme}' takes weights [filters, channels, ...], found {list(squares.shape)}")
    filters, channels = squares.shape[:2]
    block_filters, block_channels = scheme.sizes
    if block_filters > filters or block_channels > channels:
        raise PruneError(f"the block of '{scheme}' exceeds the weight, which is {filters}x{channels}")
    flat = squares.reshape(filters, channels, -1)
    scores = group_sums(group_sums(flat, 0, block_filters), 1, block_channels)
    sizes = np.outer(group_sizes(filters, block_filters), group_sizes(channels, block_channels))
    kept = keep_units(scores, np.broadcast_to(sizes[:, :, None], scores.shape), budget)
    kept = spread(spread(kept, 0, block_filters, filters), 1, block_channels, channels)
    return kept.reshape(squares.shape)
