"""The block: the finest whose latency is near that of the fastest."""

import dataclasses

from secateur.compression.prune.scheme import Scheme

from .errors import LatencyError
from .table import LatencyTable

TOLERANCE = 0.1


@dataclasses.dataclass(frozen=True)
class BlockChoice:
    """The block that was chosen for a sparsity, among `totals`: the cost of the model's layers in each, finest first;
    `allowed`: the cost that was the limit."""

    scheme: Scheme
    sparsity: float
    totals: dict[Scheme, float]
    allowed: float


def coarseness(scheme: Scheme) -> tuple[float, float]:
    """How many weights stay or go together: the fewer, the finer, and the more freely weights can be kept.

    First the smallest unit that can be removed, then the next larger kind of unit, for of equal smallest units the
    scheme with a second kind is the freer one (`bcr 4x16` can remove columns of 4 weights, as `bcr 4x1` can, and rows
    of 16 besides):

        unstructured 1; bcr r x c min(r, c), then max(r, c); with one row or column a block only max(r, c); block c;
        nm m (n of m weights are chosen at once); pattern p^2; filter: a whole row
    """
    return scheme.rule.coarseness()


def choose_block(table: LatencyTable, sparsity: float, tolerance: float = TOLERANCE) -> BlockChoice:
    """The finest scheme (`coarseness`) whose layers, weighted by how often the model has them, cost at `sparsity` at
    most 1 + `tolerance` times those of the fastest.

    Source: GRIM takes the finest block that is nearly as fast as coarse ones. The fastest stands for the coarse ones
    here, since blocks that suit neither the registers nor the shape can be coarse and slow. Raises `LatencyError` where
    no scheme reaches the sparsity.
    """
    totals, why = {}, ""
    for scheme in sorted(table.schemes, key=coarseness):
        try:
            totals[scheme] = table.total(scheme, sparsity)
        except LatencyError as error:
            why = str(error)
    if not totals:
        raise LatencyError(why or "the table has no latencies")
    allowed = min(totals.values()) * (1 + tolerance)
    return BlockChoice(next(s for s, total in totals.items() if total <= allowed), sparsity, totals, allowed)
