"""The pass manager from Python: records, failures, instrumentation."""

import dataclasses
import gc
from typing import ClassVar

import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import Instrumentation, PassManagerOptions, PipelineError, run_pipeline
from secateur.compiler.pipeline.pipeline_text import PassNames, PipelineSyntaxError
from secateur.passes.base import Pass, PassContext, PassFailure, walk

SOURCE = """
func.func @f(%x: i32) -> i32 {
  %0 = arith.muli %x, %x : i32
  %1 = arith.muli %x, %x : i32
  %2 = arith.addi %0, %1 : i32
  return %2 : i32
}
"""


@dataclasses.dataclass(frozen=True)
class Count(Pass):
    """Counts multiplications."""

    name: ClassVar[str] = "count"

    def run(self, module, context):
        context.count("products", len(walk(module, "arith.muli")))


@dataclasses.dataclass(frozen=True)
class Fail(Pass):
    """Fails in the way that `how` says."""

    name: ClassVar[str] = "fail"
    how: str = "failure"

    def run(self, module, context):
        context.count("tried")
        op = walk(module, "arith.addi")[0]
        if self.how == "failure":
            raise PassFailure(op, "is an addition")
        if self.how == "emit":
            op.location.emit_error("emitted and nothing raised")
        if self.how == "bug":
            raise KeyError("missing")
        if self.how == "mlir":
            ir.Attribute.parse("#nothing")


NAMES = PassNames({"count": Count, "fail": Fail}, {})


@pytest.fixture
def module():
    return ir.Module.parse(SOURCE, make_context())


def test_records_by_pass_and_in_all(module):
    context = PassContext()
    context.count("products", 10)
    result = run_pipeline(module, "count,cse,count", context, PassManagerOptions(names=NAMES))
    assert [(r.text, r.statistics) for r in result.passes] == [
        ("count", {"products": 2}),
        ("cse", {}),
        ("count", {"products": 1}),
    ]
    assert context.statistics["products"] == 13
    assert result.statistics()["products"] == 3
    assert all(r.seconds > 0 for r in result.passes)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("failure", "m.mlir:5:8: error: 'arith.addi' op is an addition\npass 'fail' failed"),
        ("emit", "m.mlir:5:8: error: emitted and nothing raised\npass 'fail{how=emit}' failed"),
        ("bug", "pass 'fail{how=bug}' failed: internal error: KeyError: 'missing' (test_run_pipeline.py:"),
        ("mlir", "pass 'fail{how=mlir}' failed"),
    ],
)
def test_failure_names_pass_and_place(module, how, text):
    seen = []
    options = PassManagerOptions(names=NAMES, source_name="m.mlir", on_diagnostic=seen.append)
    context = PassContext()
    with pytest.raises(PipelineError) as caught:
        run_pipeline(module, "count,fail" if how == "failure" else f"count,fail{{how={how}}}", context, options)
    error = caught.value
    assert text in str(error)
    assert error.step.startswith("fail")
    assert [r.name for r in error.finished] == ["count"]
    assert context.statistics["tried"] == 1
    assert error.diagnostics == seen
    assert (how == "bug") == (not seen)


def test_an_upstream_failure_says_what_mlir_says(module):
    with pytest.raises(PipelineError, match=r"unable to schedule pass 'AffineLoopUnroll'.*\npass 'affine-loop-unroll'"):
        run_pipeline(module, "affine-loop-unroll", PassContext())


def test_nothing_runs_where_the_text_is_wrong(module):
    context = PassContext()
    with pytest.raises(PipelineSyntaxError):
        run_pipeline(module, "count,nothing", context, PassManagerOptions(names=NAMES))
    assert not context.statistics


def test_instrumentation_is_told_in_order_and_may_stop(module):
    told = []

    class Spy(Instrumentation):
        def begin(self, module, steps, context):
            told.append(("begin", len(steps)))

        def before(self, step, module):
            told.append(("before", step.text))

        def after(self, step, module):
            told.append(("after", step.text))
            if step.text == "cse":
                raise PipelineError("enough", step.text)

        def failed(self, step, module):
            told.append(("failed", step.text))

        def end(self, module):
            told.append(("end", ""))

    options = PassManagerOptions(names=NAMES, instrumentations=[Spy()])
    with pytest.raises(PipelineError, match="enough"):
        run_pipeline(module, "count,cse,count", PassContext(), options)
    assert told == [
        ("begin", 3),
        ("before", "count"),
        ("after", "count"),
        ("before", "cse"),
        ("after", "cse"),
        ("failed", "cse"),
    ]
    told.clear()
    run_pipeline(module, "count", PassContext(), options)
    assert told[-1] == ("end", "")


def test_the_context_has_the_dialects_and_can_be_made_twice():
    for _ in range(2):
        context = make_context()
        for dialect in ("torch", "torch_c", "sparsity", "linalg", "vector"):
            assert context.is_dialect_loaded(dialect)
        assert not context.allow_unregistered_dialects
    assert make_context(allow_unregistered_dialects=True).allow_unregistered_dialects


def test_a_pass_that_fails_leaves_handlers_detached(module):
    outer = []
    handler = module.context.attach_diagnostic_handler(lambda d: outer.append(d.message) or True)
    with pytest.raises(PipelineError):
        run_pipeline(module, "fail", PassContext(), PassManagerOptions(names=NAMES))
    assert outer == []
    with module.context:
        ir.Location.unknown().emit_error("after")
    assert outer == ["after"]
    handler.detach()
    gc.collect()
