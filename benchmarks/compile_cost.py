"""Compiles BERT-base at 90 % BCR 4x16 and prints what that took, as JSON: the last line of standard output.

Seconds are those of `compile_model` (import, passes, IREE, verification) and of writing the bundle. Memory is the
largest resident set of this process and that of its largest child, IREE's compiler, together: no moment had more.
Linux keeps the peak of every process (`VmHWM`); `ru_maxrss` would count that of the parent in its children too.
"""

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path

from secateur.dialects.scratch import ScratchFolder

_POLL_SECONDS = 0.01


def peak_bytes(process: int | str) -> int:
    """The largest resident set that a process ever had; 0 where it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def children() -> list[str]:
    """Process numbers of the children of this process."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if f"PPid:\t{os.getpid()}\n" in status.read_text():
                found.append(status.parent.name)
    return found


class ChildrenPeak(threading.Thread):
    """Looks at the children's peaks again and again; `largest` is the largest seen, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.largest = 0

    def run(self) -> None:
        while True:
            self.largest = max([self.largest, *map(peak_bytes, children())])
            time.sleep(_POLL_SECONDS)


def main() -> int:
    from secateur.compiler import compile_model

    from . import models

    parser = argparse.ArgumentParser(prog="python -m secateur.benchmarks.compile_cost")
    parser.add_argument("--layers", type=int, default=12, help="encoder layers")
    module = models.pruned(models.bert_base(parser.parse_args().layers), "bcr", "4x16", 0.9)
    inputs = models.bert_inputs()
    watch = ChildrenPeak()
    watch.start()
    began = time.perf_counter()
    with ScratchFolder("bench") as folder:
        compiled = compile_model(module, inputs, cache=False)
        compiled.save(Path(folder) / "model.bundle")
        seconds = time.perf_counter() - began
    memory = peak_bytes("self") + watch.largest
    print(json.dumps({"seconds": seconds, "stages": compiled.report.seconds, "peak_memory_bytes": memory}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
