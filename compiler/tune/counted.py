"""The cost of a candidate by counting what it executes on an emulated CPU. Runs in worker processes, as `candidate`."""

import functools
from pathlib import Path
from typing import Any

from secateur.compiler.records.objective import Objective
from secateur.dialects.entry_points import MAIN
from secateur.runtime_targets.devices import DeviceError

from .candidate import Compiled, check, in_layout
from .errors import CandidateError
from .task import Case


def measure(
    task: str, objective: Objective, candidate: Compiled, incumbent: Compiled, stages: Any = None
) -> dict[str, Any]:
    """As `candidate.measure`: `ms` and `incumbent_ms` are figures of the objective here. One count is exact, so
    `stages` are none. Raises `CandidateError`.
    """
    cost, against = (_cost(task, objective, one.folder) for one in (candidate, incumbent))
    ratio = cost / against
    return {"ratio": ratio, "min_ratio": ratio, "ms": cost, "incumbent_ms": against, "runs": 1, "whole": True}


@functools.lru_cache(maxsize=64)
def _cost(task: str, objective: Objective, folder: str) -> float:
    """The figure of one candidate, whose numbers are compared with the reference's."""
    try:
        return _counted(Path(task), objective, Path(folder))
    except DeviceError as error:
        raise CandidateError("refused", str(error)) from None


def _counted(task: Path, objective: Objective, folder: Path) -> float:
    from secateur.compiler.measure.instruction_cost import count_module
    from secateur.runtime_targets.devices.module_on_device import run_module
    from secateur.runtime_targets.iree.module_file import read_signatures

    module, archive = folder / "model.vmfb", folder / "weights.irpa"
    case = Case.read(task)
    inputs = in_layout(case.inputs, read_signatures(module)[MAIN].types("inputs"))
    check(run_module(module, archive, inputs, len(case.expected), objective.device), case)
    cost = count_module(module, archive, inputs, objective.device, mca=objective.kind == "cycles")
    if objective.kind == "cycles":
        assert cost.cycles is not None
        return cost.cycles
    return float(cost.kernels.instructions + cost.kernels.loads)
