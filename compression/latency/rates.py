"""The sparsity of each layer for a latency of the whole model."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from secateur.compression.prune.scheme import Scheme

from .budget import Options, choose_within, least_cost
from .errors import LatencyError
from .shapes import Site
from .table import Curve, LatencyTable

STEP = 0.01


@dataclasses.dataclass(frozen=True)
class Rates:
    """`by_site`: the sparsity of each site in order. `cost`: of all sites together, in the table's unit; `loss`: the
    sum of theirs."""

    by_site: tuple[float, ...]
    cost: float
    loss: float


def site_options(curve: Curve, dense: float, losses: Curve, step: float = STEP) -> tuple[np.ndarray, Options]:
    """The sparsities that a layer can have, and their costs and losses.

    0 and, in steps, from the lowest measured sparsity to the highest: between 0 and the lowest the kernel changes, and
    nothing is known. Figures lie on the lines between measured points: lines keep a curve monotone, and convex where
    the points are.
    """
    sparsities, costs = curve
    steps = round((sparsities[-1] - sparsities[0]) / step) + 1
    grid = np.unique(np.concatenate([np.linspace(sparsities[0], sparsities[-1], max(steps, 1)), sparsities]).round(6))
    return np.concatenate([[0.0], grid]), Options(
        np.concatenate([[dense], np.interp(grid, sparsities, costs)]),
        np.concatenate([[0.0], np.interp(grid, *losses)]),
    )


def choose_rates(
    sites: Sequence[Site],
    table: LatencyTable,
    scheme: Scheme,
    losses: Sequence[Curve],
    budget: float,
    step: float = STEP,
) -> Rates:
    """The sparsities of least summed loss at which the `sites` together cost at most `budget` (the table's unit).

    `losses`: a curve per site. See `choose_within` for how near to the best that is. Raises `LatencyError` where the
    highest sparsities are not enough.
    """
    made = [
        site_options(table.curve(site.shape, scheme), table.dense[site.shape], loss, step)
        for site, loss in zip(sites, losses, strict=True)
    ]
    options = [option for _, option in made]
    chosen = choose_within(options, budget)
    if chosen is None:
        raise LatencyError(
            f"layers in {scheme} cost {least_cost(options):.4g} {table.unit} at the highest sparsities that were "
            f"measured, found a budget of {budget:.4g} {table.unit}"
        )
    return Rates(
        tuple(float(grid[n]) for (grid, _), n in zip(made, chosen, strict=True)),
        float(sum(o.costs[n] for o, n in zip(options, chosen, strict=True))),
        float(sum(o.losses[n] for o, n in zip(options, chosen, strict=True))),
    )
