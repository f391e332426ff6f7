"""Latency decides: a block and a sparsity per layer, from measured latencies and a budget for the whole model."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.compression.prune.layers import prunable_layers, weight_parameter
from secateur.compression.prune.scheme import Scheme, parse_scheme
from secateur.dialects.number_formats import F32, NumberFormat
from secateur.dialects.schemes import PRUNINGS
from secateur.dialects.scratch import ScratchFolder

from .choose import TOLERANCE, BlockChoice, choose_block
from .errors import LatencyError
from .for_budget import SPARSITY, for_budget, measured_sparsities, nearest_measured
from .importance import Importance, loss_curves, removed_energy
from .measure import SPARSITIES, Progress, measure_table
from .place import Place, place_of
from .shapes import ModelLayers, model_layers
from .table import Curve, LatencyTable
from .whole_model import Calibration, ModelLatency, WholeModel

if TYPE_CHECKING:
    import torch
BLOCKS = {name: rule.timed for name, rule in PRUNINGS.items() if rule.timed}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What was chosen.

    `scheme` with its block; `rates`: sparsity (0..1) of each module by name; `table` of latencies; `choice` of the
    block; `layers` of the model and the number of `weights` of each module. With a budget also: `target_latency`, the
    budget; `predicted`, the latency of the whole model at these rates, and the `calibration` that this follows from;
    `measured`, where the model was compiled at these rates. All in the table's unit; `clock_ghz` makes cycles of a
    budget in milliseconds.
    """

    scheme: Scheme
    rates: dict[str, float]
    table: LatencyTable
    choice: BlockChoice
    layers: ModelLayers
    weights: dict[str, int]
    target_latency: float | None = None
    predicted: float | None = None
    calibration: Calibration | None = None
    measured: ModelLatency | None = None
    clock_ghz: float | None = None

    @property
    def block(self) -> str | None:
        """The block as `--block` takes it; None for a scheme without one."""
        _, _, text = str(self.scheme).partition(" ")
        return text or None

    @property
    def sparsity_fraction(self) -> float:
        """Zeros over all weights of the chosen layers."""
        return sum(self.rates[n] * size for n, size in self.weights.items()) / sum(self.weights.values())

    @property
    def error_fraction(self) -> float | None:
        """By how much the measured latency is above the predicted one; None where it was not measured."""
        if self.measured is None or not self.predicted:
            return None
        return self.measured.cost / self.predicted - 1

    def to_dict(self) -> dict[str, Any]:
        """The plan as values that JSON has."""
        return {
            "scheme": self.scheme.name,
            "block": self.block,
            "rates": self.rates,
            "sparsity_fraction": self.sparsity_fraction,
            "blocks": {
                "sparsity": self.choice.sparsity,
                "allowed": self.choice.allowed,
                "totals": {str(scheme): total for scheme, total in self.choice.totals.items()},
            },
            "unit": self.table.unit,
            "clock_ghz": self.clock_ghz,
            "target_latency": self.target_latency,
            "predicted": self.predicted,
            "calibration": dataclasses.asdict(self.calibration) if self.calibration else None,
            "measured": dataclasses.asdict(self.measured) if self.measured else None,
            "error_fraction": self.error_fraction,
            "left_out": list(self.layers.left_out),
            "table": self.table.to_dict(),
        }


def plan(
    model: "torch.nn.Module | str | os.PathLike[str]",
    target: str = "host-cpu",
    target_latency_ms: float | None = None,
    *,
    example_inputs: "Mapping[str, torch.Tensor] | None" = None,
    scheme: str = "bcr",
    blocks: Sequence[str | None] | None = None,
    sparsity: float | None = None,
    sparsities: Sequence[float] = SPARSITIES,
    tolerance: float = TOLERANCE,
    importance: Callable[[Scheme], Importance] | None = None,
    include: Sequence[str] | None = None,
    skip: Sequence[str] | None = None,
    seq_len: int = 128,
    batch: int = 1,
    threads: int = 1,
    numbers: NumberFormat = F32,
    clock_ghz: float | None = None,
    confirm: bool = True,
    cache: Path | None = None,
    seed: int = 0,
    progress: Progress = lambda stage: None,
) -> Plan:
    """Chooses a block of `scheme` and the sparsity of each layer of `model`, which is given as to `compile_model`.

    With `target_latency_ms` rates are chosen for that latency of the whole model; without, all layers get `sparsity`
    (by default 0.8) and only the block is chosen. `target`: `host-cpu`, where layers are timed, or `qemu:MODEL`, where
    cycles are counted; a budget in milliseconds then needs the core's `clock_ghz`. `blocks` to compare (default:
    `BLOCKS`), `sparsities` to measure; the block is the finest within `tolerance` (a fraction) of the fastest.
    `importance`: for a scheme, the loss of a module at a sparsity (`Importance`; default: the energy that magnitude
    pruning removes).
    `numbers`: what layers are stored and multiplied in.
    `include`, `skip`: as for `prune_model`. `confirm`: compile the model at the chosen rates and compare; rates are
    corrected where the prediction was off. `cache`: the folder of records (default: beside those of tuning).

    Raises `LatencyError`: for a budget that cannot be met, with the least that can; for a wrong argument.
    """
    from secateur.frontends import import_model, load

    schemes = _schemes(scheme, blocks)
    if target_latency_ms is not None and target_latency_ms <= 0:
        raise LatencyError(f"a latency to reach is above 0 ms, found {target_latency_ms:g}", usage=True)
    wanted = SPARSITY if sparsity is None else sparsity
    if not 0 < wanted < 1:
        raise LatencyError(f"a sparsity to compare blocks at is above 0 and below 1, found {wanted:g}", usage=True)
    place = place_of(target, threads, numbers=numbers)
    unit_per_ms = _unit_per_ms(place, clock_ghz)
    if target_latency_ms is not None and unit_per_ms is None:
        raise LatencyError(
            f"on '{target}' cycles are counted: a latency in ms needs the clock of the core, in GHz", usage=True
        )
    progress("loading")
    loaded = load(model, example_inputs, seq_len, batch)
    prunable, _ = prunable_layers(loaded.module, schemes[0], include, skip)
    progress("importing")
    imported = import_model(loaded.module, loaded.example_inputs)
    with ScratchFolder("latency") as scratch:
        layers = model_layers(imported, place, list(prunable), Path(scratch))
    if not layers.sites:
        raise LatencyError(f"none of the {len(prunable)} layers to prune is a linear layer of the compiled model")
    counts = {key: layers.count(key) for key in layers.shapes}
    table = measure_table(
        layers.shapes,
        counts,
        schemes,
        place,
        sparsities=sorted({*sparsities, wanted}) if target_latency_ms is None else sparsities,
        cache=cache,
        seed=seed,
        progress=progress,
    )
    sizes = {n: int(weight_parameter(prunable[n]).numel()) for site in layers.sites for n in site.modules}
    if target_latency_ms is None:
        choice = choose_block(table, nearest_measured(table, wanted), tolerance)
        return Plan(choice.scheme, dict.fromkeys(sizes, choice.sparsity), table, choice, layers, sizes)
    assert unit_per_ms is not None
    whole = WholeModel(loaded, imported, place, cache, progress)

    def curves(of: Scheme) -> list[Curve]:
        losses = importance(of) if importance else removed_energy(loaded.module, of)
        return loss_curves(layers.sites, losses, measured_sparsities(table, of), progress)

    found = for_budget(
        layers, table, target_latency_ms * unit_per_ms, whole.measure, curves, tolerance=tolerance, confirm=confirm
    )
    return Plan(
        found.choice.scheme,
        found.rates,
        table,
        found.choice,
        layers,
        sizes,
        target_latency_ms * unit_per_ms,
        found.predicted,
        found.calibration,
        found.measured,
        clock_ghz,
    )


def _schemes(scheme: str, blocks: Sequence[str | None] | None) -> list[Scheme]:
    if scheme not in BLOCKS:
        # An unknown name has a sentence of its own.
        parse_scheme(scheme)
        raise LatencyError(
            f"latencies are measured for linear layers: of {', '.join(BLOCKS)}, found '{scheme}'", usage=True
        )
    given = BLOCKS[scheme] if blocks is None else tuple(blocks)
    if not given:
        raise LatencyError("expected at least one block to compare, found none", usage=True)
    return list(dict.fromkeys(parse_scheme(scheme, block) for block in given))


def _unit_per_ms(place: Place, clock_ghz: float | None) -> float | None:
    """How much of the place's unit is a millisecond; None where that is not known."""
    if place.unit == "ms":
        return 1.0
    if place.unit != "cycles" or clock_ghz is None:
        return None
    if clock_ghz <= 0:
        raise LatencyError(f"a clock is above 0 GHz, found {clock_ghz:g}", usage=True)
    return clock_ghz * 1e6
