"""The run-time API: named inputs, padding and cutting, output forms; and that none of it needs torch."""

import subprocess
import sys

import numpy as np
import pytest

from secateur.runtime_targets import InputError, load
from secateur.runtime_targets.bundle import write_bundle
from secateur.runtime_targets.manifest import Function, ModelInfo, TensorSpec
from secateur.runtime_targets.profile import profile_bundle


@pytest.fixture
def runner(bundle_folder):
    return load(bundle_folder)


def _x(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_full_size(model, runner):
    x = _x(2, 24, 32)
    np.testing.assert_allclose(runner(x=x), model.expected(x), rtol=1e-4, atol=1e-4)
    assert list(runner.run({"x": x})) == ["y"]


@pytest.mark.parametrize(("batch", "tokens"), [(1, 32), (2, 1), (1, 17), (2, 31)])
def test_smaller_sizes_are_padded_and_cut(model, runner, batch, tokens):
    x = _x(batch, 24, tokens)
    y = runner(x=x)
    assert y.shape == x.shape and y.flags.owndata
    np.testing.assert_allclose(y, model.expected(x), rtol=1e-4, atol=1e-4)


def test_lists_and_other_floats_are_taken(model, runner):
    x = _x(2, 24, 3)
    expected = model.expected(x)
    np.testing.assert_allclose(runner(x=x.tolist()), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(runner(x=x.astype(np.float64)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "the model needs the input 'x', which was not given"),
        ({"x": _x(2, 24, 32), "z": 1}, "the model has no input 'z'; its inputs are x"),
        (
            {"x": _x(3, 24, 32)},
            r"has shape \[3, 24, 32\]; accepted is \[2 or less \(batch\), 24, 32 or less \(tokens\)\]",
        ),
        ({"x": _x(2, 23, 32)}, r"has shape \[2, 23, 32\]"),
        ({"x": _x(2, 24)}, r"has shape \[2, 24\]"),
        ({"x": _x(2, 24, 0)}, r"has shape \[2, 24, 0\]"),
        ({"x": _x(2, 24, 32) * 1j}, "input 'x' is complex64; accepted is float32"),
        ({"x": "words"}, "accepted is float32"),
    ],
)
def test_wrong_inputs_are_refused(runner, inputs, message):
    with pytest.raises(InputError, match=message):
        runner(**inputs)


class _Echo:
    """Stands for a session: returns its inputs."""

    def run(self, inputs, function):
        return list(inputs)


def _echo(manifest, form="tuple"):
    from secateur.runtime_targets import Runner

    specs = (
        TensorSpec(name="ids", shape=(2, 8), dtype="int64", axes=("batch", "tokens"), limit=100),
        TensorSpec(name="mask", shape=(2, 8), dtype="int32", axes=("batch", "tokens")),
    )
    functions = {"main": Function(inputs=specs, outputs=specs, output_form=form)}
    return Runner(manifest.model_copy(update={"functions": functions}), _Echo())


def test_integers_keep_their_values_or_are_refused(manifest):
    runner = _echo(manifest)
    ids, mask = runner(ids=np.arange(6, dtype=np.int32).reshape(2, 3), mask=np.ones((2, 3), np.int64))
    assert ids.dtype == np.int64 and mask.dtype == np.int32
    np.testing.assert_array_equal(ids, np.arange(6).reshape(2, 3))
    with pytest.raises(InputError, match="input 'mask' holds numbers that int32 cannot hold"):
        runner(ids=np.ones((2, 3), int), mask=np.full((2, 3), 1 << 40))
    with pytest.raises(InputError, match="input 'ids' is float64; accepted is int64"):
        runner(ids=np.ones((2, 3)), mask=np.ones((2, 3), int))


def test_sizes_of_inputs_must_agree(manifest):
    with pytest.raises(InputError, match="input 'mask' has 4 on its tokens axis, but 'ids' has 3"):
        _echo(manifest)(ids=np.ones((2, 3), int), mask=np.ones((2, 4), int))


@pytest.mark.parametrize("wrong", [-1, 100, 1 << 40])
def test_rows_outside_of_a_table_are_refused(manifest, wrong):
    ids = np.array([[0, 99, 5], [1, wrong, 2]])
    with pytest.raises(InputError, match=f"input 'ids' holds {wrong}; accepted are 0 to 99"):
        _echo(manifest)(ids=ids, mask=np.full((2, 3), -7))


def test_output_forms(manifest):
    inputs = {"ids": np.ones((1, 2), int), "mask": np.ones((1, 2), int)}
    assert list(_echo(manifest, "dict")(**inputs)) == ["ids", "mask"]
    assert isinstance(_echo(manifest, "tuple")(**inputs), tuple)
    assert isinstance(_echo(manifest, "tensor")(**inputs), np.ndarray)


def test_running_imports_neither_torch_nor_a_compiler(bundle_folder):
    code = (
        "import sys, numpy; from secateur.runtime_targets import load\n"
        f"load({str(bundle_folder)!r}, threads=2)(x=numpy.zeros((2, 24, 32), 'float32'))\n"
        "print([m for m in ('torch', 'torch_mlir', 'iree.compiler') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("threads", [1, 2])
def test_profile_names_every_dispatch(bundle_folder, threads):
    from secateur.runtime_targets.bundle import open_bundle

    found = profile_bundle(open_bundle(bundle_folder), threads=threads, runs=10)
    assert [call.kernel for call in found.calls].count("gemm") == 2
    assert all(0 < call.min_ms <= call.median_ms for call in found.calls)
    assert (found.threads, found.runs) == (threads, 10)
    assert 0 <= found.outside_ms < found.latency_median_ms
    with pytest.raises(ValueError, match="at least 1 run"):
        profile_bundle(open_bundle(bundle_folder), runs=0)


def test_a_runner_of_a_zip_keeps_its_files(model, manifest, contents, tmp_path):
    write_bundle(
        tmp_path / "m.zip", manifest.model_copy(update={"model": ModelInfo(name="z", sha256="1" * 64)}), contents
    )
    x = _x(2, 24, 32)
    np.testing.assert_allclose(load(tmp_path / "m.zip")(x=x), model.expected(x), rtol=1e-4, atol=1e-4)
