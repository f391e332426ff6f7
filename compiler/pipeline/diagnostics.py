"""Diagnostics as data: collected from MLIR while a parser or a pass runs, and shown as `file:line:column`."""

import dataclasses
import types
from collections.abc import Callable, Iterator

from torch_mlir import ir


@dataclasses.dataclass(frozen=True)
class Diagnostic:
    """One message. `severity` is error, warning, remark or note; `line` and `column` count from 1, and are 0
    (with an empty `file`) where the location is unknown.
    """

    severity: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    notes: tuple["Diagnostic", ...] = ()

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else ""
        return "\n".join([f"{place}{self.severity}: {self.message}", *map(str, self.notes)])

    def show(self, source: str | None = None) -> str:
        """The text of `str()`, each message followed by its line of `source` and a caret."""
        shown = str(dataclasses.replace(self, notes=()))
        lines = source.splitlines() if source is not None else []
        if 0 < self.line <= len(lines):
            shown += f"\n{lines[self.line - 1]}\n{' ' * (self.column - 1)}^"
        return "\n".join([shown, *(note.show(source) for note in self.notes)])


def file_location(location: ir.Location) -> ir.FileLineColLoc | None:
    """The first place in a file that `location` names: through names, calls (callee first) and fusions."""
    match location:
        case ir.FileLineColLoc():
            return location
        case ir.NameLoc():
            return file_location(location.child_loc)
        case ir.CallSiteLoc():
            return file_location(location.callee) or file_location(location.caller)
        case ir.FusedLoc():
            return next((found for inner in location.locations if (found := file_location(inner))), None)
    return None


def from_mlir(diagnostic: ir.Diagnostic, rename: dict[str, str]) -> Diagnostic:
    """A copy of MLIR's diagnostic, which lives only as long as its handler runs.

    `rename` maps file names (MLIR calls a parsed string `-`).
    """
    place = file_location(diagnostic.location)
    severity = str(diagnostic.severity).rpartition(".")[2].lower()
    notes = tuple(from_mlir(note, rename) for note in diagnostic.notes)
    if place is None:
        return Diagnostic(severity, diagnostic.message, notes=notes)
    file = rename.get(place.filename, place.filename)
    return Diagnostic(severity, diagnostic.message, file, place.start_line, place.start_col, notes)


class DiagnosticLog:
    """Collects what a context emits between entry and exit of a `with` block; nothing else sees it then.

    `listener` is told each diagnostic at once.
    """

    def __init__(
        self,
        context: ir.Context,
        rename: dict[str, str] | None = None,
        listener: Callable[[Diagnostic], None] | None = None,
    ) -> None:
        self.context, self.rename, self.listener = context, rename or {}, listener
        self.diagnostics: list[Diagnostic] = []

    def __enter__(self) -> "DiagnosticLog":
        self._emitted_before = self.context.emit_error_diagnostics
        self.context.emit_error_diagnostics = True
        self._handler = self.context.attach_diagnostic_handler(self._take)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self._handler.detach()
        # The handler refers to this object, and the collector does not look into it: together they keep the context.
        del self._handler
        self.context.emit_error_diagnostics = self._emitted_before

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self.diagnostics)

    def _take(self, diagnostic: ir.Diagnostic) -> bool:
        self.add(from_mlir(diagnostic, self.rename))
        return True

    def add(self, diagnostic: Diagnostic) -> None:
        """Records a diagnostic that did not come from MLIR."""
        self.diagnostics.append(diagnostic)
        if self.listener is not None:
            self.listener(diagnostic)

    def errors(self) -> int:
        """How many errors were recorded."""
        return sum(d.severity == "error" for d in self.diagnostics)
