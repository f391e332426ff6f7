"""A worker process: started, asked to run, timed by itself, ended."""

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Pools of threads that wait for work in a loop would take the processor from whoever's turn it is.
_PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0", "OMP_DYNAMIC": "FALSE"}
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TVM_NUM_THREADS", "NM_NUM_THREADS")
_WORKER = Path(__file__).with_name("worker.py")


class PeerError(Exception):
    """A peer cannot start or failed; the text is one sentence without the peer's name."""


class PeerProcess:
    """A worker. `start` returns when it has run the model once; then `run` as often as wanted, and `close`."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the process)
        self._buffer = b""
        try:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**os.environ, **(environment or {})},
            )
        except OSError as error:
            raise PeerError(f"'{command[0]}' cannot be started: {error.strerror}") from None

    @classmethod
    def of(
        cls, interpreter: Path, adapter: Path, model: Path, threads: int, outputs: Path, precision: str = "f32"
    ) -> "PeerProcess":
        """The worker that runs the model in the folder `model` on the engine of the file `adapter`."""
        command = [interpreter, "-P", _WORKER, adapter, model, str(threads), outputs, precision]
        environment = {
            **_PASSIVE,
            **dict.fromkeys(_THREADS, str(threads)),
            "PYTHONWARNINGS": "ignore",
            # Tools that an engine starts are those of its own environment, and none may install anything.
            "PATH": f"{interpreter.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PIP_NO_INDEX": "1",
        }
        return cls(command, environment)

    def start(self, timeout: float = 600.0) -> dict[str, Any]:
        """Waits until the model has run once. Returns `load_seconds`, `first_run_seconds` and `versions`.

        Raises `PeerError`, and ends the process, where that fails or takes longer than `timeout` seconds.
        """
        return self._answer(timeout)

    def run(self, count: int = 1, timeout: float = 120.0) -> list[float]:
        """Runs the model `count` times; the seconds of each run by the worker's clock.

        Raises `PeerError`, and ends the process, where it fails or takes longer than `timeout` seconds.
        """
        return self._ask(count, timeout)["seconds"]

    def predict(self, arrays: Mapping[str, np.ndarray], scratch: Path, timeout: float = 600.0) -> list[np.ndarray]:
        """The outputs for `arrays`, by name and with as many rows as there are inputs; the model runs them one by one.

        Raises `PeerError` as `run` does. The worker's inputs are others afterwards.
        """
        asked, found = scratch / "asked.npz", scratch / "found.npz"
        np.savez(asked, **arrays)
        self._ask({"predict": [str(asked), str(found)]}, timeout)
        with np.load(found) as outputs:
            return [outputs[name] for name in outputs.files]

    def _ask(self, request: Any, timeout: float) -> dict[str, Any]:
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(f"{json.dumps(request)}\n".encode())
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise PeerError(self._epitaph()) from None
        return self._answer(timeout)

    def cpu_seconds(self) -> float:
        """Processor time that the worker took so far, all threads together."""
        # The name in field 2 may hold spaces; what follows the last parenthesis does not.
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Ends the worker. May be called twice."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _answer(self, timeout: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        descriptor, end = self._process.stdout.fileno(), time.monotonic() + timeout
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                self._process.kill()
                raise PeerError(f"it took more than {timeout:.0f} s")
            data = os.read(descriptor, 1 << 16)
            if not data:
                raise PeerError(self._epitaph())
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        values = json.loads(line)
        if "error" in values:
            raise PeerError(values["error"])
        return values

    def _epitaph(self) -> str:
        code = self._process.wait()
        if self._log.closed:
            return "it was closed"
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 4096))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        ending = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"it {ending}" + (f": {lines[-1].strip()[:200]}" if lines else "")


def relative_l2(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    """The largest `|a - b|_2 / |b|_2` over the outputs; NaN where sizes or numbers of outputs differ,
    or one holds a NaN."""
    if [a.size for a in found] != [b.size for b in expected]:
        return float("nan")
    errors = []
    for a, b in zip(found, expected, strict=True):
        reference = b.astype(np.float64).ravel()
        error = np.linalg.norm(a.astype(np.float64).ravel() - reference)
        errors.append(float(error / (np.linalg.norm(reference) or 1.0)))
    # Python's `max` would lose a NaN.
    return float(np.max(errors, initial=0.0))
