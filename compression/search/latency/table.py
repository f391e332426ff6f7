"""What was measured of cells and of whole models on this machine: records, one JSON object a line.

All figures are parts of the latency of one model, the anchor, that ran in turns with what was measured: the dense model
in f32. So measurements of busy and of quiet moments go together.
"""

import dataclasses
import math
import statistics
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from secateur.compiler.records.records import Record, RecordsFile, new_record
from secateur.compression.latency.measure import latency_folder
from secateur.compression.latency.place import Place

from .cells import Cell

_KIND = "search-latency"


@dataclasses.dataclass(frozen=True)
class Whole:
    """A model that was timed as a whole: its latency, and the sum of its cells in its own profile, both as parts of the
    anchor's."""

    latency: float
    cells: float


class CellTable:
    """The records of one anchor in one number format at one place. `about`: what else all figures depend on (the sizes
    of the model, sequences and tokens)."""

    def __init__(self, place: Place, about: Mapping[str, Any], cache: Path | None = None) -> None:
        self._place, self._about = place, {**about, "numbers": str(place.numbers), "threads": place.threads}
        self._about |= place.objective.in_record()
        self._records = RecordsFile.of(place.target, latency_folder(cache))

    def cells(self) -> dict[Cell, float]:
        """What was measured of cells, the median where several times."""
        found: dict[Cell, list[float]] = {}
        for record in self._known("cell"):
            found.setdefault(Cell(**record["op"]["cell"]), []).append(float(record["cost"]))
        return {cell: statistics.median(costs) for cell, costs in found.items()}

    def wholes(self) -> list[Whole]:
        """What was timed as a whole."""
        return [Whole(*(float(r[f.name]) for f in dataclasses.fields(Whole))) for r in self._known("whole")]

    def anchor_ms(self) -> float:
        """The anchor's latency in the quietest moment on record; infinite without one."""
        return min((float(record["ms"]) for record in self._known("anchor")), default=math.inf)

    def add_cells(self, cells: Mapping[Cell, float]) -> None:
        """Keeps the costs of cells, as parts of the anchor's latency."""
        self._records.add(
            self._record("cell", {"cell": dataclasses.asdict(cell)}, {"cost": cost}) for cell, cost in cells.items()
        )

    def add_whole(self, whole: Whole) -> None:
        """Keeps a whole model."""
        self._records.add([self._record("whole", {}, dataclasses.asdict(whole))])

    def add_anchor(self, milliseconds: float) -> None:
        """Keeps what the anchor took in some moment."""
        self._records.add([self._record("anchor", {}, {"ms": milliseconds})])

    def _op(self, what: str, more: Mapping[str, Any]) -> dict[str, Any]:
        return {"name": _KIND, "what": what, **self._about, **more}

    def _record(self, what: str, more: Mapping[str, Any], values: Mapping[str, Any]) -> Record:
        target, now = self._place.target.description_text(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return new_record(_KIND, self._records.machine, self._op(what, more), target, **values, time=now)

    def _known(self, what: str) -> list[Record]:
        # A time is one of a processor, a count of any.
        here, wanted = new_record(_KIND, self._records.machine, {}, "")["processor"], self._op(what, {})
        return [
            record
            for record in self._records.usable()
            if record["kind"] == _KIND
            and (self._place.objective.device or record["processor"] == here)
            and {name: value for name, value in record["op"].items() if name != "cell"} == wanted
        ]


def fitted(wholes: Iterable[Whole]) -> tuple[float, float]:
    """Slope and intercept of latency over the sum of cells, of least squared relative error; the intercept alone (the
    slope is 1) where there are not two sums that differ."""
    points = list(wholes)
    latency = np.array([whole.latency for whole in points])
    cells = np.array([whole.cells for whole in points])
    if len(points) < 2 or cells.max() < 1.2 * cells.min():
        return 1.0, float(np.median(latency - cells)) if len(points) else 0.0
    design = np.stack([cells / latency, 1 / latency], axis=1)
    slope, intercept = np.linalg.lstsq(design, np.ones(len(points)), rcond=None)[0]
    return float(slope), float(intercept)
