"""What an inference costs on an emulated Arm CPU: instructions, loads, multiply-adds, cycles by a model of the core.

These are counts and estimates, never times. Counts are exact and the same in every run: the model is called once and
twice by IREE's own benchmark program, and the difference is one call. Loading, the packing of weights and whatever
else is done once drop out.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.compiler.verify.comparison import sample
from secateur.dialects.scratch import ScratchFolder
from secateur.runtime_targets.bundle import Bundle, open_bundle
from secateur.runtime_targets.devices import DeviceError, RemoteSession
from secateur.runtime_targets.devices.counting import Counts, Executed, cycle_estimates, plugin_option, read_counts
from secateur.runtime_targets.devices.emulated import EmulatedCpu
from secateur.runtime_targets.devices.module_on_device import loaded_commands, pushed
from secateur.runtime_targets.devices.remote_session import check_fits
from secateur.runtime_targets.token_count import in_order

from .self_test import stored_inputs

if TYPE_CHECKING:
    from secateur.runtime_targets.manifest import TargetFiles

NOTE = "counted on an emulated CPU: exact counts, and no times"
CYCLES_NOTE = "cycles are llvm-mca's estimate (all loads hit L1, all branches are foreseen), and no times"
_SECONDS = 1200.0
_KIND = "qemu"
# Loops that are told of.
_LOOPS = 12


@dataclasses.dataclass(frozen=True)
class HotLoop:
    """A block of code: how often it is run, its part (0..1) of the instructions in kernels, what one run of it counts,
    cycles of one run by llvm-mca (None: not estimated), and its instructions.
    """

    runs: int
    fraction: float
    counts: Counts
    cycles: float | None
    text: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class InstructionCost:
    """What one inference executes.

    `kernels`: in the code that was compiled for the model; `rest`: in everything else of the process (IREE's runtime,
    memory allocation). `flops`: operations that the model needs, as the bundle tells (None: it does not). `cycles`:
    llvm-mca's estimate for the kernels by `cycle_model`, None where it was not asked for.
    """

    bundle: str
    target: str
    device: str
    kernels: Counts
    rest: Counts
    flops: int | None
    loops: tuple[HotLoop, ...]
    cycles: float | None = None
    cycle_model: str | None = None

    @property
    def fma_ratio(self) -> float | None:
        """Products that multiply-adds add up over those that the model needs: its operations / 2.

        For f32, whose multiply-adds have four lanes, these are the multiply-adds over the operations / 8.
        """
        return self.kernels.products / (self.flops / 2) if self.flops else None

    def to_dict(self) -> dict[str, Any]:
        """The cost as values that JSON has."""
        return {**dataclasses.asdict(self), "fma_ratio": self.fma_ratio, "note": NOTE}


def count_bundle(
    path: str | os.PathLike[str],
    device: str,
    *,
    target: str | None = None,
    mca: bool = False,
    progress: Callable[[str], None] = lambda stage: None,
) -> InstructionCost:
    """Counts one inference of the bundle at `path` on `device` (`qemu:MODEL`), at its full size.

    `target`: whose code (default: the first that the device can run). `mca`: also estimate cycles. Raises
    `DeviceError`, `BundleError`.
    """
    progress("loading")
    with open_bundle(path, runnable=False) as bundle:
        files = _target_for(bundle, device, target)
        specs = bundle.manifest.function().inputs
        # Any integer is a position in some table; zero and one are in all of them.
        drawn = sample(specs, {s.name: np.array([0, 1]) for s in specs}, None, np.random.default_rng(0))
        arrays = stored_inputs(bundle) or in_order(specs, drawn)

        def calls(emulated: EmulatedCpu) -> Callable[[str], list[str]]:
            return RemoteSession(emulated, bundle, files.name).command

        executed = executed_by_call(device, calls, arrays, progress=progress)
    flops = sum(d.flops for d in files.dispatches if d.flops is not None) or None
    return _cost(executed, str(path), files.name, device, flops, mca)


def count_module(
    module: Path,
    archive: Path,
    arrays: Sequence[np.ndarray],
    device: str,
    *,
    mca: bool = False,
    flops: int | None = None,
) -> InstructionCost:
    """As `count_bundle`, for a compiled module and the archive of its parameters. `flops` that its model needs."""

    def calls(emulated: EmulatedCpu) -> Callable[[str], list[str]]:
        return loaded_commands(emulated, module, archive)

    return _cost(executed_by_call(device, calls, arrays), module.name, "", device, flops, mca)


def executed_by_call(
    device: str,
    commands: Callable[[EmulatedCpu], Callable[[str], list[str]]],
    arrays: Sequence[np.ndarray],
    *,
    progress: Callable[[str], None] = lambda stage: None,
) -> Executed:
    """What one call of a module with the inputs `arrays` executes on `device`.

    `commands` prepares the device and gives what names the words that start a program of IREE's on the module. Raises
    `DeviceError`.
    """
    with ScratchFolder("count") as scratch:
        counts = Path(scratch) / "counts.json"
        with EmulatedCpu(emulated_model(device), options=plugin_option(counts)) as emulated:
            command = [*commands(emulated)("iree-benchmark-module"), *pushed(emulated, arrays)]
            found = []
            for times in (1, 2):
                progress(f"counting on {device}, {times} of 2")
                counts.unlink(missing_ok=True)
                done = emulated.shell([*command, f"--benchmark_min_time={times}x"], timeout=_SECONDS)
                if done.fault():
                    raise DeviceError(f"'iree-benchmark-module' on '{device}' {done.fault()}")
                found.append(read_counts(counts))
    return found[1] - found[0]


def emulated_model(device: str) -> str:
    """The model of `qemu:MODEL`. Raises `DeviceError` for a device of another kind."""
    kind, _, model = device.partition(":")
    if kind != _KIND or not model:
        raise DeviceError(
            f"instructions are counted on emulated CPUs such as qemu:cortex-a76, found '{device}'", usage=True
        )
    return model


def _target_for(bundle: Bundle, device: str, name: str | None) -> "TargetFiles":
    """The target of that name, or the first whose code the device can run."""
    with EmulatedCpu(emulated_model(device)) as emulated:
        if name is not None:
            chosen = bundle.target(name)
            check_fits(emulated, chosen)
            return chosen
        reasons = []
        for files in bundle.manifest.targets:
            try:
                check_fits(emulated, files)
            except DeviceError as error:
                reasons.append(str(error))
                continue
            if files.architecture == emulated.properties().architecture:
                return files
    raise DeviceError(reasons[0] if reasons else f"the bundle has no code for the CPU of '{device}'")


def _cost(executed: Executed, name: str, target: str, device: str, flops: int | None, mca: bool) -> InstructionCost:
    kernels = executed.kernels()
    counts = kernels.counts()
    estimate = cycle_estimates(kernels) if mca else None
    loops = tuple(
        HotLoop(
            runs=kernels.runs[block],
            fraction=kernels.runs[block] * block.counts.instructions / (counts.instructions or 1),
            counts=block.counts,
            cycles=estimate.by_block.get(block) if estimate else None,
            text=kernels.texts[block],
        )
        for block in kernels.hottest()[:_LOOPS]
    )
    return InstructionCost(
        bundle=name,
        target=target,
        device=device,
        kernels=counts,
        rest=executed.where(bool).counts(),
        flops=flops,
        loops=loops,
        cycles=estimate.cycles if estimate else None,
        cycle_model=estimate.model if estimate else None,
    )
