"""Crash reproducers: the input IR with the pipeline that failed on it, in MLIR's own format."""

import dataclasses
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from torch_mlir import ir

from secateur.compiler.pipeline.passmanager import Instrumentation
from secateur.compiler.pipeline.pipeline_text import Step, pipeline_text
from secateur.dialects.output_places import write_whole
from secateur.passes.base import PassContext


class ReproducerError(ValueError):
    """A file is no reproducer; the text says what is missing."""


@dataclasses.dataclass(frozen=True)
class Reproducer:
    """What a run needs besides the IR.

    `load_pass` are classes as `--load-pass` takes them, `load_from` the folders where Python finds their modules.
    `check` is seed and tolerance of `--check-semantics` (None where it was not asked for).
    """

    pipeline: str
    verify_each: bool = True
    weights: str | None = None
    load_pass: tuple[str, ...] = ()
    load_from: tuple[str, ...] = ()
    check: tuple[int, float] | None = None

    def text(self) -> str:
        """The resource block that follows the IR."""
        fields = {
            "pipeline": json.dumps(self.pipeline),
            "disable_threading": "true",
            "verify_each": str(self.verify_each).lower(),
        }
        if self.weights is not None:
            fields["weights"] = json.dumps(self.weights)
        if self.load_pass:
            fields["load_pass"] = json.dumps(",".join(self.load_pass))
            fields["load_from"] = json.dumps(os.pathsep.join(self.load_from))
        if self.check is not None:
            fields["check_semantics"] = json.dumps(f"seed={self.check[0]} tolerance={self.check[1]}")
        body = ",\n".join(f"      {key}: {value}" for key, value in fields.items())
        return f"{{-#\n  external_resources: {{\n    mlir_reproducer: {{\n{body}\n    }}\n  }}\n#-}}\n"


_BLOCK = re.compile(r"mlir_reproducer:\s*\{(.*)\}\s*\}\s*#-\}", re.DOTALL)
_FIELD = re.compile(r'(\w+):\s*("(?:[^"\\]|\\.)*"|true|false)')


def read_reproducer(source: str) -> Reproducer:
    """The settings in the text of a reproducer, also one that `mlir-opt` wrote. Raises `ReproducerError`."""
    block = _BLOCK.search(source)
    if block is None:
        raise ReproducerError("no 'mlir_reproducer' resource: the file is no reproducer")
    fields = {key: json.loads(value) for key, value in _FIELD.findall(block[1])}
    if not isinstance(fields.get("pipeline"), str):
        raise ReproducerError("the 'mlir_reproducer' resource has no pipeline")
    loaded = tuple(c for c in fields.get("load_pass", "").split(",") if c)
    folders = tuple(f for f in fields.get("load_from", "").split(os.pathsep) if f)
    check = None
    if "check_semantics" in fields:
        found = re.fullmatch(r"seed=(-?\d+) tolerance=([\d.e+-]+)", str(fields["check_semantics"]))
        if found is None:
            raise ReproducerError("'check_semantics' is not 'seed=N tolerance=X'")
        check = int(found[1]), float(found[2])
    pipeline, verify_each = fields["pipeline"], fields.get("verify_each", True)
    return Reproducer(pipeline, verify_each, fields.get("weights"), loaded, folders, check)


class WriteReproducer(Instrumentation):
    """Keeps a reproducer at `path` while the pipeline runs and takes it away where all passes succeed.

    So it is there also where an upstream pass ends the process. It is not written over by a later pass of the
    same run. `settings` lacks the pipeline only; its weights are those that the folder holds.
    """

    def __init__(self, path: Path, settings: Reproducer) -> None:
        self.path, self.settings = path, settings
        self._written = False

    def begin(self, module: ir.Module, steps: Sequence[Step], context: PassContext) -> None:
        settings = dataclasses.replace(self.settings, pipeline=pipeline_text(steps))
        text = module.operation.get_asm(enable_debug_info=False)
        write_whole(self.path, (text.rstrip("\n") + "\n\n" + settings.text()).encode())
        self._written = True

    def end(self, module: ir.Module) -> None:
        self.path.unlink(missing_ok=True)
        self._written = False

    def remains(self) -> bool:
        """Whether the last run failed and left the file."""
        return self._written
