"""The text of a pipeline: steps, options, and what is wrong with a bad one."""

import dataclasses
from typing import ClassVar

import pytest

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.pass_options import convert, split_options
from secateur.compiler.pipeline.pipeline_text import PassNames, PipelineSyntaxError, parse_pipeline, pipeline_text
from secateur.compiler.pipeline.pipelines import NAMED
from secateur.passes.base import Pass


@dataclasses.dataclass(frozen=True)
class Sample(Pass):
    """A pass with options of all types."""

    name: ClassVar[str] = "sample"

    flag: bool = False
    row_tile: int = 8
    fraction: float = 0.5
    path: str = ""


NAMES = PassNames({"sample": Sample}, {"twice": "sample,cse", "outer": "twice,sample{row-tile=2}", "loop": "cse,loop"})


@pytest.fixture(scope="module")
def context():
    return make_context()


def test_steps_are_flat_and_in_order(context):
    steps = parse_pipeline("builtin.module( cse , func.func(canonicalize,cse), outer )", context, NAMES)
    assert [(s.text, s.anchors) for s in steps] == [
        ("cse", ()),
        ("canonicalize", ("func.func",)),
        ("cse", ("func.func",)),
        ("sample", ()),
        ("cse", ()),
        ("sample{row-tile=2}", ()),
    ]
    assert steps[-1].python == Sample(row_tile=2)


def test_options_reach_the_fields(context):
    text = """sample{flag row-tile=4 fraction=0.25 path="a b"}"""
    (step,) = parse_pipeline(text, context, NAMES)
    assert step.python == Sample(True, 4, 0.25, "a b")


def test_text_of_steps_parses_to_the_same_steps(context):
    text = """sample{row-tile=4 path="a, b"},func.func(canonicalize{max-iterations=2},cse),twice"""
    steps = parse_pipeline(text, context, NAMES)
    assert parse_pipeline(pipeline_text(steps), context, NAMES) == steps


@pytest.mark.parametrize("text", ["", "builtin.module()", "any()"])
def test_empty(context, text):
    assert parse_pipeline(text, context, NAMES) == []


@pytest.mark.parametrize(
    ("text", "message", "marked", "nearest"),
    [
        ("cse,sampel", "unknown pass or pipeline 'sampel'", "sampel", ["sample"]),
        ("cse,canonicalise", "unknown pass or pipeline 'canonicalise'", "canonicalise", ["canonicalize"]),
        ("cse,qqqqqq", "unknown pass or pipeline 'qqqqqq'", "qqqqqq", []),
        ("sample{row-tyle=4}", "no option 'row-tyle'; accepted: flag, row-tile", "row-tyle", ["row-tile"]),
        ("sample{row-tile=4.5}", "expected an integer, found '4.5'", "row-tile", []),
        ("sample{flag=maybe}", "expected true or false, found 'maybe'", "flag", []),
        ("sample{row-tile}", "option 'row-tile' of 'sample': expected a value", "row-tile", []),
        ("cse{limit=1}", "'cse' has no option 'limit'", "limit", []),
        ("func.func(sample)", "cannot be nested in 'func.func'", "sample", []),
        ("func.func(twice)", "the pipeline 'twice' runs on builtin.module", "twice", []),
        ("twice{a=1}", "takes no options", "twice", []),
        ("cse,", "expected a pass name", "", []),
        ("builtin.module(cse", "expected ',' or ')'", "(", []),
        ("cse)", "expected ',' or the end", ")", []),
        ("sample{flag", "expected '}'", "{", []),
        ("sample{=}", "malformed option", "=", []),
    ],
)
def test_faults_are_marked(context, text, message, marked, nearest):
    with pytest.raises(PipelineSyntaxError) as caught:
        parse_pipeline(text, context, NAMES)
    error = caught.value
    assert message in error.message
    assert text[error.position : error.position + error.length].startswith(marked) or marked == ""
    assert error.nearest == nearest
    _, shown, caret, *_ = str(error).splitlines()
    assert shown == f"  {text}"
    assert caret.index("^") == error.position + 2


def test_a_pipeline_that_names_itself(context):
    with pytest.raises(PipelineSyntaxError, match="names itself in the pipeline 'loop'"):
        parse_pipeline("loop", context, NAMES)


def test_every_named_pipeline_parses(context):
    names = PassNames(pipelines=NAMED)
    for name in NAMED:
        assert parse_pipeline(name, context, names)


def test_split_options():
    assert split_options(""" a=1  b  c='x y' d={p q} """) == [
        ("a", "1", 1),
        ("b", None, 6),
        ("c", "x y", 9),
        ("d", "p q", 17),
    ]


def test_convert_takes_optional_types():
    assert convert("3", int | None) == 3
    with pytest.raises(ValueError, match="a number"):
        convert("x", float)
