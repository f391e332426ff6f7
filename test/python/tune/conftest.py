"""A small layer as a tuning task, and records of the test's own."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.tune.task import tasks_of
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext
from secateur.runtime_targets.targets import get_target

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def records_folder(tmp_path, monkeypatch):
    folder = tmp_path / "records"
    monkeypatch.setenv("SECATEUR_RECORDS", str(folder))
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "cache"))
    # Worker processes import `candidates_for_tests` from here.
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.syspath_prepend(str(HERE))
    yield folder
    sys.modules.pop("candidates_for_tests", None)


@pytest.fixture(scope="session")
def target():
    return get_target("host-cpu", workers=1)


def pruned_layer(target, rows=48, columns=32, tokens=32, epilogue="", seed=0, extra_x=""):
    """A structural module with one pruned linear, and its weights."""
    random = np.random.default_rng(seed)
    store = WeightStore()
    kept = random.permutation(rows * columns).reshape(rows, columns) < 0.3 * rows * columns
    store["fc.weight"] = (random.standard_normal((rows, columns)) * kept).astype("f4")
    store["fc.bias"] = random.standard_normal(rows).astype("f4")
    x, y = f"tensor<{extra_x}{tokens}x{columns}xf32>", f"tensor<{extra_x}{tokens}x{rows}xf32>"
    w, b = f"tensor<{rows}x{columns}xf32>", f"tensor<{rows}xf32>"
    text = f"""module attributes {{sparsity.target = {target.description_text()}}} {{
      func.func @main(%x: {x}, %r: {y}) -> {y} {{
        %w = "sparsity.weight"() {{source = "fc.weight"}} : () -> {w}
        %b = "sparsity.weight"() {{source = "fc.bias"}} : () -> {b}
        %y = "sparsity.linear"(%x, %w, %b, %r) {{{epilogue} operandSegmentSizes = array<i32: 1, 1, 1, 1>}}
             : ({x}, {w}, {b}, {y}) -> {y}
        return %y : {y}
      }}
    }}"""
    module = ir.Module.parse(text, make_context())
    run_pipeline(module, "sparsity-detect", PassContext(store))
    return module, store


@pytest.fixture(scope="session")
def layer_module(target):
    return lambda **changes: pruned_layer(target, **changes)


@pytest.fixture
def module_and_weights(layer_module):
    return layer_module(extra_x="1x", epilogue='activation = "gelu",')


@pytest.fixture
def task(module_and_weights):
    (found,) = tasks_of(*module_and_weights)
    return found


@pytest.fixture(scope="session")
def measured_table():
    return json.loads((HERE / "measured_schedules.json").read_text())
