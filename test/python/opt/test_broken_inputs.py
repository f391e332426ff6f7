"""Inputs that would end the process or go unnoticed, and passes that cannot be loaded: each is told in a sentence."""

import pytest

from secateur.compiler.opt.command import main
from secateur.compiler.opt.nesting import DEEPEST, too_deep
from secateur.compiler.opt.reproducer import Reproducer, read_reproducer

LAYER = """
module attributes {{sparsity.target = #sparsity.target<{{vector_bytes = {bytes} : i64, registers = 16 : i64}}>}} {{
func.func @f(%x: tensor<2x4xf32>, %values: tensor<8xf32>) -> tensor<2x2xf32> {{
  %c = "sparsity.weight"() {{source = dense<[0, 1, 2, 3]> : tensor<4xi32>}} : () -> tensor<4xi32>
  %s = "sparsity.weight"() {{source = dense<[[[{begin}, 4]]]> : tensor<1x1x2xi32>}} : () -> tensor<1x1x2xi32>
  %o = "sparsity.weight"() {{source = dense<{offset}> : tensor<1xi32>}} : () -> tensor<1xi32>
  %r = "sparsity.weight"() {{source = dense<[[0, {row}]]> : tensor<1x2xi32>}} : () -> tensor<1x2xi32>
  %w = "sparsity.weight"() {{source = dense<[0, 1]> : tensor<2xi32>}} : () -> tensor<2xi32>
  %v = "sparsity.weight"() {{source = dense<1.0> : tensor<8xf32>}} : () -> tensor<8xf32>
  %y = "sparsity.packed_linear"(%x, %v, %c, %s, %o, %r, %w) {{row_tile = 2 : i64, row_masks = [3],
       sparsity.schedule = #sparsity.schedule<{{token_vectors = {vectors} : i64}}>,
       operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>}}
       : (tensor<2x4xf32>, tensor<8xf32>, tensor<4xi32>,
       tensor<1x1x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}}
}}
"""
RIGHT = {"bytes": 16, "begin": 0, "offset": 0, "row": 1, "vectors": 1}


def told(tmp_path, capsys, text, *flags, code=1):
    """What the tool writes on standard error."""
    path = tmp_path / "in.mlir"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main([str(path), *flags]) == code
    error = capsys.readouterr().err
    assert "internal" not in error
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    "text",
    [
        "module {" * 20000 + "}" * 20000,
        "module {" * 20000,
        "module attributes {a.b = " + "[" * 20000 + "]" * 20000 + "} {}",
        "module attributes {a.b = " + "{a = " * 20000 + "1" + "}" * 20000 + "} {}",
        "func.func private @f(" + "tuple<" * 20000 + "i32" + ">" * 20000 + ")",
        "func.func private @f(" + "(" * 20000 + "i32" + ") -> i32" * 20000 + ")",
        "!a0 = i32\n" + "".join(f"!a{i + 1} = tuple<!a{i}>\n" for i in range(20000)) + "func.func private @f(!a20000)",
        "#a0 = [1]\n"
        + "".join(f"#a{i + 1} = [#a{i}, #a{i}]\n" for i in range(40))
        + "module attributes {a.b = #a40} {}",
    ],
)
def test_what_is_too_deep_for_the_parser_is_refused(tmp_path, capsys, text):
    assert "the parser takes no more" in told(tmp_path, capsys, text)


def test_brackets_in_texts_comments_and_arrows_do_not_count():
    quiet = '// {{{\nfunc.func private @f() -> i32 attributes {a = "[[[[", b = affine_set<(d) : (d >= 0)>}\n'
    assert too_deep(quiet * (2 * DEEPEST), "x") is None
    assert too_deep("module {" * DEEPEST + "}" * DEEPEST, "x") is None


def test_a_nul_byte_is_told(tmp_path, capsys):
    assert "line 2 holds a NUL byte" in told(tmp_path, capsys, b"module {\n\0", code=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": 7}, "expected rows from 0 to 1, found 0 to 7"),
        ({"row": -1}, "expected rows from 0 to 1, found -1 to 0"),
        ({"begin": 5}, "expected segments inside its 4 columns"),
        ({"begin": -3}, "expected segments inside its 4 columns"),
        ({"offset": 9}, "expected offsets inside its 8 values"),
        ({"offset": -2}, "expected offsets inside its 8 values"),
        ({"bytes": 2}, "expected 'vector_bytes' of #sparsity.target to be a multiple of 4, found 2"),
    ],
)
def test_a_changed_table_of_a_packed_layer_is_told(tmp_path, capsys, change, message):
    flags = ("--sparsity-tile", "--sparsity-number-format=weights=int8", "--sparsity-quantize")
    assert message in told(tmp_path, capsys, LAYER.format(**{**RIGHT, **change}), *flags)


def test_a_huge_schedule_ends(tmp_path, capsys):
    told(tmp_path, capsys, LAYER.format(**{**RIGHT, "vectors": 2**63 - 1}), "--sparsity-tile", code=0)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import dataclasses\n\nno_such_name\n", "NameError: name 'no_such_name' is not defined ({file}:3)"),
        ("def broken(:\n", "({file}:1)"),
        ("x = 1\n", "has no attribute 'Pass'"),
        ("class Pass:\n    pass\n", "TypeError"),
    ],
)
def test_a_pass_that_cannot_be_loaded_is_told_with_file_line_and_exception(
    tmp_path, capsys, monkeypatch, source, reason
):
    name = f"unloadable_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    error = told(tmp_path, capsys, "module {}", f"--load-pass={name}:Pass", code=2)
    assert reason.format(file=tmp_path / f"{name}.py") in error


def test_a_reproducer_keeps_the_check_and_where_passes_came_from():
    settings = Reproducer("cse", False, "/w", ("a:B",), ("/passes", "/more"), (7, 1e-3))
    assert read_reproducer(settings.text()) == settings
    assert read_reproducer(Reproducer("cse").text()) == Reproducer("cse")
