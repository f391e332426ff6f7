"""The reference of `packed_linear` against `x @ W.T`, with weights packed here, independently of the compiler."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.dialects.sparsity.reference import evaluate
from secateur.dialects.sparsity.reference_parts import EvaluationError, from_panels, to_panels
from secateur.dialects.weight_store import WeightStore

Arrays = dict[str, np.ndarray]


def pack(weight: np.ndarray, row_tile: int, masks: list[int], order: np.ndarray) -> Arrays:
    """Each kept weight goes to the first mask (in the order given) that has its row alone or, where a full
    mask is listed, to that of the rows that keep the column, else to the full mask with zeros.
    """
    rows_of_tile, columns, segments, offsets, values = [], [], [], [], []
    for begin in range(0, len(order), row_tile):
        rows = list(order[begin : begin + row_tile])
        rows += [rows[-1]] * (row_tile - len(rows))
        offsets.append(len(values))
        used = [sum(1 << i for i, r in enumerate(rows) if weight[r, c] != 0) for c in range(weight.shape[1])]
        tile = []
        for mask in masks:
            full = mask == (1 << row_tile) - 1
            single = mask & (mask - 1) == 0 and (1 << row_tile) - 1 not in masks
            listed = [
                c
                for c, found in enumerate(used)
                if found and (found == mask or (full and found not in masks) or (single and found & mask))
            ]
            tile.append((len(columns), len(columns) + len(listed)))
            columns += listed
            values += [weight[r, c] for c in listed for i, r in enumerate(rows) if mask >> i & 1]
        segments.append(tile)
        rows_of_tile.append(rows)
    tiles = len(offsets)
    return {
        "values": np.array(values, np.float32),
        "columns": np.array(columns, np.int32),
        "segments": np.array(segments, np.int32),
        "offsets": np.array(offsets, np.int32),
        "rows": np.array(rows_of_tile, np.int32),
        "work": np.array([0, tiles // 2, tiles], np.int32),
    }


def compute(x: np.ndarray, rows: int, masks: list[int], arrays: Arrays, panel: int | None = None) -> np.ndarray:
    """Evaluates a `packed_linear` of `rows` output features on these arrays."""
    operands = [x, *arrays.values()]
    names = {"float32": "f32", "int32": "i32"}
    types = [f"tensor<{''.join(f'{n}x' for n in a.shape)}{names[a.dtype.name]}>" for a in operands]
    shape = [*x.shape]
    shape[-1 if panel is None else -2] = rows
    result = f"tensor<{''.join(f'{n}x' for n in shape)}f32>"
    layout = f", layout = #sparsity.layout<{{panel = {panel} : i64, inner = 1 : i64}}>" if panel else ""
    arguments = ", ".join(f"%a{i}: {t}" for i, t in enumerate(types))
    used = ", ".join(f"%a{i}" for i in range(len(types)))
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(f"""
          func.func @main({arguments}) -> {result} {{
            %r = "sparsity.packed_linear"({used}) {{row_tile = {arrays["rows"].shape[1]} : i64, row_masks = {masks},
              operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>{layout}}}
              : ({", ".join(types)}) -> {result}
            return %r : {result}
          }}""")
        op = module.body.operations[0].regions[0].blocks[0].operations[0]
        return evaluate(op, operands, WeightStore())[0]


@st.composite
def pruned(draw: st.DrawFn) -> np.ndarray:
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    kept = rng.random((rows, columns)) < draw(st.sampled_from([0.0, 0.2, 0.6, 1.0]))
    return np.where(kept, rng.standard_normal((rows, columns)), 0).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(pruned(), st.sampled_from([(1, "full"), (3, "full"), (4, "single"), (3, "all"), (4, "all")]))
def test_equals_the_dense_layer(weight: np.ndarray, tiling: tuple[int, str]) -> None:
    row_tile, kind = tiling
    everything = (1 << row_tile) - 1
    masks = {
        "full": [everything],
        "single": [1 << i for i in range(row_tile)],
        "all": list(range(1, everything + 1)),
    }[kind]
    rng = np.random.default_rng(0)
    arrays = pack(weight, row_tile, masks, rng.permutation(len(weight)))
    x = rng.standard_normal((2, 5, weight.shape[1])).astype(np.float32)
    expected = (x.astype(np.float64) @ weight.T.astype(np.float64)).astype(np.float32)
    np.testing.assert_allclose(compute(x, len(weight), masks, arrays), expected, rtol=1e-6, atol=1e-6)
    panels = compute(np.ascontiguousarray(to_panels(x, 4)), len(weight), masks, arrays, panel=4)
    np.testing.assert_allclose(from_panels(panels, 5), expected, rtol=1e-6, atol=1e-6)


def _two_tiles() -> tuple[np.ndarray, Arrays]:
    weight = np.arange(1, 13, dtype=np.float32).reshape(4, 3)
    return weight, pack(weight, 2, [3], np.arange(4))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("work", [0, 1, 1], "'work' to cover tiles 0 .. 2"),
        ("work", [0, 3, 2], "'work' to cover tiles 0 .. 2"),
        ("rows", [[0, 1], [0, 1]], "one set of values for row 0"),
        ("rows", [[0, 1], [4, 3]], "rows below 4"),
        ("offsets", [0, 7], "inside columns and values"),
        ("columns", [0, 1, 2, 0, 1, 3], "columns below 3"),
        ("segments", [[[0, 3]], [[3, 7]]], "inside columns and values"),
    ],
)
def test_refuses_arrays_that_break_a_rule(name: str, value: list, message: str) -> None:
    _, arrays = _two_tiles()
    arrays[name] = np.array(value, np.int32)
    with pytest.raises(EvaluationError, match=message):
        compute(np.ones((1, 3), np.float32), 4, [3], arrays)


def test_refuses_a_row_that_no_tile_has() -> None:
    _, arrays = _two_tiles()
    with pytest.raises(EvaluationError, match="none for row 4"):
        compute(np.ones((1, 3), np.float32), 5, [3], arrays)
