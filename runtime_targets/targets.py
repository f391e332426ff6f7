"""The targets by name: what passes are told of the machine, and what IREE is told.

A target is one entry of `_TARGETS`: a function that makes it and a sentence on where its code was run.
"""

import dataclasses
import difflib
import platform
from collections.abc import Callable

from .cpu import HostCpu, host_cpu


class TargetError(Exception):
    """A target does not exist or does not take an option; the text is one sentence."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A machine to compile for.

    `description`: the fields of `#sparsity.target` (sizes in bytes; `workers` is the number of threads that workgroups
    are made for). `iree_flags`: for IREE's compiler. `architecture` and `cpu_features` (names as in /proc/cpuinfo):
    what a machine must have to run the code. `note`: on which machines the code was seen to run.
    """

    name: str
    summary: str
    description: dict[str, int]
    iree_flags: tuple[str, ...]
    architecture: str
    cpu_features: tuple[str, ...]
    note: str

    def description_text(self) -> str:
        """The description as an attribute, letter by letter as MLIR prints it: records hold that text."""
        fields = ", ".join(f"{name} = {value} : i64" for name, value in sorted(self.description.items()))
        return f"#sparsity.target<{{{fields}}}>"


def _host(workers: int | None = None) -> Target:
    cpu: HostCpu = host_cpu()
    return Target(
        name="host-cpu",
        summary=_TARGETS["host-cpu"][1],
        description={
            "vector_bytes": cpu.vector_bytes,
            "registers": cpu.registers,
            "workers": workers or cpu.workers,
            "l1_bytes": cpu.l1_bytes,
            "l2_bytes": cpu.l2_bytes,
        },
        iree_flags=(
            "--iree-hal-target-device=local",
            "--iree-hal-local-target-device-backends=llvm-cpu",
            "--iree-llvmcpu-target-cpu=host",
        ),
        architecture=platform.machine(),
        cpu_features=cpu.features,
        note="runs on the machine that compiles",
    )


_TARGETS: dict[str, tuple[Callable[..., Target], str]] = {
    # name: (maker, summary)
    "host-cpu": (_host, "the CPU of this machine, with all its vector instructions"),
}


def targets() -> dict[str, str]:
    """Target name -> one-line summary."""
    return {name: summary for name, (_, summary) in _TARGETS.items()}


def get_target(name: str, *, workers: int | None = None) -> Target:
    """The target of that name. `workers`: threads that the code will run on (default: all CPUs of the process).

    Raises `TargetError`.
    """
    if name not in _TARGETS:
        near = difflib.get_close_matches(name, _TARGETS, n=1, cutoff=0.0)
        known = ", ".join(_TARGETS)
        raise TargetError(f"there is no target '{name}'; did you mean '{near[0]}'? Known targets: {known}")
    if workers is not None and workers < 1:
        raise TargetError(f"a target needs at least 1 worker, found {workers}")
    return _TARGETS[name][0](workers=workers)
