"""The projection of a weight onto a scheme: the mask that keeps the most norm at a wanted sparsity."""

import numpy as np

from secateur.dialects.schemes import SchemeError

from .scheme import PruneError, Scheme


def project(
    weight: np.ndarray, scheme: Scheme, sparsity: float | None = None, row_share: float | None = None
) -> np.ndarray:
    """Which weights to keep: a boolean array of the weight's shape.

    `weight` has two or more dimensions; all but the first are columns of the matrix, except for schemes of kernels,
    which take `[filters, channels, ...]`. At most round((1 - sparsity) * weights) weights are kept, and that many but
    for less than one unit (the block's rows, a segment, a row, ...). How near the kept norm is to the largest: see the
    scheme's class in `dialects/schemes`. A sparsity may be left out where a scheme has only one. `row_share`: see
    `project_bcr`.

    Raises `PruneError` for a sparsity outside 0 <= s < 1, weights that are NaN or infinite, a block larger than
    the weight, and a sparsity that the scheme cannot reach.
    """
    if weight.ndim < 2 or weight.size == 0:
        raise PruneError(f"a weight to prune has two or more dimensions, none empty; found {list(weight.shape)}")
    if sparsity is None:
        sparsity = scheme.fixed_sparsity
        if sparsity is None:
            raise PruneError(f"scheme '{scheme}' needs a sparsity", usage=True)
    if not 0 <= sparsity < 1:
        raise PruneError(f"a sparsity is at least 0 and less than 1, found {sparsity:g}", usage=True)
    if not np.isfinite(weight).all():
        raise PruneError(f"the weight holds {int((~np.isfinite(weight)).sum())} values that are NaN or infinite")
    try:
        scheme.rule.check_shape(weight.shape)
        squares = np.square(weight, dtype=np.float64).reshape(scheme.rule.units(weight.shape).shape)
        return scheme.rule.project(squares, sparsity, row_share).reshape(weight.shape)
    except SchemeError as error:
        raise PruneError(str(error), usage=True) from None
