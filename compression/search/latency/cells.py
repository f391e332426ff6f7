"""The parts that a model's time is the sum of, and which call of a dispatch belongs to which of them."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn

from secateur.dialects.number_formats import NumberFormat

from ..cut.encoder import Encoder
from ..spaces.plan import KINDS, LayerPlan, Plan

if TYPE_CHECKING:
    from secateur.runtime_targets.manifest import DispatchWork
    from secateur.runtime_targets.profile import CallTime


@dataclasses.dataclass(frozen=True, order=True)
class Cell:
    """`part`: one of `KINDS`, a linear layer; `attention` or `ffn`, what else of a layer works on heads or neurons; or
    `fixed`, what is outside of layers. `size`: the heads (`qkv`, `output`, `attention`) or neurons of the layer; of
    `fixed` the features of a table of words that is factored, else 0. `scheme` is empty where it is dense."""

    part: str
    size: int = 0
    scheme: str = ""
    rate: float = 0.0


FIXED = Cell("fixed")
"""What is outside of layers, where the table of words is as the dense model's."""
SIDES = {"qkv": "heads", "output": "heads", "attention": "heads", "ffn_in": "ffn", "ffn_out": "ffn", "ffn": "ffn"}
# What else attention and the FFN do has the numbers of the linear layers in front of it.
_READERS = {"attention": "qkv", "ffn": "ffn_in"}


def cell_of(part: str, layer: LayerPlan) -> Cell:
    """The cell of a part of a layer."""
    size = int(getattr(layer, SIDES[part]))
    scheme, rate = layer.pruning.get(part, ("", 0.0))
    return Cell(part, size, str(scheme), rate)


def cells_of(plan: Plan) -> Counter[Cell]:
    """The cells of a model, and how often each is in it, whatever their numbers."""
    return sum(cells_by_numbers(plan).values(), Counter())


def cells_by_numbers(plan: Plan) -> dict[NumberFormat, Counter[Cell]]:
    """The cells of a model by the format of their numbers, and how often each is in it."""
    found = {plan.numbers: Counter({Cell("fixed", plan.embedding or 0): 1})}
    for layer in plan.layers:
        for part in SIDES:
            numbers = layer.numbers.get(_READERS.get(part, part), plan.numbers)
            found.setdefault(numbers, Counter())[cell_of(part, layer)] += 1
    return found


def times_of_cells(
    calls: "Sequence[CallTime]",
    outside_ms: float,
    work: "Sequence[DispatchWork]",
    module: nn.Module,
    plan: Plan,
) -> dict[Cell, float]:
    """Milliseconds of each cell of a profiled `module`, the mean of those that are in it several times.

    `work` says what each call of a dispatch is for: the n-th call of a kernel did the n-th work of that kernel. A call
    belongs to the linear layer whose weights it reads, else to the side of the layer that its module is in. What a run
    takes between dispatches (`outside_ms`) is shared by all calls alike.
    """
    parts = _parts(module)
    entries: dict[str, list[DispatchWork]] = {}
    for entry in work:
        entries.setdefault(entry.kernel, []).append(entry)
    times: Counter[Cell] = Counter()
    gap = outside_ms / max(1, len(calls))
    for call in calls:
        known = entries.get(call.kernel)
        times[_cell(known.pop(0) if known else None, parts, plan)] += call.min_ms + gap  # type: ignore[assignment]
    counts = cells_of(plan)
    return {cell: times[cell] / count for cell, count in counts.items()}


def _parts(module: nn.Module) -> dict[str, tuple[int, str]]:
    """By name of a module within a layer, the number of the layer and the part that its work belongs to."""
    encoder = Encoder(module)
    names = {found: name for name, found in module.named_modules()}
    parts = {}
    for number, layer in enumerate(encoder.layers):
        side = f"{names[layer]}.{encoder.family.attention.partition('.')[0]}"
        for inner in layer.modules():
            name = names[inner]
            parts[name] = (number, "attention" if name == side or name.startswith(f"{side}.") else "ffn")
        linears = {"output": "gathers", "ffn_in": "expands", "ffn_out": "contracts"}
        parts |= {names[encoder.linear(number, name)]: (number, kind) for kind, name in linears.items()}
        parts |= {names[projection]: (number, "qkv") for projection in encoder.projections(number)}
    return parts


def _cell(entry: "DispatchWork | None", parts: dict[str, tuple[int, str]], plan: Plan) -> Cell:
    paths = [parts[path] for path in (entry.paths if entry is not None else ()) if path in parts]
    if entry is None or not paths:
        return Cell("fixed", plan.embedding or 0)
    if entry.weight_bytes:
        reading = [found for found in paths if found[1] in KINDS]
        paths = reading or paths
    number, part = paths[0]
    if part in KINDS and not entry.weight_bytes:
        part = "attention" if SIDES[part] == "heads" else "ffn"
    return cell_of(part, plan.layers[number])
