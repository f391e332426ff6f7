"""Measures the table of latencies: every shape, block and sparsity once per machine, and what is on record never again.

A record is a line of a file beside those of tuning, and is written, locked and read as they are
(`secateur.compiler.records.records`): a process that is killed loses the case it was measuring and nothing else.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from secateur.compiler.records.digest import digest_of
from secateur.compiler.records.objective import objective_of
from secateur.compiler.records.records import Record, RecordsFile, new_record, records_folder, timing_lock
from secateur.compiler.records.tuned import Tuned
from secateur.compiler.tune.errors import CandidateError
from secateur.compiler.tune.options import memory_here
from secateur.compiler.tune.tuner import scratch_folder
from secateur.compiler.tune.workers import Worker
from secateur.compression.prune.scheme import PruneError, Scheme
from secateur.dialects import schemes

from .errors import LatencyError
from .place import Place
from .shapes import LayerShape
from .synthetic import Variant, write_layers
from .table import Cell, LatencyTable

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_FUNCTION = "secateur.compression.latency.layer_times:cost_of_layers"
_SECONDS = 900.0
_DENSE = Variant()
Progress = Callable[[str], None]


class Measurer(Protocol):
    """Measures one shape: per variant `cost`, `ratio` and `min_ratio` (of the dense one's cost), in order."""

    def __call__(self, shape: LayerShape, variants: Sequence[Variant]) -> list[dict[str, float]]: ...


def latency_folder(cache: Path | None = None) -> Path:
    """Where records of latencies are: `cache`, or the folder `latency` beside the records of tuning."""
    return cache if cache is not None else records_folder() / "latency"


def measure_table(
    shapes: Mapping[str, LayerShape],
    counts: Mapping[str, int],
    schemes: Sequence[Scheme],
    place: Place,
    *,
    sparsities: Sequence[float] = SPARSITIES,
    cache: Path | None = None,
    seed: int = 0,
    progress: Progress = lambda stage: None,
    measurer: Measurer | None = None,
) -> LatencyTable:
    """The latencies of `shapes` in each of `schemes` at each of `sparsities` (those that the scheme can reach).

    `counts`: how often a model has each shape. `cache`: the folder of records. `measurer` takes the place of measuring
    here. A scheme that a shape does not take is left out and named in the table. Raises `LatencyError` where none is
    left, or for a sparsity outside 0 < s < 1.
    """
    wrong = [s for s in sparsities if not 0 < s < 1]
    if wrong or not sparsities:
        raise LatencyError(f"sparsities to measure are above 0 and below 1, found {wrong[0] if wrong else 'none'}")
    records = RecordsFile.of(place.target, latency_folder(cache))
    failed: dict[Scheme, str] = {}
    found: dict[tuple[str, Scheme, float], Record] = {}
    measured = 0
    with contextlib.ExitStack() as stack:
        for number, (key, scheme) in enumerate((k, s) for k in shapes for s in schemes):
            shape, known = shapes[key], _known(records, place)
            ops = {s: _op(shape, scheme, s, place, seed) for s in scheme.rule.reachable(sparsities)}
            missing = [s for s, op in ops.items() if digest_of(op) not in known]
            if missing and scheme not in failed:
                progress(f"measuring, {number + 1} of {len(shapes) * len(schemes)}, {shape.label} in {scheme}")
                measurer = measurer or stack.enter_context(_here(place, records, seed))
                try:
                    figures = measurer(shape, [_DENSE, *(Variant(scheme, s) for s in missing), _DENSE])
                except (PruneError, CandidateError) as error:
                    failed[scheme] = f"{shape.label}: {error}"
                    continue
                records.add(_records([ops[s] for s in missing], figures, records.machine, shape, place))
                measured += len(missing)
                known = _known(records, place)
            found |= {(key, scheme, s): known[d] for s, op in ops.items() if (d := digest_of(op)) in known}
    if len(failed) == len(set(schemes)):
        raise LatencyError(f"no block can be measured: {next(iter(failed.values()), 'none was named')}")
    # Cases were measured at other moments: costs are parts of one dense cost, that of the quietest case.
    dense = {key: min(r["dense_cost"] for (k, *_), r in found.items() if k == key) for key in shapes}
    cells = {k: Cell(r["ratio"] * dense[k[0]], r["ratio"], r["min_ratio"]) for k, r in found.items()}
    return LatencyTable(place.name, place.threads, place.unit, shapes, counts, dense, cells, failed, measured)


def _op(shape: LayerShape, scheme: Scheme, sparsity: float, place: Place, seed: int) -> dict[str, Any]:
    """What a record is about. Schedules that were tuned for layers of this size are part of it: they are used."""
    size = {name: shape.signature[name] for name in ("rows", "columns", "batch", "tokens")}
    tuned = [
        [key, record["schedule"]]
        for key, record in Tuned.of(place.target).schedules.items()
        if all(record["op"].get(name) == value for name, value in size.items())
    ]
    return {
        "name": "latency",
        "linear": shape.signature,
        "parts": list(shape.parts),
        "scheme": str(scheme),
        "sparsity": sparsity,
        "threads": place.threads,
        "seed": seed,
        "method": _method(),
        "schedules": digest_of(sorted(tuned, key=lambda pair: pair[0])) if tuned else "",
    }


@functools.cache
def _method() -> str:
    """A digest of the source that makes synthetic zeros and times them: with other source the figures are others."""
    here = Path(__file__).parent
    files = [here / "synthetic.py", here / "layer_times.py"]
    files += [here.parent / "prune" / "projections.py", *sorted(Path(schemes.__file__).parent.glob("*.py"))]
    return digest_of([file.read_text() for file in files])


def _known(records: RecordsFile, place: Place) -> dict[str, Record]:
    usable = [r for r in records.usable() if r["kind"] == "latency" and objective_of(r) == place.objective.name]
    if place.objective.device:
        return {digest_of(r["op"]): r for r in usable}
    # A time is one of a processor, a count of any.
    here = new_record("latency", records.machine, {}, "")["processor"]
    return {digest_of(r["op"]): r for r in usable if r["processor"] == here}


def _records(
    ops: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, float]],
    machine: str,
    shape: LayerShape,
    place: Place,
) -> list[Record]:
    """A record per op; `found` has its figures between those of two dense layers."""
    dense = (found[0]["cost"] + found[-1]["cost"]) / 2
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return [
        new_record("latency", machine, dict(op), shape.target, **figures, dense_cost=dense, time=now,
                   **place.objective.in_record())
        for op, figures in zip(ops, found[1:-1], strict=True)
    ]  # fmt: skip


@contextlib.contextmanager
def _here(place: Place, records: RecordsFile, seed: int) -> Iterator[Measurer]:
    """Measures in a worker process; in turn with every tuner of this user."""
    with scratch_folder(records.path.parent) as name, Worker(memory_here()) as worker:
        scratch = Path(name)
        number = 0

        def cost(shape: LayerShape, variants: Sequence[Variant]) -> list[dict[str, float]]:
            nonlocal number
            number += 1
            folder = write_layers(scratch / f"case{number}", shape, variants, seed)
            options = Tuned.of(place.target).pass_options(scratch)
            schedules = {name: given for name, given in options.items() if name == "sparsity-schedule"}
            arguments = (str(folder), schedules, place.target.name, place.threads, place.objective)
            with timing_lock(records.path.parent.parent if records.path.parent.name == "latency" else None):
                found: list[dict[str, float]] = worker.call(_FUNCTION, *arguments, seconds=_SECONDS)
            return found

        dense: dict[str, float] = {}

        def counted(shape: LayerShape, variants: Sequence[Variant]) -> list[dict[str, float]]:
            figures = []
            for variant in variants:
                if variant != _DENSE or shape.key not in dense:
                    figure = cost(shape, [variant])[0]["cost"]
                    if variant == _DENSE:
                        dense[shape.key] = figure
                figure = dense[shape.key] if variant == _DENSE else figure
                ratio = figure / dense[shape.key]
                figures.append({"cost": figure, "ratio": ratio, "min_ratio": ratio})
            return figures

        yield counted if place.objective.device else cost
