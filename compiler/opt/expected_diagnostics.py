"""`--verify-diagnostics`: compares what was emitted with `expected-error @+1 {{...}}` comments in the source.

The grammar is MLIR's (SourceMgrDiagnosticVerifierHandler): `expected-(error|note|remark|warning)[-re]`, then
optionally `@+N`, `@-N`, `@above`, `@below` or `@unknown`, then `{{text}}` at the end of the line. The text has to be
part of the message; with `-re`, what stands in `{{...}}` inside of it is a regular expression.
"""

import dataclasses
import re

from secateur.compiler.pipeline.diagnostics import Diagnostic

_EXPECTED = re.compile(
    r"expected-(error|note|remark|warning)(-re)? *(?:@([+-][0-9]+|above|below|unknown))? *\{\{(.*)\}\}\s*$"
)

# MLIR attaches this note to what is emitted at an op; mlir-opt turns it off where it verifies diagnostics.
_ATTACHED = "see current operation:"


@dataclasses.dataclass
class Expected:
    """One comment. `written` is the line it stands on, `line` the one it speaks of (0: an unknown location)."""

    severity: str
    text: str
    written: int
    line: int
    pattern: re.Pattern[str] | None = None
    found: bool = False

    def matches(self, message: str) -> bool:
        """Whether a message is what was expected."""
        return self.text in message if self.pattern is None else self.pattern.search(message) is not None


class MalformedExpectation(ValueError):
    """An `expected-error-re` whose regular expression does not parse."""


def parse_expected(source: str) -> list[Expected]:
    """The expectations of a source text; lines count from 1."""
    found: list[Expected] = []
    waiting: list[Expected] = []
    previous = 0
    for number, text in enumerate(source.splitlines(), 1):
        match = _EXPECTED.search(text)
        if match is None:
            for expected in waiting:
                expected.line = number
            waiting.clear()
            previous = number
            continue
        severity, is_regex, place, wanted = match.groups()
        expected = Expected(severity, wanted, number, number, _pattern(wanted, number) if is_regex else None)
        match place:
            case "unknown":
                expected.line = 0
            case "above":
                expected.line = previous
            case "below":
                waiting.append(expected)
            case str():
                expected.line = number + int(place)
        found.append(expected)
    return found


def _pattern(text: str, line: int) -> re.Pattern[str]:
    pieces = re.split(r"\{\{(.*?)\}\}", text)
    try:
        return re.compile("".join(f"(?:{p})" if i % 2 else re.escape(p) for i, p in enumerate(pieces)))
    except re.error as error:
        raise MalformedExpectation(f"line {line}: invalid regular expression in '{text}': {error}") from None


def mismatches(source: str, name: str, emitted: list[Diagnostic], only_expected: bool = False) -> list[Diagnostic]:
    """What was emitted but not expected, and what was expected but not emitted, as errors in the file `name`.

    Notes count on their own. One expectation stands for one diagnostic. `only_expected` accepts further
    diagnostics, as `--verify-diagnostics=only-expected` does.
    """
    expected = parse_expected(source)
    wrong: list[Diagnostic] = []
    counted = [d for outer in emitted for d in (outer, *outer.notes) if not d.message.startswith(_ATTACHED)]
    for diagnostic in counted:
        candidates = [e for e in expected if e.line == diagnostic.line and not e.found]
        if diagnostic.line and diagnostic.file != name:
            candidates = []
        fitting = [e for e in candidates if e.matches(diagnostic.message)]
        same = next((e for e in fitting if e.severity == diagnostic.severity), None)
        if same is not None:
            same.found = True
        elif not only_expected:
            message = f"unexpected {diagnostic.severity}: {diagnostic.message}"
            wrong.append(Diagnostic("error", message, diagnostic.file, diagnostic.line, diagnostic.column))
    for e in expected:
        if not e.found:
            wrong.append(Diagnostic("error", f'expected {e.severity} "{e.text}" was not produced', name, e.written, 1))
    return wrong
