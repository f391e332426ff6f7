"""A candidate: a task with a schedule, compiled as the compiler would, and checked and timed as the machine runs it.

All of this runs in worker processes (`worker.py`), which read a task from its folder.
"""

import dataclasses
import functools
import hashlib
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.compiler.measure.timing import Latency, interleave, ratio
from secateur.compiler.pipeline.levels import pipeline_to
from secateur.compiler.verify.comparison import compare
from secateur.dialects.entry_points import MAIN
from secateur.dialects.output_places import write_whole
from secateur.dialects.weight_store import WeightStore

from .errors import CandidateError
from .task import Case

if TYPE_CHECKING:
    from torch_mlir import ir

# After so many rounds a candidate that is slower than the incumbent by this factor is not timed further.
STAGES: tuple[tuple[int, float], ...] = ((6, 1.3), (20, 1.08), (60, 0.0))
# A stage ends early where the runs take this long; small layers get all of their rounds.
STAGE_SECONDS = 1.0
# A run of less than this is repeated until it takes as long: clocks and calls cost microseconds.
SAMPLE_SECONDS = 5e-4
# A run in which the incumbent takes this many times what it usually takes is made again, up to so often.
_BUSY, _ATTEMPTS = 1.25, 5


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A compiled candidate: a folder with `model.vmfb` and `weights.irpa`, named by a digest of what is in it."""

    digest: str
    folder: str


def compile_candidate(task: str, schedule: dict[str, int], panel: int, target: str, workers: int) -> Compiled:
    """Compiles the task in folder `task` with `schedule`, for the target named `target` with `workers`.

    Raises `CandidateError` where a pass or IREE refuses.
    """
    from secateur.dialects.sparsity.attributes import SCHEDULE, Schedule
    from secateur.passes.base import walk

    module, weights = _opened(task)
    with module.context:
        (op,) = walk(module, "sparsity.linear")
        op.attributes[SCHEDULE] = Schedule.of(**{name: value for name, value in schedule.items() if value})
    return _compiled(Path(task), module, weights, {"sparsity-layout": {"panel": panel}}, target, workers)


def compile_variant(task: str, options: dict[str, dict[str, Any]], target: str, workers: int) -> Compiled:
    """Compiles the group in folder `task` with `options` (pass -> option -> value), else as `compile_candidate`."""
    return _compiled(Path(task), *_opened(task), options, target, workers)


def _opened(task: str) -> "tuple[ir.Module, WeightStore]":
    from torch_mlir import ir

    from secateur.compiler.pipeline.context import make_context

    weights = WeightStore.open(Path(task) / "weights", verify=False)
    return ir.Module.parse((Path(task) / "task.mlir").read_text(), make_context()), weights


def _compiled(
    task: Path, module: "ir.Module", weights: WeightStore, options: dict[str, dict[str, Any]], target: str, workers: int
) -> Compiled:
    """Lowers and compiles; candidates whose code and data are equal get one folder."""
    from secateur.compiler.pipeline.passmanager import PipelineError, run_pipeline
    from secateur.passes.base import PassContext
    from secateur.runtime_targets import iree
    from secateur.runtime_targets.targets import get_target

    try:
        with module.context:
            run_pipeline(module, pipeline_to("scheduled", options=options), PassContext(weights))
            open_panels(module)
            run_pipeline(module, pipeline_to("kernels"), PassContext(weights))
            assembly = iree.assemble(module, weights)
    except (PipelineError, iree.AssemblyError) as error:
        raise CandidateError("refused", str(error)) from None
    digest = hashlib.blake2b(assembly.text.encode(), digest_size=16)
    for name, array in sorted(assembly.parameters.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    folder = task / "candidates" / digest.hexdigest()
    if folder.is_dir():
        return Compiled(digest.hexdigest(), str(folder))
    try:
        code = iree.compile_assembly(assembly, get_target(target, workers=workers))
    except iree.CompilationError as error:
        raise CandidateError("refused", str(error)) from None
    folder.parent.mkdir(exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".new-"))
    iree.write_parameters(scratch / "weights.irpa", assembly.parameters)
    write_whole(scratch / "model.vmfb", code)
    try:
        scratch.rename(folder)
    except OSError:
        # Another worker made the same candidate first.
        if not folder.is_dir():
            raise
    return Compiled(digest.hexdigest(), str(folder))


def open_panels(module: "ir.Module") -> None:
    """Makes `@main` take and return panels, so that the layer alone is timed and no transposition around it.

    before: main(%x: tensor<1x128x768xf32>) { %p = to_panels %x; %q = packed_linear %p; %y = from_panels %q; return %y }
    after:  main(%p: tensor<1x2x768x64xf32>) { %q = packed_linear %p; return %q }
    """
    from torch_mlir import ir

    from secateur.passes.base import walk

    (main,) = (f for f in walk(module, "func.func") if ir.StringAttr(f.attributes["sym_name"]).value == MAIN)
    block = main.regions[0].blocks[0]
    for argument in block.arguments:
        users = [use.owner.opview for use in argument.uses]
        kinds = {(user.operation.name, str(user.operation.results[0].type)) for user in users}
        if len(kinds) == 1 and users[0].operation.name == "sparsity.to_panels":
            argument.set_type(users[0].result.type)
            for user in users:
                user.result.replace_all_uses_with(argument)
                user.operation.erase()
    (end,) = walk(main, "func.return")
    for position, value in enumerate(end.operation.operands):
        if not isinstance(value.owner, ir.Block) and value.owner.name == "sparsity.from_panels":
            end.operation.operands[position] = value.owner.opview.x
            if not list(value.uses):
                value.owner.erase()
    types = [a.type for a in block.arguments], [v.type for v in end.operation.operands]
    main.attributes["function_type"] = ir.TypeAttr.get(ir.FunctionType.get(*types))


def measure(
    task: str,
    threads: int,
    candidate: Compiled,
    incumbent: Compiled,
    stages: tuple[tuple[int, float], ...] = STAGES,
) -> dict[str, Any]:
    """`Measurer.measure` for the task in folder `task`, on `threads`. What is loaded is kept for the next call."""
    return _measurer(task, threads).measure(candidate, incumbent, stages)


@functools.lru_cache(maxsize=1)
def _measurer(task: str, threads: int) -> "Measurer":
    return Measurer(task, threads)


class Measurer:
    """Times candidates of one task in turns with the incumbent.

    `task`: the task's folder; `threads` to run on.
    """

    def __init__(self, task: str, threads: int) -> None:
        self._folder, self._threads = Path(task), threads
        self._case = Case.read(self._folder)
        self._incumbent: tuple[str, Callable[[], None]] | None = None
        self._usual_ms: dict[str, float] = {}

    def measure(
        self, candidate: Compiled, incumbent: Compiled, stages: tuple[tuple[int, float], ...] = STAGES
    ) -> dict[str, Any]:
        """Runs `candidate` in turns with `incumbent`, the longer the closer they are.

        Returns `ratio`, the candidate's median over the incumbent's (`min_ratio`: of the fastest runs), `ms` and
        `incumbent_ms`, these medians, `runs` of each, and `whole`, whether all stages were run. Raises `CandidateError`
        (`wrong`) where the candidate's numbers are not those of the reference.
        """
        if self._incumbent is None or self._incumbent[0] != incumbent.digest:
            self._incumbent = (incumbent.digest, self._load(incumbent))
        calls = {"candidate": self._load(candidate), "incumbent": self._incumbent[1]}
        loops, repeats = long_enough(calls)
        stopped = False
        for rounds, limit in stages:
            latency = self._quiet_run(loops, rounds, incumbent.digest)
            slow = ratio(latency["candidate"], latency["incumbent"])
            stopped = bool(limit) and slow > limit
            if stopped:
                break
        return {
            "ratio": slow,
            "min_ratio": latency["candidate"].min_ms / latency["incumbent"].min_ms,
            "ms": latency["candidate"].median_ms / repeats,
            "incumbent_ms": latency["incumbent"].median_ms / repeats,
            "runs": latency["candidate"].runs * repeats,
            "whole": not stopped,
        }

    def _quiet_run(self, loops: dict[str, Callable[[], None]], rounds: int, incumbent: str) -> dict[str, Latency]:
        """One interleaved run, made again while the incumbent is far slower than it was seen to be: then the machine
        was busy with something else, and medians say more about that than about the candidate.
        """
        runs = []
        for _ in range(_ATTEMPTS):
            runs.append(interleave(loops, rounds=rounds, warmup=1, budget_seconds=STAGE_SECONDS))
            found = runs[-1]["incumbent"].median_ms
            usual = self._usual_ms[incumbent] = min(found, self._usual_ms.get(incumbent, found))
            if found <= _BUSY * usual:
                return runs[-1]
        return min(runs, key=lambda run: run["incumbent"].median_ms)

    def _load(self, candidate: Compiled) -> Callable[[], None]:
        """A call of `candidate`, whose result was compared with the reference once."""
        from secateur.runtime_targets.iree import Session

        folder = Path(candidate.folder)
        session = Session(folder / "model.vmfb", folder / "weights.irpa", threads=self._threads)
        inputs = in_layout(self._case.inputs, session.types("inputs"))
        check(session.run(inputs), self._case)
        return session.caller(inputs)


def in_layout(arrays: Sequence[np.ndarray], signature: Sequence[tuple[str, tuple[int, ...]]]) -> list[np.ndarray]:
    """The inputs of a task as a candidate with that signature takes them: in panels, where it does."""
    from secateur.dialects.sparsity.reference_parts import to_panels

    return [
        to_panels(array, shape[-1]) if len(shape) > array.ndim else array
        for array, (_, shape) in zip(arrays, signature, strict=True)
    ]


def check(results: Sequence[np.ndarray], case: Case) -> None:
    """Compares a candidate's results, in panels or not, with the reference's. Raises `CandidateError` (`wrong`)."""
    from secateur.dialects.sparsity.reference_parts import from_panels

    for found, wanted in zip(results, case.expected, strict=True):
        if found.shape != wanted.shape:
            found = from_panels(found, wanted.shape[-2]).reshape(wanted.shape)
        difference = compare("random inputs", "y", found, wanted, case.accepted)
        if not difference.passed:
            raise CandidateError("wrong", f"its numbers are not the reference's: {difference}")


def long_enough(
    calls: Mapping[str, Callable[[], object]], seconds: float = SAMPLE_SECONDS
) -> tuple[dict[str, Callable[[], None]], int]:
    """Loops over `calls`, all as often as the fastest needs to take `seconds`; and how often that is."""

    def taken(call: Callable[[], object]) -> float:
        began = time.perf_counter()
        for _ in range(3):
            call()
        return (time.perf_counter() - began) / 3

    times = max(1, math.ceil(seconds / max(min(map(taken, calls.values())), 1e-6)))

    def loop(call: Callable[[], object]) -> Callable[[], None]:
        def repeated() -> None:
            for _ in range(times):
                call()

        return repeated

    return {name: loop(call) for name, call in calls.items()}, times
