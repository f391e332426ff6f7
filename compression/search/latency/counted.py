"""Counts in place of times: what candidates execute on an emulated Arm CPU, in instructions of their kernels.

    count of a candidate = sum of its cells

Counts are exact and the same in every run, so that a cell is the difference between two models, each of one layer: with
the cell and without. There is no slope, no intercept and nothing to take in turns. Of a side of a dense layer (its
attention, its FFN) only the whole is known: that is the cell `attention` (`ffn`), and dense linear layers count nothing
beside it; a pruned one counts what it saves, a negative number.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.dialects.scratch import ScratchFolder

from ..cut.encoder import Encoder
from ..space import Candidate
from ..spaces.building import plan_for
from ..spaces.plan import LayerPlan, Plan, scheme_named
from .cells import FIXED, SIDES, Cell, cell_of, cells_by_numbers
from .covering import model_of
from .predictor import LatencyPredictor, Prediction, Timed

if TYPE_CHECKING:
    from secateur.compiler.build.compiled_model import CompiledModel

_COUNTED = {"heads": "attention", "ffn": "ffn"}
"""By side of a layer, the cell that stands for all of it where it is dense."""


class CountPredictor(LatencyPredictor):
    """Instructions of candidates on an emulated CPU (`target`: `qemu:cortex-a76`), on one thread; else as
    `LatencyPredictor`. Raises `LatencyError` for a target that cannot be counted here."""

    figure, unit = "instructions", "instructions"

    def predict(self, candidate: Candidate) -> Prediction:
        """The count of a candidate; cells that are not on record are counted."""
        plan, dense = plan_for(candidate, self._dense), Plan(self._own_layers())
        self.measure_cells([plan, dense])
        cells = self._cells(plan)
        cost = sum(cells.values())
        return Prediction(cost, cost / sum(self._cells(dense).values()), cells)

    def time_whole(self, compiled: "CompiledModel") -> Timed:
        """Counts a compiled model."""
        dense = Plan(self._own_layers())
        self.measure_cells([dense])
        cost = self._count(compiled)
        return Timed(cost, cost / sum(self._cells(dense).values()))

    def _cells(self, plan: Plan) -> dict[Cell, float]:
        found: dict[Cell, float] = {}
        for numbers, counts in cells_by_numbers(plan).items():
            known = self._table(numbers, plan.hidden).cells()
            for cell, count in counts.items():
                found[cell] = found.get(cell, 0.0) + known[cell] * count
        return found

    def _measure_kind(self, kind: Plan, wanted: set[Cell]) -> None:
        table, own = self._table(kind.numbers, kind.hidden), self._architecture
        known = table.cells()
        base = LayerPlan(0, own.heads[0], own.ffn[0], {})
        if FIXED not in known:
            self._progress("counting a layer")
            one, two = (self._counted(kind, [base] * number) for number in (1, 2))
            # The split between both sides cancels out of every sum, for a layer has one of each.
            side = self._share_of_attention(kind, base) * (two - one)
            found = {FIXED: 2 * one - two, cell_of("attention", base): side, cell_of("ffn", base): two - one - side}
            table.add_cells(found)
            known |= found
        order = sorted(wanted - set(known), key=lambda cell: (bool(cell.scheme), cell))
        for number, cell in enumerate(order):
            self._progress(f"counting layers, {number + 1} of {len(order)}")
            # Another cell may have needed it.
            if cell not in known:
                found = self._found(kind, cell, base, known)
                table.add_cells(found)
                known |= found

    def _found(self, kind: Plan, cell: Cell, base: LayerPlan, known: dict[Cell, float]) -> dict[Cell, float]:
        """The cost of a cell, and of the dense side that it is a part of."""
        rest = {name: known[cell_of(part, base)] for name, part in _COUNTED.items()}
        if cell.part == FIXED.part:
            table = dataclasses.replace(kind, embedding=cell.size)
            return {cell: self._counted(table, [base]) - sum(rest.values())}
        side = SIDES[cell.part]
        layer = dataclasses.replace(base, **{side: cell.size})
        dense, found = cell_of(_COUNTED[side], layer), {}
        other = known[FIXED] + sum(cost for name, cost in rest.items() if name != side)
        if dense not in known:
            found[dense] = self._counted(kind, [layer]) - other
        if cell == dense:
            return found
        if not cell.scheme:
            return {**found, cell: 0.0}
        pruned = dataclasses.replace(layer, pruning={cell.part: (scheme_named(cell.scheme), cell.rate)})
        return {**found, cell: self._counted(kind, [pruned]) - other - {**known, **found}[dense]}

    def _share_of_attention(self, kind: Plan, layer: LayerPlan) -> float:
        """By products of the linear layers, of which attention has four that are as wide as its heads."""
        heads = 4 * layer.heads * Encoder(self._dense).head_size(0)
        return heads / (heads + 2 * layer.ffn)

    def _counted(self, kind: Plan, layers: list[LayerPlan]) -> float:
        plan = dataclasses.replace(kind, layers=tuple(layers))
        return self._count(self._compile(model_of(plan, self._dense), plan, verify=False))

    def _count(self, compiled: "CompiledModel") -> float:
        from secateur.compiler.measure.instruction_cost import count_bundle

        with ScratchFolder("search-counts") as scratch:
            folder = Path(scratch) / "bundle"
            compiled.save(folder)
            return float(count_bundle(folder, self._target).kernels.instructions)


def predictor_of(
    dense: Any, target: str, *, progress: Callable[[str], None] = lambda stage: None, **more: Any
) -> LatencyPredictor:
    """What predicts costs on a target: times, or counts where it is emulated (`qemu:`)."""
    kind = CountPredictor if is_counted(target) else LatencyPredictor
    return kind(dense, target=target, progress=progress, **more)


def is_counted(target: str) -> bool:
    """Whether what runs on a target is counted."""
    return target.startswith("qemu:")
