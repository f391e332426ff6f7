"""Several workers in turns on one machine."""

import contextlib
import dataclasses
import functools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from secateur.compiler.measure.timing import Latency, interleave
from secateur.dialects.scratch import ScratchFolder

from .model_files import read_arrays
from .process import PeerError, PeerProcess, relative_l2
from .registry import ADAPTERS, ONNX_FILES, Peer, environments_folder, interpreter

# An idle worker that takes more of a processor than this slows the others down.
IDLE_LIMIT = 0.05
# Relative L2 that approximations in f32, and rounding to bytes, stay below; beyond it something else was computed.
ERROR_LIMIT, ROUNDED_LIMIT = 0.05, 0.3

Predict = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]
Score = Callable[[Predict], dict[str, Any]]
"""What a candidate's outputs are worth: called with a function that runs it on rows of inputs."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model (a folder made by `write_model`) on an engine.

    A turn is `repeat` runs and counts with their median. `compared`: the outputs must be PyTorch's, within what is
    accepted of f32, or of bytes (`rounded`).
    """

    name: str
    peer: Peer
    model: Path
    threads: int = 1
    repeat: int = 1
    compared: bool = True
    rounded: bool = False


@dataclasses.dataclass(frozen=True)
class Entry:
    """What one candidate did.

    `relative_l2` against PyTorch in f32, None where there is nothing to compare; `load_seconds` it took to load the
    model, and to convert it where that was not done before; `first_run_seconds`; `idle_fraction` of one processor that
    the worker took while nobody ran; `busy_threads`, the processors that it took while it ran (by the clock of the
    system, whose ticks are coarse for short runs); `score` of its outputs, where they were scored.
    """

    latency: Latency
    relative_l2: float | None
    load_seconds: float
    first_run_seconds: float
    versions: dict[str, str]
    idle_fraction: float
    busy_threads: float
    score: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Entries by candidate, in the given order, and one sentence for each that did not take part to the end."""

    entries: dict[str, Entry]
    skipped: dict[str, str]


def contest(
    candidates: Sequence[Candidate],
    *,
    environments: Path | None = None,
    adapters: Path = ADAPTERS,
    rounds: int = 30,
    budget_seconds: float = 120.0,
    slowest_seconds: float = 3.0,
    load_timeout: float = 600.0,
    score: Score | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> Outcome:
    """Starts every candidate as a process, compares its outputs with PyTorch's, and runs all in turns.

    A candidate that is not installed, fails, or takes more than `slowest_seconds` for a run is left out with a note.
    With `score`, outputs of each are scored behind the timing.
    `environments` is the folder of the peers' environments, by default `environments_folder()`.
    """
    folder = environments or environments_folder()
    workers: dict[str, PeerProcess] = {}
    ready: dict[str, dict[str, Any]] = {}
    skipped: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(ScratchFolder("peers")))
        written: dict[Path, str] = {}

        def start(peer: Peer, model: Path, threads: int, outputs: Path) -> tuple[PeerProcess, dict[str, Any]]:
            python = interpreter(peer, folder)
            if python is None:
                raise PeerError(f"there is no environment '{folder / peer.environment}' (`make bench-peers` makes it)")
            adapter = adapters / f"{peer.adapter}.py"
            worker = PeerProcess.of(python, adapter, model, threads, outputs, peer.precision)
            stack.callback(worker.close)
            return worker, worker.start(load_timeout)

        def write_onnx(model: Path) -> None:
            if model not in written:
                progress("writing ONNX files")
                try:
                    start(ONNX_FILES, model, 1, scratch / "none.npz")[0].close()
                    written[model] = ""
                except PeerError as error:
                    written[model] = str(error)
            if written[model]:
                raise PeerError(f"its ONNX file cannot be written: {written[model]}")

        for position, candidate in enumerate(candidates):
            outputs = scratch / f"{position}.npz"
            try:
                if candidate.peer.onnx:
                    write_onnx(candidate.model)
                progress(f"loading {candidate.name}")
                worker, answer = start(candidate.peer, candidate.model, candidate.threads, outputs)
                answer["relative_l2"] = _error(outputs, candidate)
                # The first run may include one-time work of some seconds; a hopeless engine gets no second one.
                seconds = answer["first_run_seconds"]
                if seconds > slowest_seconds and (seconds > 10 * slowest_seconds or worker.run()[0] > slowest_seconds):
                    worker.close()
                    raise PeerError(f"a run takes longer than {slowest_seconds:g} s")
            except PeerError as error:
                skipped[candidate.name] = str(error)
            else:
                workers[candidate.name], ready[candidate.name] = worker, answer
        if not workers:
            return Outcome({}, skipped)
        idle = _idle(workers)

        before = {name: worker.cpu_seconds() for name, worker in workers.items()}
        passed = dict.fromkeys(workers, 0.0)

        def turn(candidate: Candidate) -> float:
            # A worker that died takes no more turns; the others go on.
            if candidate.name in skipped:
                return math.inf
            try:
                seconds = workers[candidate.name].run(candidate.repeat)
            except PeerError as error:
                skipped[candidate.name] = str(error)
                return math.inf
            passed[candidate.name] += sum(seconds)
            return statistics.median(seconds)

        latencies = interleave(
            {c.name: functools.partial(turn, c) for c in candidates if c.name in workers},
            rounds=rounds,
            budget_seconds=budget_seconds,
            reported=True,
            progress=lambda done, of: progress(f"timing, round {done} of {of}"),
        )
        busy = {
            name: (workers[name].cpu_seconds() - before[name]) / passed[name]
            for name in latencies
            if name not in skipped
        }
        scores: dict[str, dict[str, Any]] = {}
        for name in list(busy) if score is not None else []:
            assert score is not None
            progress(f"scoring {name}")
            try:
                scores[name] = score(functools.partial(workers[name].predict, scratch=scratch))
            except PeerError as error:
                skipped[name] = f"it cannot be scored: {error}"
                del busy[name]
    entries = {
        name: Entry(
            latency=latencies[name],
            idle_fraction=idle[name],
            busy_threads=busy[name],
            score=scores.get(name),
            **ready[name],
        )
        for name in busy
    }
    return Outcome(entries, skipped)


def _error(outputs: Path, candidate: Candidate) -> float | None:
    """Relative L2 from PyTorch; None for a candidate that does not compute the model. Raises `PeerError`."""
    if not candidate.compared:
        return None
    error = relative_l2(read_arrays(outputs), read_arrays(candidate.model / "expected.npz"))
    limit = ROUNDED_LIMIT if candidate.rounded else ERROR_LIMIT
    if not error <= limit:
        raise PeerError(f"its outputs are not PyTorch's: relative L2 {error:.1e}, accepted {limit:g}")
    return error


def _idle(workers: dict[str, PeerProcess], seconds: float = 1.0) -> dict[str, float]:
    before = {name: worker.cpu_seconds() for name, worker in workers.items()}
    time.sleep(seconds)
    return {name: (worker.cpu_seconds() - before[name]) / seconds for name, worker in workers.items()}
