"""A bundle's model on a device, called through IREE's own programs: arrays go there and come back as `.npy` files."""

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur.dialects.entry_points import MAIN
from secateur.dialects.scratch import ScratchFolder

from ..array_files import read_arrays
from .device import Device, DeviceError

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..manifest import TargetFiles, TensorSpec

_SCOPE = "model"
_MILLISECONDS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3}


class RemoteSession:
    """The code of `bundle` for `target` on `device`; takes the place of `iree.Session` in a `Runner`.

    What the device's folder lacks of the code, or has with another hash, is copied there first. `threads`: 1 runs on
    one thread of the device, n > 1 on n workers. `timeout`: seconds that one program may run. Raises `DeviceError`,
    one sentence, where the device cannot run the code: nothing is loaded then.
    """

    def __init__(
        self, device: Device, bundle: "Bundle", target: str, *, threads: int = 1, timeout: float = 600.0
    ) -> None:
        if threads < 1:
            raise DeviceError(f"a session needs at least 1 thread, found {threads}")
        self._device, self._timeout, self._threads = device, timeout, threads
        self._files = bundle.target(target)
        check_fits(device, self._files)
        self._manifest = bundle.manifest
        there = device.hashes()
        for name in (self._files.module, *_archives(self._files)):
            if there.get(name) != bundle.manifest.files[name].sha256:
                device.push(bundle.file(name), name)

    def run(self, inputs: Sequence[np.ndarray], function: str = MAIN) -> list[np.ndarray]:
        """Calls a function of the model, in a program of its own: state has its first value at every call.

        Arrays must have the exact dtype and shape. Raises `BundleError` where there is no such function, `DeviceError`.
        """
        outputs = self._manifest.function(function).outputs
        with self._call(inputs, function) as (prefix, given):
            names = [f"{prefix}-output-{i}.npy" for i in range(len(outputs))]
            try:
                # Bare outputs would be printed: every one is named a file.
                flags = [*given, *(f"--output=@{name}" for name in names)]
                self._start("iree-run-module", flags, function)
                return [self._fetch(name, i, spec) for i, (name, spec) in enumerate(zip(names, outputs, strict=True))]
            finally:
                for name in names:
                    self._device.remove(name)

    def benchmark(self, inputs: Sequence[np.ndarray], runs: int) -> list[float]:
        """Latencies of `runs` calls in milliseconds, after one that is not counted. Raises `DeviceError`.

        On an emulated CPU they say nothing about a real one.
        """
        if runs < 1:
            raise DeviceError(f"a benchmark needs at least 1 run, found {runs}")
        with self._call(inputs, MAIN) as (_, given):
            flags = [
                *given,
                f"--benchmark_repetitions={runs + 1}",
                "--benchmark_min_time=1x",
                "--benchmark_format=json",
            ]
            text = self._start("iree-benchmark-module", flags)
        try:
            found = [entry for entry in json.loads(text)["benchmarks"] if entry.get("run_type") == "iteration"]
            latencies = [entry["real_time"] * _MILLISECONDS[entry["time_unit"]] for entry in found]
        except (ValueError, KeyError, TypeError):
            raise DeviceError(f"'iree-benchmark-module' on '{self._device.name}' printed no times") from None
        if len(latencies) != runs + 1:
            raise DeviceError(
                f"'iree-benchmark-module' on '{self._device.name}' printed {len(latencies)} times, expected {runs + 1}"
            )
        return latencies[1:]

    def command(self, program: str, function: str = MAIN) -> list[str]:
        """The words that start one of IREE's programs on a function, without inputs, for `Device.shell`."""
        flags = [f"--module={self._files.module}", f"--function={function}"]
        flags += [f"--parameters={_SCOPE}={name}" for name in _archives(self._files)]
        if getattr(self._files, "backend", "llvm-cpu") == "vulkan":
            flags.append("--device=vulkan")
        elif self._threads == 1:
            flags.append("--device=local-sync")
        else:
            flags += ["--device=local-task", f"--task_topology_group_count={self._threads}"]
        return [*self._device.program(program), *flags]

    def _start(self, program: str, flags: list[str], function: str = MAIN) -> str:
        done = self._device.shell([*self.command(program, function), *flags], timeout=self._timeout)
        fault = done.fault()
        if fault:
            raise DeviceError(f"'{program}' on '{self._device.name}' {fault}")
        return done.out

    @contextmanager
    def _call(self, inputs: Sequence[np.ndarray], function: str) -> Iterator[tuple[str, list[str]]]:
        """Puts the inputs on the device; gives a prefix for names of the call's files, and the inputs' flags."""
        specs = self._manifest.function(function).inputs
        if len(inputs) != len(specs):
            raise DeviceError(f"the function '{function}' takes {len(specs)} inputs, found {len(inputs)}")
        for position, (array, spec) in enumerate(zip(inputs, specs, strict=True)):
            _check(position, array, spec)
        # Two calls may use one folder of a device.
        prefix = f"call-{secrets.token_hex(6)}"
        names = [f"{prefix}-input-{i}.npy" for i in range(len(inputs))]
        try:
            with ScratchFolder("call") as scratch:
                for name, array in zip(names, inputs, strict=True):
                    file = Path(scratch) / name
                    # IREE's bools are bytes.
                    np.save(file, np.ascontiguousarray(array.view(np.int8) if array.dtype == np.bool_ else array))
                    self._device.push(file, name)
            yield prefix, [f"--input=@{name}" for name in names]
        finally:
            for name in names:
                self._device.remove(name)

    def _fetch(self, name: str, position: int, spec: "TensorSpec") -> np.ndarray:
        dtype, shape = spec.dtype, spec.shape
        with ScratchFolder("call") as scratch:
            file = Path(scratch) / name
            self._device.pull(name, file)
            try:
                array = read_arrays(file)
                if isinstance(array, dict):
                    raise ValueError("holds several arrays")
            except ValueError as error:
                raise DeviceError(f"output {position} of '{self._device.name}' {error}") from None
        expected = "int8" if dtype == "bool" else dtype
        if array.shape != tuple(shape) or array.dtype.name not in (dtype, expected):
            raise DeviceError(
                f"output {position} of '{self._device.name}' is {array.dtype} of shape {list(array.shape)}; "
                f"expected is {dtype} of shape {list(shape)}"
            )
        return np.asarray(array).astype(dtype, copy=False)


def _check(position: int, array: np.ndarray, spec: "TensorSpec") -> None:
    if array.shape != spec.shape or array.dtype.name != spec.dtype:
        raise DeviceError(
            f"input {position} is {array.dtype} of shape {list(array.shape)}; "
            f"accepted is {spec.dtype} of shape {list(spec.shape)}"
        )


def _archives(files: "TargetFiles") -> tuple[str, ...]:
    found = files.parameters
    if found is None:
        return ()
    return (found,) if isinstance(found, str) else tuple(found)


def check_fits(device: Device, files: "TargetFiles") -> None:
    """Raises `DeviceError` unless `device` has the architecture and every CPU feature that the code is made for.

    Code for a feature that is not there ends its process at the first such instruction, not when it is loaded.
    """
    has = device.properties()
    where = f"the code for target '{files.name}' cannot run on '{device.name}'"
    if files.architecture == "vulkan":
        return
    if files.architecture != has.architecture:
        raise DeviceError(f"{where}: it is made for {files.architecture}, and the device is {has.architecture}")
    lacking = sorted(set(files.cpu_features) - has.cpu_features)
    if lacking:
        raise DeviceError(f"{where}: it needs the CPU features {', '.join(lacking)}, which the device lacks")
