"""GPU code on lavapipe, Mesa's GPU in software, with a chosen number of lanes: a session in a process of its own.

Mesa fixes the number of lanes when its driver is loaded (`LP_NATIVE_VECTOR_WIDTH`), so that each number needs a
process. What runs here runs on the CPU: results are those of a GPU with as many lanes, times are not.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from secateur.dialects.entry_points import MAIN

from .session import Archives, Session, SessionError, archive_paths

LANES = (4, 8, 16)
_LOWEST_PRIORITY = 19
# What Vulkan's functions answer once a driver has given up.
_LOST = "VK_ERROR_DEVICE_LOST"
_ICD_FOLDERS = ("/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d")


def lavapipe_driver() -> Path | None:
    """The file by which the Vulkan loader finds lavapipe; None where it is not installed."""
    found = [file for folder in _ICD_FOLDERS for file in sorted(Path(folder).glob("lvp_icd*.json"))]
    return found[0] if found else None


def lavapipe_environment(lanes: int) -> dict[str, str]:
    """The environment in which Vulkan has lavapipe with `lanes` lanes and no other GPU.

    Raises `SessionError` where lavapipe is not installed or cannot have as many lanes.
    """
    driver = lavapipe_driver()
    if driver is None:
        raise SessionError("lavapipe, Mesa's GPU in software, is not installed; on Debian: mesa-vulkan-drivers")
    if lanes not in LANES:
        raise SessionError(f"lavapipe has {', '.join(map(str, LANES))} lanes, found {lanes}")
    return {
        "VK_ICD_FILENAMES": str(driver),
        "VK_DRIVER_FILES": str(driver),
        "MESA_SHADER_CACHE_DISABLE": "true",
        "LP_NATIVE_VECTOR_WIDTH": str(32 * lanes),
    }


def vulkan_session(
    device: str, module: str | os.PathLike[str] | bytes, parameters: Archives = None
) -> "Session | LavapipeSession":
    """A session on "vulkan", the first GPU of this machine, or "vulkan:LANES", lavapipe. Raises `SessionError`."""
    kind, colon, lanes = device.partition(":")
    if kind != "vulkan" or (colon and not lanes.isdigit()):
        raise SessionError(f"there is no Vulkan device '{device}'; accepted are vulkan and vulkan:LANES")
    return LavapipeSession(module, parameters, int(lanes)) if colon else Session(module, parameters, device="vulkan")


class ProcessEndedError(SessionError):
    """The process of a session ended before it answered, or its driver lost the device, twice: a crash of the driver,
    or somebody ended it."""


class LavapipeSession:
    """A `Session` on lavapipe with `lanes` lanes. Raises `SessionError` as one does, `ProcessEndedError` among them.

    Lavapipe of Mesa 22.3 crashes or loses the device now and then, in one run of 45 of the same model, with code that
    runs the next time. So a call in which it does is made once more, by a new process; modules have no state that a
    call could leave behind.
    """

    def __init__(
        self,
        module: str | os.PathLike[str] | bytes,
        parameters: Archives = None,
        lanes: int = 8,
    ) -> None:
        self._lanes = lanes
        self._loading = (module if isinstance(module, bytes) else str(module), archive_paths(parameters))
        try:
            self._start()
        except ProcessEndedError:
            self._start()

    def _start(self) -> None:
        """Starts the process and loads the module in it; where that fails there is no process left."""
        environment = {**os.environ, **lavapipe_environment(self._lanes)}
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        try:
            self._ask("load", *self._loading)
        except BaseException:
            self.close()
            raise

    def run(self, inputs: Sequence[np.ndarray], function: str = MAIN) -> list[np.ndarray]:
        """Calls a function, as `Session.run` does."""
        found: list[np.ndarray] = self._call("run", list(inputs), function)
        return found

    def time_ms(self, inputs: Sequence[np.ndarray], runs: int) -> list[float]:
        """The time of each of `runs` calls: on a CPU, whatever it may be on a GPU."""
        found: list[float] = self._call("time_ms", list(inputs), runs)
        return found

    def close(self) -> None:
        """Ends the process."""
        self._connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "LavapipeSession":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_connection"):
            self.close()

    def _call(self, *request: Any) -> Any:
        try:
            return self._ask(*request)
        except ProcessEndedError:
            self.close()
            self._start()
            return self._ask(*request)

    def _ask(self, *request: Any) -> Any:
        try:
            self._connection.send(request)
            fault, result = self._connection.recv()
        except (EOFError, OSError):
            raise ProcessEndedError("the process with the Vulkan driver ended in the middle of a call") from None
        if fault:
            raise (ProcessEndedError if _LOST in fault else SessionError)(fault)
        return result


def _let_waiting_threads_yield() -> None:
    """Gives the threads of this process that IREE waits for the GPU with the lowest priority.

    Each waits for the first of several semaphores, which Mesa does by asking for them in a loop: on few cores that
    takes most of the time from the threads that compile and run the shaders. They are those that were started after
    IREE's own, which have its name; the driver's are older.
    """
    # A thread may end meanwhile.
    with contextlib.suppress(OSError):
        names = {int(task.name): (task / "comm").read_text() for task in Path("/proc/self/task").iterdir()}
        named = [thread for thread, name in names.items() if name.startswith("iree")]
        for thread in names:
            if named and thread > max(named):
                os.setpriority(os.PRIO_PROCESS, thread, _LOWEST_PRIORITY)


def _serve(connection: Connection) -> None:
    """Answers one request after the other with (fault, result), until the owner is gone."""
    session: Session | None = None
    while True:
        try:
            kind, *arguments = connection.recv()
        except (EOFError, OSError):
            return
        fault, result = "", None
        try:
            if kind == "load":
                session = Session(*arguments, device="vulkan")
                _let_waiting_threads_yield()
            elif session is not None and kind == "run":
                result = session.run(*arguments)
            elif session is not None:
                inputs, runs = arguments
                call, result = session.caller(inputs), []
                for _ in range(runs):
                    began = time.perf_counter()
                    call()
                    result.append((time.perf_counter() - began) * 1e3)
        except SessionError as error:
            fault = str(error)
        connection.send((fault, result))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
