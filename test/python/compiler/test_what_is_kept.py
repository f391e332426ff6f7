"""What stays in memory when code was lowered and run: no context, and the machine code of the last modules."""

import gc

import numpy as np
import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.diagnostics import DiagnosticLog
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics import engine
from secateur.compiler.semantics.evaluation import evaluate
from secateur.dialects.weight_store import WeightStore
from secateur.passes import registry
from secateur.passes.base import PassContext


def doubled(elements: int) -> np.ndarray:
    """Twice the ones, by the engine."""
    text = f"""
    func.func @main(%x: tensor<{elements}xf32>) -> tensor<{elements}xf32> {{
      %y = arith.addf %x, %x : tensor<{elements}xf32>
      return %y : tensor<{elements}xf32>
    }}"""
    module = ir.Module.parse(text, make_context())
    with DiagnosticLog(module.context), module.context:
        run_pipeline(module, "canonicalize,sparsity-detect", PassContext())
    return evaluate(module, [np.ones(elements, np.float32)], WeightStore())[0]


def test_no_context_outlives_its_module() -> None:
    alive = []
    for elements in (3, 4, 5):
        np.testing.assert_array_equal(doubled(elements), np.full(elements, 2, np.float32))
        gc.collect()
        alive.append(ir.Context._get_live_count())
    assert alive[0] == alive[1] == alive[2]


def test_the_code_of_the_last_modules_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(engine._Compiled):
        def __init__(self, *arguments) -> None:
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(engine, "_kept", {})
    monkeypatch.setattr(engine, "KEPT", 2)
    monkeypatch.setattr(engine, "_Compiled", Counted)
    compiled = []
    for elements in (6, 7, 6, 8, 6, 7):
        doubled(elements)
        compiled.append(len(made))
    # The third and the fifth find what the first made; 7 was run before 6, and gave way to 8.
    assert compiled == [1, 2, 2, 3, 3, 4]
    assert len(engine._kept) == 2


@pytest.mark.parametrize("level", [0, 2])
def test_optimized_or_not_it_is_the_same(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    monkeypatch.setattr(engine, "_kept", {})
    monkeypatch.setattr(engine, "OPTIMIZATION", level)
    np.testing.assert_array_equal(doubled(37), np.full(37, 2, np.float32))


def test_packages_with_passes_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda **group: calls.append(group) or [])
    registry.known_passes.cache_clear()
    doubled(9)
    doubled(9)
    registry.known_passes.cache_clear()
    assert calls == [{"group": "secateur.passes"}]
