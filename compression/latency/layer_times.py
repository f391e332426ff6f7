"""The cost of the layers of one case: times of its dispatches here, or what it executes on an emulated CPU.

Runs in worker processes, as `secateur.compiler.tune.candidate` does, so that a fault ends them and not the search.
"""

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from secateur.compiler.records.objective import Objective
from secateur.compiler.tune.candidate import Compiled, check, compile_variant, in_layout
from secateur.compiler.tune.errors import CandidateError
from secateur.compiler.tune.task import Case

# A figure is the median over repetitions, each a process of its own, of the fastest of its calls. Rationale: where
# other programs run, a long call is interrupted more often than a short one: medians of all calls flatter sparsity.
REPETITIONS, RUNS = 7, 12
# Kernels that round the inputs of layers on bytes (`passes/kernels/quantize_tokens`): in a model they are part of what
# produces these inputs.
_ROUNDINGS = ("token_scales_", "quantize_")


def cost_of_layers(
    task: str, options: dict[str, dict[str, Any]], target: str, threads: int, objective: Objective
) -> list[dict[str, float]]:
    """Compiles the case in folder `task` and measures it: per layer, in order, `cost`, and `ratio`, the median over
    repetitions of its part of the cost of the dense layers around it; `min_ratio` is that of the fastest of all calls.

    Raises `CandidateError` where it cannot be compiled, or computes something else than the reference.
    """
    compiled = compile_variant(task, options, target, threads)
    return timed(task, compiled, threads) if objective.kind == "time" else counted(task, compiled, objective)


def counted(task: str, compiled: Compiled, objective: Objective) -> list[dict[str, float]]:
    """The figure of all layers of a case together; a case for this has one layer."""
    from secateur.compiler.tune.counted import measure

    cost = float(measure(task, objective, compiled, compiled)["ms"])
    return [{"cost": cost, "ratio": 1.0, "min_ratio": 1.0}]


def timed(task: str, compiled: Compiled, threads: int, repetitions: int = REPETITIONS) -> list[dict[str, float]]:
    """Times each dispatch by IREE's profiler. The first and the last layer are dense."""
    from secateur.runtime_targets.iree import Session
    from secateur.runtime_targets.profile import profile_module

    folder = Path(compiled.folder)
    module, archive = folder / "model.vmfb", folder / "weights.irpa"
    case = Case.read(Path(task))
    session = Session(module, archive, threads=threads)
    inputs = in_layout(case.inputs, session.types("inputs"))
    check(session.run(inputs), case)
    words = []
    for position, array in enumerate(inputs):
        file = Path(task) / f"input-{position}.npy"
        np.save(file, np.ascontiguousarray(array))
        words.append(f"@{file}")
    runs = []
    for _ in range(repetitions):
        # Dispatches run in the order of the program, however many threads there are.
        calls = profile_module(module, [archive], words, threads, RUNS).calls
        calls = [call for call in calls if not call.kernel.startswith(_ROUNDINGS)]
        if len(calls) != len(case.expected):
            raise CandidateError(
                "refused", f"expected a dispatch for each of {len(case.expected)} layers, found {len(calls)}"
            )
        runs.append(calls)
    figures = []
    for n in range(len(case.expected)):
        ratios = [2 * run[n].min_ms / (run[0].min_ms + run[-1].min_ms) for run in runs]
        fastest = min(min(run[0].min_ms, run[-1].min_ms) for run in runs)
        figures.append(
            {
                "cost": statistics.median(run[n].min_ms for run in runs),
                "ratio": statistics.median(ratios),
                "min_ratio": min(run[n].min_ms for run in runs) / fastest,
            }
        )
    return figures
