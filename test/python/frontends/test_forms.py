"""Modules by how they are called and what they return: PyTorch's values in PyTorch's form, or a sentence."""

import collections
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.semantics.evaluation import evaluate
from secateur.frontends import FrontendError, import_model
from secateur.frontends.calling import call_by_name, input_names
from secateur.runtime_targets.output_form import as_returned
from secateur.runtime_targets.token_count import in_order

X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
Pair = collections.namedtuple("Pair", "first second")


@dataclasses.dataclass
class Result:
    hidden: Any
    states: Any = None


def module(forward, **buffers):
    made = type("Made", (torch.nn.Module,), {"forward": forward})()
    torch.manual_seed(0)
    made.layer = torch.nn.Linear(3, 3)
    for name, value in buffers.items():
        made.register_buffer(name, value)
    return made.eval()


def run(model, inputs):
    """What the imported model computes, in the form of PyTorch's result."""
    imported = import_model(model, inputs, make_context())
    found = evaluate(
        imported.module,
        in_order(imported.inputs, {name: value.numpy() for name, value in inputs.items()}),
        imported.weights,
    )
    named = {spec.name: array for spec, array in zip(imported.outputs, found, strict=True)}
    return as_returned(named, imported.output_form)


def assert_same(found, expected):
    if isinstance(expected, torch.Tensor):
        assert found.dtype == expected.detach().numpy().dtype
        np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    elif expected is None:
        assert found is None
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for name, value in expected.items():
            assert_same(found[name], value)
    else:
        assert isinstance(found, tuple) and len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)


def _twice(self, x):
    h = self.layer(x)
    return h, h


OUTPUTS = {
    "the same twice": _twice,
    "its input": lambda self, x: (x, self.layer(x)),
    "only its input": lambda self, x: x,
    "a view of its input": lambda self, x: x.t(),
    "constants": lambda self, x: (torch.arange(3), self.layer(x), torch.ones(2, 2)),
    "only a constant": lambda self, x: torch.ones(2),
    "a parameter": lambda self, x: (self.layer.weight, self.layer.weight.t(), x + 1),
    "tuples in tuples": lambda self, x: (self.layer(x), (x + 1, (x + 2, x * 3)), [x - 1]),
    "None between": lambda self, x: (None, x, None, (None, x + 1), None),
    "None at the end": lambda self, x: (self.layer(x), None),
    "a list of one": lambda self, x: [x + 1],
    "a named tuple": lambda self, x: Pair(x + 1, x + 2),
    "a dict in a tuple": lambda self, x: (x + 1, {"a": x + 2, "b": x + 3}),
    "integers and booleans": lambda self, x: (x > 0, (x * 10).to(torch.int64), x.argmax(1)),
    "numbers without axes": lambda self, x: (x.sum(), x.mean()),
}


@pytest.mark.parametrize("forward", OUTPUTS.values(), ids=OUTPUTS)
def test_outputs(forward):
    model = module(forward)
    with torch.no_grad():
        expected = model(X)
    assert_same(run(model, {"x": X}), expected)


def test_a_dict_is_flat():
    model = module(lambda self, x: {"a": x + 1, "b": {"c": x + 2, "d": (x + 3, None)}})
    assert_same(run(model, {"x": X}), {"a": X + 1, "b.c": X + 2, "b.d.0": X + 3})


def test_a_dataclass_is_a_dict_of_its_fields():
    assert_same(run(module(lambda self, x: Result(x + 1)), {"x": X}), {"hidden": X + 1})


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda self, x: (x + 1, 3), "returns 'output_1', which is a int"),
        (lambda self, x: {"x": x + 1, "name": "a"}, "returns 'name', which is a str"),
        (lambda self, x: None, "returns no tensor but a NoneType"),
    ],
)
def test_other_outputs_are_refused(forward, message):
    with pytest.raises(FrontendError, match=message):
        import_model(module(forward), {"x": X})


def _positional_only(self, x, /, y):
    return self.layer(x) - y


def _keyword_only(self, x, *, y):
    return self.layer(x) - y


def _several(self, x, *ys):
    return self.layer(x) - sum(ys)


def _any_keyword(self, x, **more):
    return self.layer(x) - more["y"]


def _optional(self, x, y=None, z=None):
    return self.layer(x) - (0 if y is None else y) - (0 if z is None else 2 * z)


INPUTS = {
    "positional-only": (_positional_only, {"x": X, "y": X + 1}),
    "keyword-only": (_keyword_only, {"x": X, "y": X + 1}),
    "*args": (_several, {"x": X, "ys_0": X + 1, "ys_1": X * 2}),
    "*args left out": (_several, {"x": X}),
    "**kwargs": (_any_keyword, {"x": X, "y": X + 1}),
    "optional left out": (_optional, {"x": X}),
    "the second optional": (_optional, {"x": X, "z": X + 1}),
    "in another order": (_optional, {"y": X + 1, "x": X}),
    "a number without axes": (_optional, {"x": X, "y": torch.tensor(2.0)}),
    "an integer without axes": (_optional, {"x": X, "y": torch.tensor(2)}),
    "booleans": (lambda self, x, y: torch.where(y, x, 0.0), {"x": X, "y": X > 0}),
    "int32": (lambda self, x: self.layer.weight[x.long()], {"x": torch.tensor([0, 2], dtype=torch.int32)}),
}


@pytest.mark.parametrize(("forward", "inputs"), INPUTS.values(), ids=INPUTS)
def test_inputs(forward, inputs):
    model = module(forward)
    with torch.no_grad():
        expected = call_by_name(model, inputs)
    # What is compared with must itself be right.
    if "ys_0" not in inputs:
        plain = dict(inputs)
        assert torch.equal(expected, model(plain.pop("x"), **plain))
    assert_same(run(model, inputs), expected)


def test_inputs_by_position_are_named():
    assert input_names(module(_several), 3) == ["x", "ys_0", "ys_1"]
    assert input_names(module(_positional_only), 2) == ["x", "y"]
    assert torch.equal(call_by_name(module(_several), {"x": X, "ys_0": X, "ys_1": X}), module(_several)(X, X, X))
    with pytest.raises(FrontendError, match="takes 1 inputs by position, found 2"):
        input_names(module(_keyword_only), 2)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"x": X, "w": X}, "has no parameter 'w'; its parameters are x, y, z"),
        ({"y": X}, "needs 'x', which the example inputs do not give"),
        ({"x": [X]}, "example input 'x' is a list; accepted are tensors"),
        ({"x": {"a": X}}, "example input 'x' is a dict; accepted are tensors"),
        ({"x": X.to(torch.int16)}, "has the type torch.int16"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, message):
    with pytest.raises(FrontendError, match=message):
        import_model(module(_optional), inputs)


def test_what_forward_writes_to():
    def to_its_input(self, x):
        x.add_(1)
        part = x[:, :2]
        part.mul_(2)
        return self.layer(x), part

    model = module(to_its_input)
    with torch.no_grad():
        expected = model(X.clone())
    given = X.clone()
    assert_same(run(model, {"x": given}), expected)
    assert torch.equal(given, X)

    def to_its_buffer(self, x):
        self.calls.add_(1)
        return self.layer(x) + self.calls

    with pytest.raises(FrontendError, match="writes to its buffer 'calls' in forward"):
        import_model(module(to_its_buffer, calls=torch.zeros(3)), {"x": X})


def test_weights_of_64_bits_are_refused():
    with pytest.raises(FrontendError, match=r"parameter 'layer.weight' has the type torch.float64.*\.float\(\)"):
        import_model(module(_optional).double(), {"x": X.double()})
