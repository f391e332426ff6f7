"""`secateur` on one bundle after the other, each in a process of its own that is forked when all is imported.

python forked_runs.py INPUT.npy BUNDLE ... prints a JSON object per bundle: how the process ended (`code`; negative: the
number of a signal), the text of its errors, and the file with the outputs.
"""

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import iree.runtime  # noqa: F401
import numpy as np

from secateur.commands import main
from secateur.compiler.build.compiled_model import CompiledModel  # noqa: F401
from secateur.runtime_targets.iree import Session  # noqa: F401

SECONDS = 60


def child(bundle: str, given: str, result: str) -> None:
    """Runs the command and leaves what it said beside the outputs."""
    signal.alarm(SECONDS)
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
        code = main(["run", bundle, "--input", f"x={given}", "-o", f"{result}.npz", "--quiet"])
    Path(f"{result}.err").write_text(errors.getvalue())
    # No exit handlers: they are the parent's.
    os._exit(code)


def run(bundle: str, given: str) -> dict:
    """One bundle."""
    with tempfile.TemporaryDirectory() as folder:
        result = f"{folder}/result"
        process = os.fork()
        if process == 0:
            child(bundle, given, result)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        found = {"code": code, "error": "", "output": None}
        with contextlib.suppress(OSError):
            found["error"] = Path(f"{result}.err").read_text()
        if code == 0:
            found["output"] = np.load(f"{result}.npz")["y"].tolist()
        return found


if __name__ == "__main__":
    given, *bundles = sys.argv[1:]
    for bundle in bundles:
        print(json.dumps(run(bundle, given)), flush=True)
