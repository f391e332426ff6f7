"""lit settings. `lit test/lit` runs everything; `lit test/lit/opt/split.mlir` one file."""

# ruff: noqa: F821 (lit defines `config` and `lit_config`)

import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

import lit.formats

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1]


def _filecheck() -> str:
    # The wheel's console script starts a Python interpreter per call: twenty times slower than the binary behind it.
    try:
        for file in importlib.metadata.files("llvm-testing-tools") or ():
            if file.match("binaries/FileCheck*"):
                path = Path(file.locate())
                if os.access(path, os.X_OK):
                    return str(path)
    except importlib.metadata.PackageNotFoundError:
        pass
    found = os.environ.get("FILECHECK") or shutil.which("FileCheck")
    if found is None:
        lit_config.fatal("no FileCheck: install llvm-testing-tools, or set FILECHECK to its path")
    return found


def _sparsity_opt() -> str:
    script = Path(sys.executable).parent / "sparsity-opt"
    return f"'{script}'" if script.exists() else f"'{sys.executable}' -m secateur.compiler.opt"


config.name = "Secateur"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.excludes = ["Inputs"]
config.test_source_root = str(_HERE)
# Outputs lie beside the build, not among the sources.
config.test_exec_root = str(_ROOT / "build" / "lit")
Path(config.test_exec_root).mkdir(parents=True, exist_ok=True)

config.substitutions += [
    (r"\bsparsity-opt\b", _sparsity_opt()),
    (r"\bFileCheck\b", f"'{_filecheck()}'"),
    (r"%python", f"'{sys.executable}'"),
]
config.environment["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(_ROOT / "docs" / "examples"), str(_HERE / "opt" / "Inputs"), os.environ.get("PYTHONPATH")])
)
