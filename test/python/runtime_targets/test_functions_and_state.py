"""Programs with several functions and with state, beside NumPy: called by name, from call to call, and reset."""

import numpy as np
import pytest

from secateur.compiler.semantics.evaluation import SemanticsError, evaluate
from secateur.dialects.weight_store import WeightStore
from secateur.runtime_targets.iree import AssemblyError, Session, assemble, write_parameters
from secateur.runtime_targets.iree.session import SessionError
from secateur.runtime_targets.targets import get_target

from .level4 import parse, rows
from .stateful import PROGRAM, WEIGHTS, Expected, calls, check, compiled


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    assembly, module = compiled()
    archive = tmp_path_factory.mktemp("state") / "w.irpa"
    write_parameters(archive, assembly.parameters)
    return module, archive


@pytest.mark.parametrize("threads", [1, 2])
def test_functions_share_state_from_call_to_call(code, threads):
    session, expected = Session(*code, threads=threads), Expected()
    assert sorted(session.functions) == ["append", "main", "reset", "step", "use"]
    for number, (function, inputs) in enumerate(calls()):
        copies = [array.copy() for array in inputs]
        found = session.run(list(inputs), function)
        check(found, expected.call(function, *copies), f"call {number}, {function}")
        for array in inputs:
            # What was given stays the caller's, and what the caller does with it later stays outside.
            array[...] = -7


def test_the_reference_keeps_state_too():
    module, kept, expected, store = parse(PROGRAM), {}, Expected(), WeightStore()
    store.update(WEIGHTS)
    for number, (function, inputs) in enumerate(calls()):
        if function == "reset":
            kept.clear()
            expected.reset()
            continue
        found = evaluate(module, list(inputs), store, function, kept)
        check(found, expected.call(function, *inputs), f"call {number}, {function}")
    assert sorted(kept) == ["cache", "calls", "cell", "scales"]


def test_each_session_has_state_of_its_own(code):
    first, second, x = Session(*code), Session(*code), rows(0)
    first.run([x], "step")
    np.testing.assert_array_equal(second.run([x])[1], np.full_like(x, 0.5))
    np.testing.assert_allclose(first.run([x])[1], x + 0.25, rtol=1e-6)
    first.reset()
    np.testing.assert_array_equal(first.run([x])[1], np.full_like(x, 0.5))


def test_what_was_returned_stays_as_it_was(code):
    session, x = Session(*code), rows(0)
    (_, cell, _), copy = session.run([x]), np.full_like(x, 0.5)
    session.run([x], "step")
    np.testing.assert_array_equal(cell, copy)


def test_a_kernel_works_in_the_storage_of_state():
    text = PROGRAM[: PROGRAM.index("func.func @append")] + PROGRAM[PROGRAM.index("func.func @step") :]
    _, stream = compiled(text[: text.index("func.func @use")], ["--compile-to=stream"])
    step = stream.decode()
    step = step[step.index("util.func public @step") :]
    step = step[: step.index("util.func public", 1)]
    assert step.count("rw %") == 1 and "stream.cmd.copy" not in step


@pytest.mark.parametrize(
    ("inputs", "function", "message"),
    [
        ([], "main", "the function 'main' takes 1 inputs, found 0"),
        ([], "decode", "the module has no function 'decode'; it has: append, main, reset, step, use"),
        ([rows(0)], "use", r"input 0 is float32 of shape \[8, 16\]; accepted is float32 of shape \[16\]"),
    ],
)
def test_wrong_calls_are_a_sentence(code, inputs, function, message):
    with pytest.raises(SessionError, match=message):
        Session(*code).run(inputs, function)


def _state(declared, body="", name="main"):
    return f"ml_program.global {declared}\nfunc.func @{name}() {{\n{body}\nreturn\n}}"


REFUSED = [
    ("private @s(dense<0.0> : tensor<2xf32>) : tensor<2xf32> {sparsity.state}", "expected state to be 'mutable'"),
    ("private mutable @s : tensor<2xf32> {sparsity.state}", "or as the weight that 'sparsity.state' names, found None"),
    ("private mutable @s(dense<0.0> : tensor<2xf32>) : tensor<2xf32> {sparsity.state = 1 : i64}",
     "expected 'sparsity.state' to be empty or the name of a weight, found 1 : i64"),
    ("private mutable @s(0.0 : f32) : f32 {sparsity.state}", "state to be a tensor of static shape, found f32"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "message"), REFUSED)
def test_state_that_is_none_is_refused(declared, message):
    with pytest.raises(AssemblyError, match=message):
        assemble(parse(_state(declared)), {})
    with pytest.raises(SemanticsError, match=message):
        evaluate(parse(_state(declared)), [], WeightStore())


_GOOD = "private mutable @s(dense<0.0> : tensor<2xf32>) : tensor<2xf32> {sparsity.state}"


_WEIGHT = 'ml_program.global private mutable @{} : tensor<16xf32> {{sparsity.state = "level0"}}\n'
_TWICE = _WEIGHT.format("s") + _WEIGHT.format("t") + "func.func @main() {\nreturn\n}"


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        (_TWICE, "host-cpu", "begins as the array that the state '@s' begins as; each needs an array of its own"),
        (_state(_GOOD, name="reset"), "host-cpu", "has the name '@reset', which is that of the function that resets"),
        (_state("private mutable @s : tensor<2xf32> {sparsity.state = \"gone\"}"), "host-cpu",
         "names the weight 'gone', which the weight store does not hold"),
        (_state("private mutable @s(dense<0.0> : tensor<2xbf16>) : tensor<2xbf16> {sparsity.state}"), "host-cpu",
         "is state of type tensor<2xbf16>; tensors of f16, f32"),
        (_state("private mutable @s(dense<0> : tensor<2xi64>) : tensor<2xi64> {sparsity.state}"), "android-vulkan",
         "is state of type tensor<2xi64>; tensors of f16, f32, f64, i8, i16, i32 are accepted"),
        (_state(_GOOD.replace(" {sparsity.state}", ""), "%s = ml_program.global_load @s : tensor<2xf32>"), "host-cpu",
         "'ml_program.global_load' op is not accepted in a module for IREE"),
    ],
)  # fmt: skip
def test_what_iree_does_not_take_is_refused(text, target, message):
    with pytest.raises(AssemblyError, match=message):
        assemble(parse(text), {}, target=get_target(target))


def test_equal_states_that_are_only_changed_in_place_are_two():
    """IREE takes globals that are always stored together with equal values for one."""
    kind = "tensor<8x4xf32>"
    parts = [
        f"""%old_{n} = ml_program.global_load @{n} : {kind}
        %new_{n} = tensor.insert_slice %{n} into %old_{n}[%i, 0] [1, 4] [1, 1] : tensor<1x4xf32> into {kind}
        ml_program.global_store @{n} = %new_{n} : {kind}"""
        for n in "ab"
    ]
    states = [f"ml_program.global private mutable @{n}(dense<0.5> : {kind}) : {kind} {{sparsity.state}}" for n in "ab"]
    text = "\n".join(
        [
            *states,
            "func.func @main(%a: tensor<1x4xf32>, %b: tensor<1x4xf32>, %at: tensor<i32>) -> tensor<4xf32> {",
            "%v = tensor.extract %at[] : tensor<i32>\n%i = arith.index_cast %v : i32 to index",
            *parts,
            f"""%zero = arith.constant 0.0 : f32
            %empty = tensor.empty() : tensor<4xf32>
            %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<4xf32>) -> tensor<4xf32>
            %sums = linalg.reduce ins(%new_a : {kind}) outs(%start : tensor<4xf32>) dimensions = [0]
              (%x: f32, %y: f32) {{
                %s = arith.addf %x, %y : f32
                linalg.yield %s : f32
              }}
            return %sums : tensor<4xf32>
          }}""",
        ]
    )
    session = Session(compiled(text)[1])
    for place, wanted in ((0, 4.5), (1, 5.0), (1, 5.0)):
        ones = np.ones((1, 4), np.float32)
        np.testing.assert_allclose(session.run([ones, ones * 7, np.array(place, np.int32)])[0], wanted)
    session.reset()
    np.testing.assert_allclose(session.run([ones, ones * 7, np.array(5, np.int32)])[0], 4.5)
