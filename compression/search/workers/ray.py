"""The nodes of a Ray cluster: any of them for stages that measure on no device, and for those that do a node that has
the device as a resource (`ray start --resources='{"target:host-cpu": 1}'`), of which Ray lends one at a time.

On its node a candidate is evaluated in a process of its own, as in `LocalPool`. A task whose node or process of Ray was
lost is given to Ray again; one whose device is away waits.
"""

import importlib.util
from typing import Any

from secateur.compiler.tune.options import memory_here

from ..errors import SearchError
from ..measurement import Evaluator, Measurement, Stage
from ..space import Candidate
from .child import Child, packed
from .pool import Task

# The process of this process of Ray, and what it evaluates with.
_child: tuple[bytes, Child] | None = None


def evaluate_here(evaluator: bytes, memory_bytes: int | None, candidate: Candidate, stage: Stage) -> Measurement:
    """Runs on a node: evaluates a candidate in a process, which is kept for the next one."""
    global _child
    if _child is None or _child[0] != evaluator:
        if _child is not None:
            _child[1].stop()
        _child = evaluator, Child(evaluator, memory_here() if memory_bytes is None else memory_bytes)
    child = _child[1]
    child.submit(candidate, stage)
    return child.result(stage)


def resource_of(target: str) -> str:
    """The name of a target among the resources of a node."""
    return f"target:{target}"


class RayPool:
    """The cluster at `address` (None: the one that this program is connected to, else one that it starts here).

    `again`: how often a task is made again whose node was lost. Raises `SearchError` where Ray is not installed, or no
    node has a target that a stage measures on.
    """

    def __init__(
        self, evaluator: Evaluator, address: str | None = None, memory_bytes: int | None = None, again: int = 5
    ) -> None:
        if importlib.util.find_spec("ray") is None:
            raise SearchError("a search on many machines needs Ray: pip install secateur[ray]", usage=True)
        import ray

        self._ray: Any = ray
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, configure_logging=False)
        self._check_targets(evaluator)
        self._function = ray.remote(evaluate_here)
        self._evaluator, self._memory, self._again = ray.put(packed(evaluator)), memory_bytes, again
        self._busy: dict[Any, Task] = {}

    def _check_targets(self, evaluator: Evaluator) -> None:
        there = self._ray.cluster_resources()
        for stage in evaluator.stages:
            if stage.target and resource_of(stage.target) not in there:
                raise SearchError(
                    f"stage '{stage.name}' measures on '{stage.target}', which no node of the cluster has; start one"
                    f" with: ray start --address=HEAD --resources='{{\"{resource_of(stage.target)}\": 1}}'",
                    usage=True,
                )

    @property
    def free(self) -> int:
        """Tasks that Ray takes: as many as the cluster has CPUs, and as many to go on with at once."""
        return max(0, 2 * int(self._ray.cluster_resources().get("CPU", 0)) - len(self._busy))

    def place(self, stage: Stage) -> str | None:
        """None: Ray lends a device to one task at a time."""

    def begin(self, task: Task) -> None:
        """Gives a task to Ray."""
        resources = {resource_of(task.stage.target): 1} if task.stage.target else {}
        function = self._function.options(num_cpus=1, resources=resources, max_retries=self._again)
        self._busy[function.remote(self._evaluator, self._memory, dict(task.candidate), task.stage)] = task

    def finished(self, seconds: float) -> list[tuple[Task, Measurement]]:
        """The tasks that have ended; waits up to `seconds` for one."""
        done, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=seconds) if self._busy else ([], [])
        found = []
        for reference in done:
            task = self._busy.pop(reference)
            try:
                found.append((task, self._ray.get(reference)))
            except self._ray.exceptions.RayError as error:
                why = f"its process was lost {self._again + 1} times: {str(error).partition(chr(10))[0]}"
                found.append((task, Measurement({}, why)))
        return found

    def close(self) -> None:
        """Takes back what is running; the cluster stays."""
        for reference in self._busy:
            self._ray.cancel(reference, force=True)
        self._busy.clear()
