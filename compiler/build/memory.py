"""What a model takes: bytes of its arrays beside those of the dense model, and the memory of a process that runs it.

python -m secateur.compiler.build.memory BUNDLE TARGET THREADS    # peaks of this process, as JSON
"""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from secateur.dialects.entry_points import DECODE, MAIN
from secateur.dialects.schemes.encoding import INDEX_BYTES, VALUE_BYTES

from .report import LayerReport

_STATUS = Path("/proc/self/status")
_TIMEOUT_SECONDS = 600


def dense_bytes(weights: Mapping[str, np.ndarray]) -> int:
    """Bytes of all arrays of an imported model; one that has two symbols counts once."""
    places = {(a.__array_interface__["data"][0], a.nbytes): a.nbytes for a in weights.values() if a.size}
    return sum(places.values())


def csr_bytes(dense: int, layers: Sequence[LayerReport]) -> int:
    """`dense` with each layer that has a sparse encoding in compressed sparse rows: `8 nnz + 4 (rows + 1)`."""
    found = dense
    for layer in layers:
        if layer.encoding != "dense":
            size = layer.rows * layer.columns
            kept = round(size * (1 - layer.sparsity_fraction))
            found += (VALUE_BYTES + INDEX_BYTES) * kept + INDEX_BYTES * (layer.rows + 1) - VALUE_BYTES * size
    return found


@dataclasses.dataclass(frozen=True)
class PeakMemory:
    """Peak resident bytes of a process of its own, before it loaded the model and after it ran it."""

    before_bytes: int
    peak_bytes: int

    @property
    def model_bytes(self) -> int:
        """What loading and running the model added. Pages of weights that are mapped count where they were read."""
        return self.peak_bytes - self.before_bytes


def peak_memory(bundle: Path, target: str, threads: int = 1) -> PeakMemory | None:
    """Runs the model once, on zeros, in a process of its own; None where it does not run or the system does not tell.

    Only for code that this machine runs: an emulator's memory is not the model's.
    """
    command = [sys.executable, "-m", "secateur.compiler.build.memory", str(bundle), target, str(threads)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True)
        return PeakMemory(**json.loads(done.stdout))
    except (OSError, ValueError, TypeError, subprocess.SubprocessError):
        return None


def _peak() -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{_STATUS} has no VmHWM")
    return int(found.group(1)) << 10


def _main(path: str, target: str, threads: str) -> None:
    import iree.runtime  # noqa: F401 - its memory is not the model's

    from secateur.runtime_targets.bundle import open_bundle
    from secateur.runtime_targets.token_count import in_order

    bundle = open_bundle(path, runnable=False)
    # A generating model has no `main`, and runs `decode` most of the time.
    function = MAIN if MAIN in bundle.manifest.functions else DECODE
    specs = bundle.manifest.function(function).inputs
    arrays = in_order(specs, {spec.name: np.zeros(spec.shape, spec.dtype) for spec in specs})
    before = _peak()
    bundle.session(target, int(threads)).run(arrays, function)
    print(json.dumps({"before_bytes": before, "peak_bytes": _peak()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
