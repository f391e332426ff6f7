"""The reference of `sliced_linear`, on slices written by hand, and what it refuses."""

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.dialects.sparsity.reference import evaluate
from secateur.dialects.sparsity.reference_parts import EvaluationError
from secateur.dialects.weight_store import WeightStore

WEIGHT = np.array([[0, 1, 0, 2], [3, 0, 0, 0], [0, 0, 0, 0], [4, 5, 6, 0], [0, 0, 7, 8]], np.float32)


def arrays():
    """`WEIGHT` in two slices of three rows, a list per row, longest rows first; row 1 is there twice."""
    return {
        "values": np.array([[4, 1, 7], [5, 2, 8], [6, 0, 0], [3, 0, 3]], np.float32),
        "columns": np.array([[0, 1, 2], [1, 3, 3], [2, 1, 2], [0, 0, 0]], np.int16),
        "offsets": np.array([0, 3, 4], np.int32),
        "rows": np.array([[3, 0, 4], [1, 2, 1]], np.int32),
        "work": np.array([0, 1, 2], np.int32),
    }


def in_windows():
    """The same in windows of two vectors of three, two steps each, on the four columns written twice."""
    return {
        "values": np.array([[4, 1, 7], [5, 2, 8], [6, 0, 0], [0, 0, 0], [3, 0, 3], [0, 0, 0]], np.float32),
        "columns": np.array([[2, 3, 4], [3, 5, 5], [2, 0, 0], [0, 0, 0], [4, 0, 4], [0, 0, 0]], np.int8),
        "offsets": np.array([0, 4, 6], np.int32),
        "rows": np.array([[3, 0, 4], [1, 2, 1]], np.int32),
        "work": np.array([0, 1, 2], np.int32),
        "starts": np.array([2, 0, 0], np.int16),
        "order": np.array([0, 1, 2, 3, 0, 1, 2, 3], np.int16),
    }


def compute(x, given, bias=None):
    windows = [given[name] for name in ("starts", "order") if name in given]
    others = [array for name, array in given.items() if name not in ("starts", "order")]
    operands = [x, *others, *([] if bias is None else [bias]), *windows]
    names = {"float32": "f32", "int32": "i32", "int16": "i16", "int8": "i8"}
    types = [f"tensor<{''.join(f'{n}x' for n in a.shape)}{names[a.dtype.name]}>" for a in operands]
    arguments = ", ".join(f"%a{i}: {t}" for i, t in enumerate(types))
    sizes = f"1, 1, 1, 1, 1, 1, {int(bias is not None)}, 0, 0, {', '.join(['1' if windows else '0'] * 2)}"
    steps = "window_steps = 2 : i64," if windows else ""
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(f"""
        func.func @main({arguments}) -> tensor<{len(x)}x5xf32> {{
          %y = "sparsity.sliced_linear"({", ".join(f"%a{i}" for i in range(len(types)))}) {{vector_rows = 3 : i64,
            {steps}
            consecutive = false, activation = "relu", operandSegmentSizes = array<i32: {sizes}>}}
            : ({", ".join(types)}) -> tensor<{len(x)}x5xf32>
          return %y : tensor<{len(x)}x5xf32>
        }}""")
        op = module.body.operations[0].regions[0].blocks[0].operations[0]
        return evaluate(op, operands, WeightStore())[0]


@pytest.mark.parametrize("arrays", [arrays, in_windows])
def test_it_is_the_layer(arrays):
    rng = np.random.default_rng(0)
    x, bias = rng.standard_normal((2, 4)).astype(np.float32), rng.standard_normal(5).astype(np.float32)
    given = arrays()
    expected = np.maximum(x.astype(np.float64) @ WEIGHT.T + bias, 0)
    np.testing.assert_allclose(compute(x, given, bias[given["rows"]]), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("work", 2, 1, "expected 'work' to cover 0 .. 2"),
        ("work", 0, 1, "expected 'work' to cover 0 .. 2"),
        ("offsets", 1, 5, "expected 'offsets' to cover 0 .. 4"),
        ("offsets", 2, 9, "expected 'offsets' up to 4 steps, found 9"),
        ("columns", (1, 1), 4, "expected columns below 4, found 4"),
        ("columns", (1, 1), -1, "expected columns from 0, found -1"),
        ("rows", (0, 0), 5, "expected rows below 5, found 5"),
        ("rows", (0, 0), 0, "expected one set of values for row 0"),
        ("rows", (1, 1), 1, "expected one set of values for row 1"),
        ("values", (3, 2), 9, "expected one set of values for row 1"),
    ],
)
def test_arrays_that_break_a_rule(name, place, value, message):
    given = arrays()
    given[name][place] = value
    with pytest.raises(EvaluationError, match=message):
        compute(np.ones((1, 4), np.float32), given)


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("starts", 1, 3, "expected starts from 0 to 2, found 0 to 3"),
        ("starts", 1, -1, "expected starts from 0 to 2, found -1 to 2"),
        ("columns", (2, 1), 6, "expected columns from 0 to 5, found 0 to 6"),
        ("order", 4, 4, "expected columns below 4, found 4"),
        ("offsets", 1, 3, "expected 'offsets' at whole windows of 2 steps"),
        ("columns", (4, 0), 5, "expected one set of values for row 1"),
    ],
)
def test_windows_that_break_a_rule(name, place, value, message):
    given = in_windows()
    given[name][place] = value
    with pytest.raises(EvaluationError, match=message):
        compute(np.ones((1, 4), np.float32), given)


def test_a_row_that_no_slice_has():
    given = arrays()
    given["values"][:3, 0] = 0
    given["rows"][0, 0] = 2
    with pytest.raises(EvaluationError, match="expected every row in a slice, found none for row 3"):
        compute(np.ones((1, 4), np.float32), given)
