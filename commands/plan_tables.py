"""A plan as tables for a person."""

from typing import TYPE_CHECKING

from secateur.compiler.measure.tables import percent, table

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.compression.latency.plan import Plan

_CHOSEN = "*"


def render(plan: "Plan", console: "Console") -> None:
    """Prints latencies by shape, block and sparsity with the chosen block marked, then the rate of each layer."""
    latencies = plan.table
    sparsities = sorted({s for _, _, s in latencies.cells})
    columns = ["layer", "layers", "dense", "block", *(percent(s) for s in sparsities)]
    rows = []
    for key, shape in latencies.shapes.items():
        first = [shape.label, str(latencies.counts[key]), figure(latencies.dense[key], latencies.unit)]
        for scheme in latencies.schemes:
            mark = _CHOSEN if scheme == plan.scheme else ""
            cells = [latencies.cells.get((key, scheme, s)) for s in sparsities]
            texts = [f"{figure(c.cost, latencies.unit)} ({c.ratio:.2f})" if c else "" for c in cells]
            rows.append([*first, f"{mark}{scheme}", *texts])
            first = ["", "", ""]
    title = f"{latencies.unit} (part of dense) on {latencies.target}, {latencies.threads} thread(s)"
    console.print(table(columns, rows, title=title))
    for scheme, why in latencies.failed.items():
        console.print(f"{scheme} was not measured: {why}", markup=False, highlight=False)
    _choice(plan, console)
    _rates(plan, console)


def figure(cost: float, unit: str) -> str:
    """A latency with three digits, counts in millions."""
    return f"{cost:.3f}" if unit == "ms" else f"{cost / 1e6:.2f} M"


def _choice(plan: "Plan", console: "Console") -> None:
    unit, choice = plan.table.unit, plan.choice
    fastest = min(choice.totals.values())
    rows = [
        (
            f"{_CHOSEN if scheme == plan.scheme else ''}{scheme}",
            figure(total, unit),
            f"{total / fastest:.2f}",
            "yes" if total <= choice.allowed else "",
        )
        for scheme, total in choice.totals.items()
    ]
    title = f"all layers at {percent(choice.sparsity)}, finest block first"
    console.print(table(("block", unit, "of the fastest", "near enough"), rows, title=title))


def _rates(plan: "Plan", console: "Console") -> None:
    unit = plan.table.unit
    rows = []
    for site in plan.layers.sites:
        rate = plan.rates[site.modules[0]]
        cost = plan.table.cost(site.shape, plan.scheme, rate)
        shape = plan.table.shapes[site.shape].label
        rows.append((_name(site.modules), shape, percent(rate), figure(cost, unit)))
    console.print(table(("layer", "shape", "zeros", unit), rows, title=f"rates in {plan.scheme}"))
    if plan.layers.left_out:
        console.print(f"not pruned, for they are compiled into other ops: {', '.join(plan.layers.left_out)}")
    removed = f"{percent(plan.sparsity_fraction)} of these layers' weights are removed"
    enough = plan.target_latency is not None and not plan.sparsity_fraction
    console.print("the dense model is within the budget: nothing is removed" if enough else removed)
    if plan.predicted is None or plan.calibration is None or plan.target_latency is None:
        return
    per = f" ({plan.target_latency / plan.clock_ghz / 1e6:.2f} ms at {plan.clock_ghz:g} GHz)" if plan.clock_ghz else ""
    console.print(
        f"whole model: wanted {figure(plan.target_latency, unit)} {unit}{per}, predicted "
        f"{figure(plan.predicted, unit)}, of which {figure(plan.calibration.fixed, unit)} are no pruned layers"
    )
    if plan.measured is not None and plan.error_fraction is not None:
        console.print(
            f"compiled at these rates: {figure(plan.measured.cost, unit)} {unit} ({plan.error_fraction:+.1%} of the "
            f"prediction), dense {figure(plan.measured.dense_cost, unit)}, {1 / plan.measured.ratio:.2f} times faster",
            markup=False,
        )


def _name(modules: tuple[str, ...]) -> str:
    """The modules, of which the others drop what they share with the first."""
    shared = modules[0].rpartition(".")[0] + "."
    return "+".join([modules[0], *(name.removeprefix(shared) for name in modules[1:])])
