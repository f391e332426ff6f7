"""The time of every dispatch of a bundle, measured by IREE's own tools."""

import dataclasses
import json
import subprocess
import sysconfig
import tempfile
from pathlib import Path

import numpy as np

from .bundle import Bundle
from .manifest import BundleError


@dataclasses.dataclass(frozen=True)
class DispatchTime:
    """The calls of one executable in a run of the model: `count` calls that take `total_ms` milliseconds together.

    `total_ms` is a mean over the runs, `best_ms` the shortest call seen. With several threads, times of workgroups that
    ran side by side are added.
    """

    name: str
    count: int
    total_ms: float
    best_ms: float


def profile_bundle(bundle: Bundle, target: str | None = None, threads: int = 1, runs: int = 50) -> list[DispatchTime]:
    """Runs the model on zeros `runs` times (2 or more); returns its dispatches, the longest in total first.

    What runs once, when the module is loaded, is left out. Raises `BundleError` where a tool of IREE fails.
    """
    if runs < 2:
        raise ValueError(f"a profile needs at least 2 runs, found {runs}")
    chosen = bundle.target(target)
    with tempfile.TemporaryDirectory(prefix="secateur-profile-") as name:
        scratch = Path(name)
        device = ["--device=local-sync"]
        if threads > 1:
            device = ["--device=local-task", f"--task_topology_group_count={threads}"]
        command = [
            _tool("iree-benchmark-module"),
            *device,
            f"--module={bundle.file(chosen.module)}",
            "--function=main",
            f"--benchmark_min_time={runs}x",
            "--benchmark_format=json",
            "--device_profiling_mode=host-execution,executable-metadata",
            f"--device_profiling_output={scratch / 'profile'}",
        ]
        if chosen.parameters is not None:
            command.append(f"--parameters=model={bundle.file(chosen.parameters)}")
        for position, spec in enumerate(bundle.manifest.inputs):
            array = np.zeros(spec.shape, "int8" if spec.dtype == "bool" else spec.dtype)
            np.save(scratch / f"{position}.npy", array)
            command.append(f"--input=@{scratch / f'{position}.npy'}")
        _run(command)
        lines = _run([_tool("iree-profile"), "dispatch", "--format=jsonl", str(scratch / "profile")])
    groups = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
    return _times([g for g in groups if g.get("type") == "host_dispatch_group"], runs)


def _times(groups: list[dict], runs: int) -> list[DispatchTime]:
    found = []
    for group in groups:
        count = group["valid"] // runs
        if count:
            mean_ms = group["total_ns"] / group["valid"] / 1e6
            found.append(DispatchTime(group["key"], count, mean_ms * count, group["min_ns"] / 1e6))
    return sorted(found, key=lambda d: (-d.total_ms, d.name))


def _tool(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise BundleError(f"'{command[0]}', a tool of iree-base-runtime, is not installed") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["it said nothing"]
        raise BundleError(f"'{Path(command[0]).name}' failed: {lines[0]}") from None
    return done.stdout
