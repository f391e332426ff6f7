"""Results on disk: a line of JSON per measurement, appended so that a run can be taken up again."""

import dataclasses
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def machine() -> dict[str, Any]:
    """The machine that measures: processor, cores that this process may use, memory, and Secateur's own versions."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    names = ("secateur", "torch", "torch-mlir", "iree-base-compiler", "iree-base-runtime", "numpy", "transformers")
    return {
        "processor": model,
        "architecture": platform.machine(),
        "vector_extensions": _vector_extensions(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": " ".join([platform.system(), *platform.release().split(".")[:1]]),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in names},
    }


def _vector_extensions() -> list[str]:
    from secateur.runtime_targets.cpu import cpu_features

    wanted = ("avx2", "fma", "avx512f", "amx-tile", "asimd", "sve")
    return sorted(set(wanted) & set(cpu_features()))


@dataclasses.dataclass
class Results:
    """The file `path`. A line is `{"measurement": name, "machine": ..., "finished": time, "record": ...}`."""

    path: Path

    def read(self) -> dict[str, dict[str, Any]]:
        """The newest line of every measurement; a line that was cut off is passed over."""
        lines: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            for text in self.path.read_text().splitlines():
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                lines[line["measurement"]] = line
        return lines

    def append(self, line: dict[str, Any]) -> None:
        """Adds a line; it is on the disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b") as file:
            if file.tell() and _last_byte(file) != b"\n":
                file.write(b"\n")
            file.write((json.dumps(line) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())


def _last_byte(file: Any) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
