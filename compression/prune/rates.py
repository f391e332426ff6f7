"""The sparsity of each layer: given by name, or found from one threshold over all layers."""

import difflib
import fnmatch
from collections.abc import Mapping, Sequence

import numpy as np

from .scheme import PruneError, Scheme

_FLOOR = 0.25  # of the mean density: what `global_rates` leaves to every layer
_SHIFT = 16  # of the bits of a float32: buckets 0.8 % wide


def layer_rates(
    names: Sequence[str], sparsity: float | None = None, rates: Mapping[str, float] | None = None
) -> dict[str, float | None]:
    """The sparsity of each layer of `names`: that of `rates` where a key matches, else `sparsity`.

    Keys of `rates` are module names or glob patterns of them; a name comes before any pattern, and of patterns the
    first that matches counts. Raises `PruneError` for a rate outside 0 <= rate < 1 and for a key without a layer.
    """
    given = dict(rates or {})
    for key, rate in given.items():
        if not 0 <= rate < 1:
            raise PruneError(f"the rate of '{key}' is at least 0 and less than 1, found {rate:g}")
        if key not in names and not fnmatch.filter(names, key):
            near = difflib.get_close_matches(key, names, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"the first of {len(names)} is '{names[0]}'"
            raise PruneError(f"the rate of '{key}' fits no layer that is to be pruned: {hint}")
    found: dict[str, float | None] = {}
    for name in names:
        matching = [key for key in given if fnmatch.fnmatchcase(name, key)]
        key = name if name in given else (matching[0] if matching else None)
        found[name] = given[key] if key is not None else sparsity
    return found


def wanted_fraction(scheme: Scheme | None, rates: Mapping[str, float | None], sizes: Mapping[str, int]) -> float:
    """The sparsity over all layers together that `rates` ask for; `sizes` are the layers' numbers of weights."""
    of_scheme = (scheme and scheme.fixed_sparsity) or 0.0
    given = {name: of_scheme if rate is None else rate for name, rate in rates.items()}
    if len(set(given.values())) == 1:
        return next(iter(given.values()))
    return sum(given[name] * size for name, size in sizes.items()) / sum(sizes.values())


def global_rates(
    weights: Mapping[str, np.ndarray], scheme: Scheme, sparsity: float, floor: float | None = None
) -> dict[str, float]:
    """The sparsity of each layer where one threshold over all of them removes `sparsity` of their weights.

    What is compared is the norm per weight of the scheme's units (Han et al. 2015 for single weights; here the mean
    square of a unit, and of `bcr` with rows and columns the smaller one of a weight's row segment and column
    segment). Every layer keeps `floor` of its weights (by default a quarter of 1 - sparsity) and one unit, so
    that none dies; the others then give more. The rates are what the threshold leaves before rounding to units.
    Raises `PruneError` for a scheme with one rate (`nm`), and for a floor above 1 - sparsity.
    """
    if scheme.fixed_sparsity is not None:
        raise PruneError(f"scheme '{scheme}' has the same sparsity in every layer: it has no global rates", usage=True)
    if not 0 <= sparsity < 1:
        raise PruneError(f"a sparsity is at least 0 and less than 1, found {sparsity:g}", usage=True)
    floor = _FLOOR * (1 - sparsity) if floor is None else floor
    if not 0 <= floor <= 1 - sparsity:
        raise PruneError(f"the floor is a fraction from 0 to {1 - sparsity:g}, what is kept in all, found {floor:g}")
    sizes = np.array([weight.size for weight in weights.values()], np.float64)
    least, counts = [], []
    for name, weight in weights.items():
        if not np.isfinite(weight).all():
            raise PruneError(f"layer '{name}': the weight holds values that are NaN or infinite")
        buckets, unit = _norm_histogram(weight, scheme)
        counts.append(np.concatenate([[0.0], np.cumsum(buckets[::-1])]))  # weights kept with the first n buckets
        least.append(min(max(floor * weight.size, unit), weight.size))
    budget = max((1 - sparsity) * sizes.sum(), sum(least))
    positions = np.arange(len(counts[0]), dtype=np.float64)

    def kept_at(position: float) -> np.ndarray:
        return np.maximum([np.interp(position, positions, count) for count in counts], least)

    low, high = 0.0, positions[-1]
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if kept_at(middle).sum() < budget else (low, middle)
    kept = kept_at(high)
    return {name: float(max(0.0, 1 - k / n)) for name, k, n in zip(weights, kept, sizes, strict=True)}


def _norm_histogram(weight: np.ndarray, scheme: Scheme) -> tuple[np.ndarray, int]:
    """Weights by the mean square of their unit, in buckets of rising norm, and the step of what can be kept."""
    import torch

    from .groups import tilings

    squares = torch.from_numpy(np.square(weight, dtype=np.float32))
    kinds = tilings(scheme, weight.shape)
    means = [tiling.sums(squares) / tiling.sizes() for tiling in kinds]
    if len(kinds) == 1:
        scores, sizes = means[0].numpy(), kinds[0].sizes().numpy()
    else:
        spread = [tiling.spread(mean, squares.shape) for tiling, mean in zip(kinds, means, strict=True)]
        scores, sizes = torch.stack(spread).amin(dim=0).numpy(), np.ones(weight.shape, np.float32)
    # The bits of floats that are not negative are ordered as the floats are.
    buckets = np.ascontiguousarray(scores, np.float32).view(np.uint32).reshape(-1) >> _SHIFT
    counts = np.bincount(buckets, weights=sizes.reshape(-1), minlength=1 << (32 - _SHIFT - 1))
    return counts, scheme.rule.step(weight.shape)
