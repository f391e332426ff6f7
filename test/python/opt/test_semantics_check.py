"""`--check-semantics`: its inputs, its comparison, and that it stops at the pass that is wrong."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.opt.semantics_check import SemanticsCheck, difference, random_inputs
from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import PassManagerOptions, PipelineError, run_pipeline
from secateur.compiler.pipeline.pipeline_text import PassNames
from secateur.passes.base import Pass, PassContext, functions, walk


@dataclasses.dataclass(frozen=True)
class Swap(Pass):
    """Swaps the operands of subtractions."""

    name: ClassVar[str] = "swap"

    def run(self, module, context):
        for op in walk(module, "arith.subf"):
            lhs, rhs = op.operation.operands
            op.operation.operands[0], op.operation.operands[1] = rhs, lhs


@dataclasses.dataclass(frozen=True)
class Hide(Pass):
    """Makes every function private."""

    name: ClassVar[str] = "hide"

    def run(self, module, context):
        for function in functions(module):
            function.attributes["sym_visibility"] = ir.StringAttr.get("private")


@dataclasses.dataclass(frozen=True)
class Forget(Pass):
    """Drops what is stored to state."""

    name: ClassVar[str] = "forget"

    def run(self, module, context):
        for op in walk(module, "ml_program.global_store"):
            op.operation.erase()


NAMES = PassNames({"swap": Swap, "hide": Hide, "forget": Forget}, {})
SUBTRACT = """
func.func @f(%x: tensor<2x3xf32>, %y: tensor<2x3xf32>) -> tensor<2x3xf32> {
  %0 = arith.subf %x, %y : tensor<2x3xf32>
  return %0 : tensor<2x3xf32>
}
"""


def check(source, text):
    module = ir.Module.parse(source, make_context())
    options = PassManagerOptions(names=NAMES, instrumentations=[SemanticsCheck()])
    return run_pipeline(module, text, PassContext(), options)


def test_a_pass_that_keeps_the_results_is_fine():
    assert len(check(SUBTRACT, "cse,func.func(canonicalize),cse").passes) == 3


def test_the_first_pass_that_changes_the_results_is_named():
    with pytest.raises(PipelineError, match="pass 'swap' changes what @f computes") as caught:
        check(SUBTRACT, "cse,swap,swap")
    assert [r.name for r in caught.value.finished] == ["cse", "swap"]


def test_state_that_is_not_kept_is_a_change():
    source = """
    ml_program.global private mutable @sum(dense<1.0> : tensor<2xf32>) : tensor<2xf32> {sparsity.state}
    func.func @f(%x: tensor<2xf32>) -> tensor<2xf32> {
      %old = ml_program.global_load @sum : tensor<2xf32>
      %new = arith.addf %old, %x : tensor<2xf32>
      ml_program.global_store @sum = %new : tensor<2xf32>
      return %old : tensor<2xf32>
    }"""
    assert len(check(source, "cse,canonicalize").passes) == 2
    with pytest.raises(PipelineError, match="pass 'forget' changes what @f computes"):
        check(source, "forget")


def test_a_function_that_is_gone_is_a_change():
    with pytest.raises(PipelineError, match="pass 'hide' removed function @f"):
        check(SUBTRACT, "hide")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("func.func @f(%x: memref<2xf32>) { return }", "argument 0 is a memref<2xf32>"),
        ("func.func private @f()", "no public function"),
    ],
)
def test_what_cannot_be_run_is_told_before_the_first_pass(source, text):
    with pytest.raises(PipelineError, match=text):
        check(source, "cse")


def test_inputs_are_valid_indices():
    source = """
    func.func @f(%ids: tensor<4x50xi64>, %mask: tensor<4x50xi64>, %table: tensor<7x2xf32>, %d: tensor<?xf32>)
        -> tensor<4x50x2xf32> {
      %0 = "sparsity.embedding"(%ids, %table) {operandSegmentSizes = array<i32: 1, 1, 0>}
            : (tensor<4x50xi64>, tensor<7x2xf32>) -> tensor<4x50x2xf32>
      return %0 : tensor<4x50x2xf32>
    }"""
    module = ir.Module.parse(source, make_context())
    ids, mask, table, dynamic = random_inputs(next(functions(module)), seed=1)
    assert set(np.unique(ids)) == set(range(7))
    assert set(np.unique(mask)) == {0, 1}
    assert ids.dtype == np.int64
    assert table.dtype == np.float32
    assert dynamic.shape == (3,)


@pytest.mark.parametrize(
    ("found", "expected", "text"),
    [
        ([1.0, 2.0], [1.0, 2.00001], None),
        ([1.0, 2.0], [1.0, 2.1], "off by"),
        ([np.nan, 2.0], [1.0, 2.0], "NaN"),
        ([1.0, 2.0], [np.nan, 2.0], "NaN"),
        ([np.nan, -np.inf], [np.nan, -np.inf], None),
        ([np.inf, 1.0], [-np.inf, 1.0], "NaN or infinity"),
        ([[1.0]], [1.0], "shape"),
        ([1, 2], [1, 3], "1 of 2 integers"),
        ([0.0], [0.0], None),
        ([1e-3], [0.0], "off by"),
    ],
)
def test_difference(found, expected, text):
    said = difference([np.array(found)], [np.array(expected)], 1e-4)
    assert said is None if text is None else text in said


def test_number_of_results():
    assert difference([], [np.zeros(1)], 1) == "0 results instead of 1"


def fails_after(*calls):
    """An evaluation that cannot run the module at the given calls (0 is before the first pass)."""
    count = iter(range(100))

    def evaluate(module, inputs, weights, function):
        if next(count) in calls:
            raise ValueError("half converted")
        return [inputs[0]]

    return evaluate


def check_with(evaluate, text):
    skipped = []
    instrumentation = SemanticsCheck(evaluate=evaluate, on_skip=skipped.append)
    module = ir.Module.parse(SUBTRACT, make_context())
    options = PassManagerOptions(names=NAMES, instrumentations=[instrumentation])
    run_pipeline(module, text, PassContext(), options)
    return skipped


def test_an_upstream_pass_may_leave_ir_that_cannot_run():
    assert check_with(fails_after(1), "cse,func.func(canonicalize)") == ["cse"]


def test_the_last_pass_and_ours_may_not():
    with pytest.raises(PipelineError, match="cannot be evaluated after pass 'cse': half converted"):
        check_with(fails_after(1), "cse")
    with pytest.raises(PipelineError, match="cannot be evaluated after pass 'swap'"):
        check_with(fails_after(1), "swap,cse")
