"""A block and rates for a budget: the table predicts, a compiled model confirms, and what was off is corrected."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from secateur.compression.prune.scheme import Scheme

from .choose import TOLERANCE, BlockChoice, choose_block
from .errors import LatencyError
from .rates import STEP, Rates, choose_rates
from .shapes import ModelLayers
from .table import Curve, LatencyTable
from .whole_model import Calibration, ModelLatency, calibrate

SPARSITY = 0.8
"""What blocks are compared at where neither a sparsity nor a latency is given, and the first pruned model has."""
# A prediction that is further off is corrected by what was measured, and rates are chosen anew; so often at most.
_GOOD, _CORRECTIONS = 0.02, 2


@dataclasses.dataclass(frozen=True)
class ForBudget:
    """What was chosen: the block, the sparsity of each module by name, the latency that is `predicted` for the model,
    by which `calibration`, and what was `measured` at these rates (None: it was not)."""

    choice: BlockChoice
    rates: dict[str, float]
    predicted: float
    calibration: Calibration
    measured: ModelLatency | None


def for_budget(
    layers: ModelLayers,
    table: LatencyTable,
    budget: float,
    measure: Callable[[Scheme, Mapping[str, float]], ModelLatency],
    curves: Callable[[Scheme], Sequence[Curve]],
    *,
    tolerance: float = TOLERANCE,
    confirm: bool = True,
) -> ForBudget:
    """Block and rates for a `budget` of the whole model, in the table's unit.

    `measure` gives the latency of the model at rates of its modules, `curves` the losses of each site in a scheme.
    `confirm`: also measure the model at the rates that were found, and choose anew where the prediction was off. Raises
    `LatencyError` where the budget cannot be met.
    """
    start = choose_block(table, nearest_measured(table, SPARSITY), tolerance)
    uniform = {name: start.sparsity for site in layers.sites for name in site.modules}
    dense = sum(table.dense[site.shape] for site in layers.sites)
    first = measure(start.scheme, uniform)
    calibration = calibrate(dense, table.total(start.scheme, start.sparsity), first)
    known: dict[Scheme, Sequence[Curve]] = {}
    for correction in range(_CORRECTIONS + 1):
        choice, rates = _chosen(layers, table, budget, calibration, curves, known, tolerance)
        by_module = {n: rate for site, rate in zip(layers.sites, rates.by_site, strict=True) for n in site.modules}
        predicted = calibration.whole(rates.cost)
        measured = None
        if confirm and any(rates.by_site):
            measured = measure(choice.scheme, by_module).at(first.dense_cost)
        if measured is None or correction == _CORRECTIONS or abs(measured.cost / predicted - 1) <= _GOOD:
            break
        # Nearer to the budget than the model before, so what is off there is known better.
        calibration = calibrate(dense, rates.cost, measured)
    return ForBudget(choice, by_module, predicted, calibration, measured)


def _chosen(
    layers: ModelLayers,
    table: LatencyTable,
    budget: float,
    calibration: Calibration,
    curves: Callable[[Scheme], Sequence[Curve]],
    known: dict[Scheme, Sequence[Curve]],
    tolerance: float,
) -> tuple[BlockChoice, Rates]:
    """The block at the least sparsity at which any meets the budget, and rates in it; a coarser block where that one
    is too slow at every sparsity."""
    for_layers = calibration.layers(budget)
    choice = choose_block(table, _least_sparsity(layers, table, budget, calibration), tolerance)
    slower = [s for s, total in choice.totals.items() if total <= choice.allowed]
    for scheme in slower:
        known[scheme] = known[scheme] if scheme in known else curves(scheme)
        try:
            rates = choose_rates(layers.sites, table, scheme, known[scheme], for_layers)
        except LatencyError:
            if scheme == slower[-1]:
                raise
            continue
        break
    return dataclasses.replace(choice, scheme=scheme), rates


def _least_sparsity(layers: ModelLayers, table: LatencyTable, budget: float, calibration: Calibration) -> float:
    """The least sparsity of all layers at which the fastest block meets the budget. Raises `LatencyError`."""
    least: tuple[float, Scheme, float] | None = None
    grid: set[float] = set()
    for scheme in table.schemes:
        points = measured_sparsities(table, scheme)
        grid |= {*np.arange(points[0], points[-1], STEP).round(6).tolist(), *points}
    for sparsity in sorted(grid):
        for scheme in table.schemes:
            points = measured_sparsities(table, scheme)
            if not points[0] <= sparsity <= points[-1]:
                continue
            latency = calibration.whole(table.total(scheme, sparsity))
            least = min(least or (latency, scheme, sparsity), (latency, scheme, sparsity), key=lambda found: found[0])
            if latency <= budget:
                return sparsity
    assert least is not None
    latency, scheme, sparsity = least
    unit = table.unit
    raise LatencyError(
        f"the model cannot reach {budget:.4g} {unit} on '{table.target}': in {scheme} at {100 * sparsity:g} % in every "
        f"layer it takes {latency:.4g} {unit}, of which {calibration.fixed:.4g} {unit} are not layers that are pruned; "
        f"ask for {latency:.4g} {unit} or more"
    )


def nearest_measured(table: LatencyTable, wanted: float) -> float:
    """The sparsity that is compared: `wanted` where a scheme was measured around it, else the nearest that was."""
    if any(measured_sparsities(table, s)[0] <= wanted <= measured_sparsities(table, s)[-1] for s in table.schemes):
        return wanted
    return min((s for of in table.schemes for s in measured_sparsities(table, of)), key=lambda s: abs(s - wanted))


def measured_sparsities(table: LatencyTable, scheme: Scheme) -> list[float]:
    """The sparsities at which every shape was measured."""
    of = [set(table.curve(key, scheme)[0]) for key in table.shapes]
    return sorted(set.intersection(*of))
