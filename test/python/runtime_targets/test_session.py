"""A level-4 module with a hand-written kernel through IREE, against NumPy."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from secateur.runtime_targets.iree import Session, SessionError, compile_assembly, write_parameters
from secateur.runtime_targets.iree.session import _DRIVER_LOCK

_TASKS = Path("/proc/self/task")


def _x(model, seed=0):
    return np.random.default_rng(seed).standard_normal((2, 24, 32)).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_result_is_that_of_numpy(model, compiled, threads):
    session = Session(compiled / "model.vmfb", compiled / "model.irpa", threads=threads)
    for seed in range(3):
        x = _x(model, seed)
        (y,) = session.run([x])
        np.testing.assert_allclose(y, model.expected(x), rtol=1e-4, atol=1e-4)


def test_module_from_bytes(model, compiled):
    session = Session((compiled / "model.vmfb").read_bytes(), compiled / "model.irpa")
    x = _x(model)
    np.testing.assert_allclose(session.run([x])[0], model.expected(x), rtol=1e-4, atol=1e-4)
    assert session.types("inputs") == [("float32", (2, 24, 32))]
    assert session.types("outputs") == [("float32", (2, 24, 32))]


def test_strided_inputs_are_read_by_their_strides(model, compiled):
    session = Session(compiled / "model.vmfb", compiled / "model.irpa")
    x = np.asfortranarray(_x(model))
    np.testing.assert_allclose(session.run([x])[0], model.expected(x), rtol=1e-4, atol=1e-4)


def test_results_outlive_later_calls_and_the_session(model, compiled):
    session = Session(compiled / "model.vmfb", compiled / "model.irpa")
    x, other = _x(model, 0), _x(model, 1)
    (first,) = session.run([x])
    kept = first.copy()
    session.run([other])
    del session
    np.testing.assert_array_equal(first, kept)
    assert first.flags.owndata or first.base is None


def test_calls_from_many_threads(model, compiled):
    session = Session(compiled / "model.vmfb", compiled / "model.irpa", threads=2)
    inputs = [_x(model, seed) for seed in range(8)]
    found = [None] * len(inputs)

    def call(i):
        for _ in range(20):
            found[i] = session.run([inputs[i]])[0]

    callers = [threading.Thread(target=call, args=(i,)) for i in range(len(inputs))]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for x, y in zip(inputs, found, strict=True):
        np.testing.assert_allclose(y, model.expected(x), rtol=1e-4, atol=1e-4)


def test_calls_never_overlap(compiled):
    session = Session(compiled / "model.vmfb", compiled / "model.irpa")
    invoke, running, most = session._invokers["main"], [0], [0]

    def watched(*arrays):
        running[0] += 1
        most[0] = max(most[0], running[0])
        time.sleep(0.01)
        running[0] -= 1
        return invoke(*arrays)

    session._invokers["main"] = watched
    callers = [threading.Thread(target=session.run, args=([np.zeros((2, 24, 32), np.float32)],)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert most == [1]


@pytest.mark.skipif(not _TASKS.is_dir(), reason="threads are counted in /proc")
def test_each_session_has_its_own_workers(compiled):
    def count():
        """Threads of this process, when none has begun or ended for a while: those of other tests take a moment."""
        found = [len(list(_TASKS.iterdir()))]
        while len(found) < 100 and found[-4:] != [found[-1]] * 4:
            time.sleep(0.05)
            found.append(len(list(_TASKS.iterdir())))
        return found[-1]

    paths = compiled / "model.vmfb", compiled / "model.irpa"
    one = Session(*paths, threads=1)
    before = count()
    two = Session(*paths, threads=2)
    with_two = count()
    five = Session(*paths, threads=5)
    assert count() - with_two == with_two - before + 3
    del five, two
    assert count() == before
    assert one.threads == 1
    assert not _DRIVER_LOCK.locked()


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "the function 'main' takes 1 inputs, found 0"),
        ([np.zeros((2, 24, 31), np.float32)], r"input 0 is float32 of shape \[2, 24, 31\]; accepted is float32"),
        ([np.zeros((2, 24), np.float32)], r"input 0 is float32 of shape \[2, 24\]"),
        ([np.zeros((2, 24, 32))], "input 0 is float64 .* accepted is float32"),
    ],
)
def test_wrong_inputs_are_refused(compiled, inputs, message):
    session = Session(compiled / "model.vmfb", compiled / "model.irpa")
    with pytest.raises(SessionError, match=message):
        session.run(inputs)


def test_what_is_no_module_is_refused(compiled, tmp_path):
    with pytest.raises(SessionError, match="cannot be loaded"):
        Session(b"no module", compiled / "model.irpa")
    with pytest.raises(SessionError, match="cannot be loaded"):
        Session(compiled / "model.vmfb", tmp_path / "missing.irpa")
    with pytest.raises(SessionError, match="cannot be loaded"):
        Session(compiled / "model.vmfb")
    with pytest.raises(SessionError, match="at least 1 thread"):
        Session(compiled / "model.vmfb", compiled / "model.irpa", threads=0)


def test_compilation_and_parameters_are_reproducible(assembly, target, compiled, tmp_path):
    assert compile_assembly(assembly, target) == (compiled / "model.vmfb").read_bytes()
    shuffled = dict(reversed(assembly.parameters.items()))
    write_parameters(tmp_path / "again.irpa", shuffled)
    assert (tmp_path / "again.irpa").read_bytes() == (compiled / "model.irpa").read_bytes()


def test_parameters_are_aligned(compiled, assembly):
    import iree.runtime as rt

    index = rt.ParameterIndex()
    index.load(str(compiled / "model.irpa"))
    found = dict(index.items())
    assert set(found) == set(assembly.parameters)
    assert all(entry.file_storage[1] % 64 == 0 for entry in found.values())
