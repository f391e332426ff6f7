"""Compiles BERT-base at 90 % BCR 4x16 and prints what that took, as JSON: the last line of standard output.

Seconds are those of `compile_model` (import, passes, IREE, verification) and of writing the bundle. Memory is the
largest resident set of this process and that of its largest child, IREE's compiler, together: no moment had more.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    from secateur.benchmarks import models
    from secateur.compiler import compile_model

    module, inputs = models.pruned(models.bert_base(), "bcr", "4x16", 0.9), models.bert_inputs()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        compiled = compile_model(module, inputs, cache=False)
        compiled.save(Path(folder) / "model.bundle")
        seconds = time.perf_counter() - began
    # Linux counts in KiB.
    peaks = [resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(json.dumps({"seconds": seconds, "stages": compiled.report.seconds, "peak_memory_bytes": sum(peaks)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
