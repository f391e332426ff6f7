"""Prints the module around passes: `--mlir-print-ir-after-all` and its kin."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from torch_mlir import ir

from secateur.compiler.pipeline.passmanager import Instrumentation
from secateur.compiler.pipeline.pipeline_text import Step
from secateur.passes.base import PassContext


@dataclasses.dataclass(frozen=True)
class PrintOptions:
    """How IR is printed. `elide_larger` leaves out constants with more elements; None prints all."""

    generic: bool = False
    debug_info: bool = False
    elide_larger: int | None = None
    source_name: str = "-"

    def text(self, module: ir.Module, may_be_invalid: bool = False) -> str:
        """The module's text, with a newline at the end."""
        shown = module.operation.get_asm(
            enable_debug_info=self.debug_info,
            print_generic_op_form=self.generic or may_be_invalid,
            large_elements_limit=self.elide_larger,
            assume_verified=True,
        )
        if self.debug_info:
            shown = shown.replace('loc("-":', f'loc("{self.source_name}":')
        return shown if shown.endswith("\n") else shown + "\n"


@dataclasses.dataclass(frozen=True)
class DumpOptions:
    """When to print. `before` and `after` are names of passes; `tree` a folder that gets a file per dump."""

    before_all: bool = False
    after_all: bool = False
    after_change: bool = False
    after_failure: bool = False
    before: Sequence[str] = ()
    after: Sequence[str] = ()
    tree: Path | None = None

    def any(self) -> bool:
        """Whether anything is to be printed."""
        flags = (self.before_all, self.after_all, self.after_change, self.after_failure)
        return any(flags) or bool(self.before or self.after)


class IRDumps(Instrumentation):
    """Always prints the whole module (upstream: `--mlir-print-ir-module-scope`), so that a dump can be run again.

    In a tree the files are `<op>_<symbol>/<number>_<pass>.mlir`, as MLIR names them.
    """

    def __init__(self, when: DumpOptions, how: PrintOptions, stream: TextIO) -> None:
        self.when, self.how, self.stream = when, how, stream
        self._count = 0
        self._text = ""

    def begin(self, module: ir.Module, steps: Sequence[Step], context: PassContext) -> None:
        self._count = 0
        if self.when.after_change:
            self._text = self.how.text(module)

    def before(self, step: Step, module: ir.Module) -> None:
        if self.when.before_all or step.name in self.when.before:
            self._dump("Before", step, self.how.text(module))

    def after(self, step: Step, module: ir.Module) -> None:
        wanted = self.when.after_all or step.name in self.when.after or self.when.after_change
        if not wanted or self.when.after_failure:
            self._count += 1
            return
        text = self.how.text(module)
        if not (self.when.after_change and text == self._text):
            self._dump("After", step, text)
        self._text = text
        self._count += 1

    def failed(self, step: Step, module: ir.Module) -> None:
        if self.when.after_all or self.when.after_failure or self.when.after_change or step.name in self.when.after:
            self._dump("After", step, self.how.text(module, may_be_invalid=True), " Failed")

    def _dump(self, moment: str, step: Step, text: str, suffix: str = "") -> None:
        header = f"// -----// IR Dump {moment} {step.title}{suffix} ({step.text}) //----- //\n"
        if self.when.tree is None:
            self.stream.write(header + text + "\n")
            self.stream.flush()
            return
        folder = self.when.tree / "builtin_module_no-symbol-name"
        folder.mkdir(parents=True, exist_ok=True)
        moment = "" if moment == "After" else "_before"
        (folder / f"{self._count}_{step.name}{moment}.mlir").write_text(header + text)
