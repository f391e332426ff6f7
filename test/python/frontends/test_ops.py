"""Every core ATen op is covered, with PyTorch's values, or reported; and so are the ops that stand for them.

All ops are imported as one module, which costs one export and one lowering.
"""

import numpy as np
import pytest
import torch

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.semantics.evaluation import evaluate
from secateur.frontends import FrontendError, import_model
from secateur.frontends.coverage import NOT_COVERED, core_ops
from secateur.frontends.flattening import flatten_output
from secateur.passes.base import PassContext, walk
from secateur.runtime_targets.iree.accepted import MAIN_OPS

from . import op_cases

CASES = {**op_cases.CORE, **op_cases.BESIDE}
COVERED = {name: case for name, case in CASES.items() if name not in NOT_COVERED}


class Calls(torch.nn.Module):
    """Makes every call; inputs that several share are given once, by the names of `inputs_of`."""

    def __init__(self, cases):
        super().__init__()
        names = {id(tensor): name for name, tensor in inputs_of(cases).items()}
        self.calls = {name: (call, [names[id(tensor)] for tensor in given]) for name, (call, given) in cases.items()}

    def forward(self, **given):
        return {name: call(*(given[each] for each in inputs)) for name, (call, inputs) in self.calls.items()}


def inputs_of(cases):
    tensors = {id(tensor): tensor for _, given in cases.values() for tensor in given}
    return {f"t{number}": tensor for number, tensor in enumerate(tensors.values())}


@pytest.fixture(scope="module")
def results():
    """Op -> what the imported call gives and what PyTorch gives."""
    module, inputs = Calls(COVERED), inputs_of(COVERED)
    imported = import_model(module, inputs, make_context())
    run_pipeline(imported.module, "torch-to-structural", PassContext(weights=imported.weights))
    names = {op.operation.name for op in walk(imported.module)} - {"builtin.module", *MAIN_OPS}
    assert [name for name in names if not name.startswith("sparsity.")] == []
    found = evaluate(imported.module, [tensor.numpy() for tensor in inputs.values()], imported.weights)
    with torch.no_grad():
        names, expected, _ = flatten_output(module(**{name: t.clone() for name, t in inputs.items()}))
    gathered = {}
    for name, array, tensor in zip(names, found, expected, strict=True):
        op = name if name in COVERED else name.rpartition(".")[0]
        gathered.setdefault(op, []).append((array, tensor.numpy()))
    return gathered


@pytest.mark.parametrize("name", COVERED)
def test_equals_pytorch(results, name):
    for found, expected in results[name]:
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_every_core_op_has_a_case():
    assert set(op_cases.CORE) == set(core_ops())
    assert set(NOT_COVERED) <= set(CASES)


@pytest.mark.parametrize("name", NOT_COVERED)
def test_others_are_reported(name):
    cases = {name: CASES[name]}
    with pytest.raises(FrontendError) as raised:
        import_model(Calls(cases), inputs_of(cases))
    report = str(raised.value)
    assert f"aten.{name.removesuffix('.default')}" in report or "cannot export 'Calls' (" in report
    assert f"{op_cases.__file__}:" in report or __file__ in report
    assert "\n" not in report or NOT_COVERED[name] in report
