"""Matching of `expected-error` comments."""

import pytest

from secateur.compiler.opt.expected_diagnostics import MalformedExpectation, mismatches, parse_expected
from secateur.compiler.pipeline.diagnostics import Diagnostic


def error(line, message, severity="error", notes=()):
    return Diagnostic(severity, message, "f.mlir", line, 1, tuple(notes))


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a // expected-error {{x}}", 1),
        ("// expected-error @+1 {{x}}\nop", 2),
        ("// expected-error@+2 {{x}}\n\nop", 3),
        ("op\n// expected-error @-1 {{x}}", 1),
        ("op\n// expected-note {{y}}\n// expected-error @above {{x}}", 1),
        ("// expected-error @below {{x}}\n// expected-note @below {{y}}\nop", 3),
        ("// expected-error @unknown {{x}}", 0),
    ],
)
def test_place(source, line):
    found = [e for e in parse_expected(source) if e.severity == "error"]
    assert [e.line for e in found] == [line]


def test_what_is_no_expectation():
    assert parse_expected("// expected-error without braces\n// expected-failure {{x}}") == []


def test_a_part_of_the_message_is_enough_and_counts_once():
    source = "op // expected-error {{is bad}}"
    assert mismatches(source, "f.mlir", [error(1, "'op' is bad here")]) == []
    (twice,) = mismatches(source, "f.mlir", [error(1, "is bad"), error(1, "is bad")])
    assert twice.message == "unexpected error: is bad"


@pytest.mark.parametrize(
    "emitted", [error(2, "is bad"), error(1, "is good"), error(1, "is bad", "warning"), error(0, "is bad")]
)
def test_other_line_text_or_severity_is_no_match(emitted):
    wrong = mismatches("op // expected-error {{is bad}}\n", "f.mlir", [emitted])
    assert len(wrong) == 2
    assert len(mismatches("op // expected-error {{is bad}}\n", "f.mlir", [emitted], only_expected=True)) == 1


def test_a_diagnostic_of_another_file_is_no_match():
    emitted = Diagnostic("error", "is bad", "other.mlir", 1, 1)
    assert len(mismatches("op // expected-error {{is bad}}", "f.mlir", [emitted])) == 2


def test_regular_expressions_stand_in_braces():
    source = "op // expected-error-re {{found {{[0-9]+}} (of 3)}}"
    assert mismatches(source, "f.mlir", [error(1, "found 12 (of 3)")]) == []
    assert len(mismatches(source, "f.mlir", [error(1, "found x (of 3)")])) == 2
    with pytest.raises(MalformedExpectation, match="line 1"):
        parse_expected("op // expected-error-re {{found {{[0-9}} }}")


def test_notes_count_but_for_the_one_that_mlir_attaches():
    noted = error(1, "is bad", notes=[error(1, "see here", "note"), error(1, "see current operation: op", "note")])
    assert (
        mismatches("// expected-note @+0 {{see here}}\nop", "f.mlir", [noted])[0].message == "unexpected error: is bad"
    )
    assert len(mismatches("op // expected-error {{is bad}}", "f.mlir", [noted])) == 1


@pytest.mark.parametrize("severity", ["error", "warning", "remark", "note"])
def test_every_severity(severity):
    assert mismatches(f"op // expected-{severity} {{{{x}}}}", "f.mlir", [error(1, "x", severity)]) == []
