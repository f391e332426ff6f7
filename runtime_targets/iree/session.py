"""A compiled module with its parameters, ready to be called with NumPy arrays."""

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import iree.runtime as rt
import numpy as np

from secateur.dialects.entry_points import MAIN, RESET
from secateur.dialects.number_formats.f16 import LARGEST

from ..devices.device import DeviceError
from ..interface import Signature
from .errors import IREE_ERRORS, SessionError, first_line
from .module_file import signatures_of
from .vulkan import open_gpu, read_back

_SCOPE = "model"

# Worker counts are process-wide flags, read when a driver is created: setting one and creating a driver must not
# be interleaved with another session's. Each session has a driver, hence workers, of its own.
_DRIVER_LOCK = threading.Lock()


Archives = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None
"""Parameter archives (`.irpa`) of a module: one, several that have no symbol in common, or none."""


def archive_paths(archives: Archives) -> list[str]:
    """Their paths."""
    one = isinstance(archives, (str, os.PathLike))
    return [str(archives)] if one else [str(archive) for archive in archives or ()]  # type: ignore[union-attr]


# Memory of intermediates is kept from one call to the next: fresh pages cost a fault each.
_ALLOCATORS = ["caching"]


_NO_NUMBER = (
    f"a result is no number: an input is none, or an activation is beyond {LARGEST:.0f}, the largest number of f16, in "
    "which this model hands activations on; compile it with --arithmetic f32"
)


def _device(threads: int) -> Any:
    if threads == 1:
        return rt._binding.create_hal_driver("local-sync").create_device_by_uri("local-sync", allocators=_ALLOCATORS)
    with _DRIVER_LOCK:
        rt.flags.parse_flags(f"--task_topology_group_count={threads}")
        try:
            return rt._binding.create_hal_driver("local-task").create_device_by_uri(
                "local-task", allocators=_ALLOCATORS
            )
        finally:
            rt.flags.parse_flags("--task_topology_group_count=0")


class Session:
    """Runs the functions of a module that `assemble` and `compile_assembly` made.

    `module`: path of a `.vmfb` or its bytes; `parameters`: path of the `.irpa`, or of several that have no symbol in
    common; None where the module reads none. `threads`: 1 runs everything on the calling thread; n > 1 starts n workers
    that belong to this session and end with it. `device`: "cpu", or "vulkan", the first GPU of this machine; one whose
    subgroups have another number of lanes than the module was made for is refused. The parameters are mapped, not
    copied: two sessions share their memory. State of the module is the session's own, and stays from call to call.
    `run` may be called from several threads; calls are made one after the other. Raises `SessionError`.
    """

    def __init__(
        self,
        module: str | os.PathLike[str] | bytes,
        parameters: Archives = None,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        if threads < 1:
            raise SessionError(f"a session needs at least 1 thread, found {threads}")
        if device not in ("cpu", "vulkan"):
            raise SessionError(f"a session runs on 'cpu' or 'vulkan', found '{device}'")
        self.threads = threads
        self.on_gpu = device == "vulkan"
        self._lock = threading.Lock()
        try:
            self._load(module, parameters)
        except (*IREE_ERRORS, DeviceError) as error:
            name = "the module" if isinstance(module, bytes) else f"'{module}'"
            raise SessionError(f"{name} cannot be loaded: {first_line(error)}") from None

    def _load(self, module: Any, parameters: Any) -> None:
        instance = rt.VmInstance()
        if isinstance(module, bytes):
            code = rt.VmModule.copy_buffer(instance, module)
        else:
            code = rt.VmModule.mmap(instance, str(Path(module)))
        self.functions: dict[str, Signature] = signatures_of(code)
        """What can be called, by name; of shapes, -1 stands for any size."""
        first = next(iter(self.functions.values()))
        subgroup, self._half = first.subgroup, first.activations == "f16"
        device = open_gpu(subgroup) if self.on_gpu else _device(self.threads)
        modules = [rt.create_hal_module(instance, device)]
        archives = archive_paths(parameters)
        if archives:
            index = rt.ParameterIndex()
            for archive in archives:
                index.load(archive, format="irpa")
            modules.append(rt.create_io_parameters_module(instance, index.create_provider(scope=_SCOPE)))
        context = rt.VmContext(instance, [*modules, code])
        self._invokers = {
            name: rt.FunctionInvoker(context, device, code.lookup_function(name)) for name in self.functions
        }
        self._context, self._device = context, device

    def __del__(self) -> None:
        # A worker pool that ends before the buffers and the context that use it crashes the process.
        for name in ("_invokers", "_context", "_device"):
            self.__dict__.pop(name, None)

    def types(self, side: str, function: str = MAIN) -> list[tuple[str, tuple[int, ...]]]:
        """dtype name and shape of the "inputs" or "outputs" of a function. Raises `SessionError` where it has none."""
        if function not in self.functions:
            known = ", ".join(sorted(self.functions))
            raise SessionError(f"the module has no function '{function}'; it has: {known}")
        return self.functions[function].types(side)

    def run(self, inputs: Sequence[np.ndarray], function: str = MAIN) -> list[np.ndarray]:
        """Calls a function. Arrays must have the exact dtype and shape; strided ones are copied. Raises `SessionError`.

        The results are arrays of their own: they stay valid after the session ends. Where activations are f16, results
        that are no numbers are an error: one of them was beyond what f16 holds.
        """
        given, outputs = self._checked(inputs, function), self.types("outputs", function)
        with self._lock:
            try:
                found = self._invokers[function](*given)
            except IREE_ERRORS as error:
                raise SessionError(f"the call failed: {first_line(error)}") from None
            if not isinstance(found, tuple):
                found = (found,) if outputs else ()
            if self.on_gpu:
                arrays = [read_back(self._device, result) for result in found]
            else:
                arrays = [np.array(result.to_host(), copy=True) for result in found]
            del found
        if self._half and any(array.dtype.kind == "f" and np.isnan(array).any() for array in arrays):
            raise SessionError(_NO_NUMBER)
        return [_restore(a, d) for a, (d, _) in zip(arrays, outputs, strict=True)]

    def reset(self) -> None:
        """Gives all state of the module its first value. Raises `SessionError` where a call of the module fails."""
        if RESET in self.functions:
            self.run([], RESET)

    def caller(self, inputs: Sequence[np.ndarray]) -> Callable[[], None]:
        """A function that calls `@main` on `inputs`, which are copied to the device once; results are not copied back.

        For timing: what it takes is what the module takes. Raises `SessionError` as `run` does.
        """
        self.run(inputs)
        given = [rt.asdevicearray(self._device, array) for array in self._checked(inputs, MAIN)]

        def call() -> None:
            with self._lock:
                self._invokers[MAIN](*given)

        return call

    def _checked(self, inputs: Sequence[np.ndarray], function: str) -> list[np.ndarray]:
        """The inputs as IREE takes them."""
        types = self.types("inputs", function)
        if len(inputs) != len(types):
            raise SessionError(f"the function '{function}' takes {len(types)} inputs, found {len(inputs)}")
        return [_fitting(i, array, *type_) for i, (array, type_) in enumerate(zip(inputs, types, strict=True))]


def _fitting(position: int, array: np.ndarray, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    fits = len(array.shape) == len(shape)
    fits = fits and all(w in (-1, f) for w, f in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != np.dtype(dtype):
        raise SessionError(
            f"input {position} is {array.dtype} of shape {list(array.shape)}; "
            f"accepted is {dtype} of shape {[s if s >= 0 else 'any' for s in shape]}"
        )
    return np.asarray(array, order="C")


def _restore(array: np.ndarray, dtype: str) -> np.ndarray:
    """Bools come back as bytes."""
    return array if array.dtype.name == dtype else array.astype(dtype)
