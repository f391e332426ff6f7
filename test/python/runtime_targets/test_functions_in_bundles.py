"""Bundles of programs with several functions and with state: called by name, and compared with their modules."""

import json

import pytest

from secateur.runtime_targets.bundle import BundleError, load, open_bundle, write_bundle
from secateur.runtime_targets.iree import AssemblyError, assemble, write_parameters
from secateur.runtime_targets.manifest import (
    NOTHING,
    Function,
    Manifest,
    ModelInfo,
    StateSpec,
    TargetFiles,
    TensorSpec,
    dump_manifest,
)

from .level4 import ROWS, WIDTH, parse, rows
from .stateful import PROGRAM, WEIGHTS, Expected, calls, check, compiled


def _spec(name, dtype="float32", shape=(ROWS, WIDTH)):
    return TensorSpec(name=name, dtype=dtype, shape=shape, axes=(None,) * len(shape))


def _function(inputs, outputs):
    return Function(inputs=tuple(inputs), outputs=tuple(outputs), output_form="tuple")


FUNCTIONS = {
    "append": _function(
        [_spec("row", shape=(1, WIDTH)), _spec("place", "int64", ())],
        [_spec("sums", shape=(WIDTH,)), _spec("calls", "int32", ())],
    ),
    "step": _function([_spec("x")], []),
    "use": _function([_spec("scales", shape=(WIDTH,))], []),
    "main": _function([_spec("x")], [_spec("y"), _spec("cell"), _spec("calls", "int32", ())]),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, target):
    folder = tmp_path_factory.mktemp("bundle")
    assembly, module = compiled(target=target, functions=FUNCTIONS)
    write_parameters(folder / "w.irpa", assembly.parameters)
    state = {
        "cache": StateSpec(dtype="float32", shape=(ROWS, WIDTH)),
        "cell": StateSpec(dtype="float32", shape=(ROWS, WIDTH)),
        "scales": StateSpec(dtype="float32", shape=(WIDTH,)),
        "calls": StateSpec(dtype="int32", shape=()),
    }
    files = TargetFiles(
        name=target.name,
        module="model.vmfb",
        parameters=("w.irpa",),
        architecture=target.architecture,
        cpu_features=target.cpu_features,
        workers=2,
        note="unverified: made by a test",
    )
    manifest = Manifest(
        model=ModelInfo(name="four functions", sha256="0" * 64),
        functions={**FUNCTIONS, "reset": NOTHING},
        state=state,
        targets=(files,),
    )
    write_bundle(folder / "b", manifest, {"model.vmfb": module, "w.irpa": folder / "w.irpa"})
    return folder / "b"


def test_a_bundle_calls_its_functions_by_name(bundle):
    runner, expected, functions = load(bundle), Expected(), open_bundle(bundle).manifest.functions
    for number, (function, inputs) in enumerate(calls()):
        names = [spec.name for spec in functions[function].inputs]
        found = runner.run(dict(zip(names, inputs, strict=True)), function)
        assert list(found) == [spec.name for spec in functions[function].outputs]
        check(list(found.values()), expected.call(function, *inputs), f"call {number}, {function}")
    runner.reset()
    y, cell, calls_ = runner(x=rows(0))
    check([y, cell, calls_], Expected().call("main", rows(0)), "after a reset")
    with pytest.raises(BundleError, match="the model has no function 'decode'; it has: append, main, reset, step, use"):
        runner.run({}, "decode")


def _edit(value, path, new):
    *above, last = path
    for step in above:
        value = value[step]
    if new is None:
        del value[last]
    else:
        value[last] = new


@pytest.mark.parametrize(
    ("path", "new", "message"),
    [
        (("functions", "use"), None, "has the function 'use', which the manifest.json does not list"),
        (("functions", "also"), NOTHING.model_dump(mode="json"), "lists the function 'also', which the module"),
        (("functions", "append", "inputs", 1, "dtype"), "int32", "the input 1 of 'append' the dtype \"int32\""),
        (("functions", "step", "outputs"), [_spec("y").model_dump(mode="json")], "lists 1 outputs of 'step', and"),
        (("functions", "use", "output_form"), "tuple:0", "the model of 'use' the output form \"tuple:0\""),
        (("state", "cell", "shape"), [WIDTH], "gives the model the state"),
        (("state", "cache"), None, "gives the model the state"),
    ],
)
def test_a_manifest_of_other_functions_is_refused(bundle, tmp_path, path, new, message):
    value = json.loads((bundle / "manifest.json").read_bytes())
    del value["sha256"]
    _edit(value, path, new)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in value["files"]:
        (copy / name).write_bytes((bundle / name).read_bytes())
    (copy / "manifest.json").write_bytes(dump_manifest(Manifest.model_validate_json(json.dumps(value))))
    with pytest.raises(BundleError, match=message):
        open_bundle(copy)


def test_a_module_with_other_functions_than_the_models_is_refused(target):
    fewer = {name: function for name, function in FUNCTIONS.items() if name != "use"}
    with pytest.raises(AssemblyError, match="has the name '@use'; the model's functions are append, step, main"):
        assemble(parse(PROGRAM), WEIGHTS, target=target, functions=fewer)
