"""Bundles that were changed and got hashes that fit: each run is right, or refused with a sentence.

A hash tells whether a file is as it was written, and not who wrote it. So every case here has hashes that fit, and is
found, where it can be, by what the module and the archive say of themselves.
"""

import copy
import hashlib
import io
import itertools
import json
import random
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from secateur.compiler.measure.self_test import SelfTestError, run_self_test, stored_inputs
from secateur.runtime_targets.bundle import BundleError, open_bundle, write_bundle
from secateur.runtime_targets.iree import assemble, compile_assembly, write_parameters
from secateur.runtime_targets.iree.archive_table import read_table
from secateur.runtime_targets.iree.parameters import ParameterError
from secateur.runtime_targets.manifest import AcceptedDifference, SelfTest

from .conftest import parse

MAIN = ("functions", "main")
MODULE, ARCHIVE = "host-cpu/model.vmfb", "host-cpu/model.irpa"


@pytest.fixture(scope="module")
def whole(model, target, manifest, tmp_path_factory) -> Path:
    """A bundle whose module says how it is to be called, as those do that `compile_model` makes."""
    folder = tmp_path_factory.mktemp("whole")
    assembly = assemble(parse(model.text), model.weights, target=target, functions=manifest.functions)
    write_parameters(folder / "model.irpa", assembly.parameters)
    x = np.random.default_rng(1).standard_normal((2, 24, 32)).astype(np.float32)
    accepted = {target.name: AcceptedDifference(relative_l2=1e-4, scaled_max=1e-4)}
    test = SelfTest(inputs=("self-test/x.npy",), outputs=("self-test/y.npy",), tolerances=accepted)
    files = {
        MODULE: compile_assembly(assembly, target),
        ARCHIVE: folder / "model.irpa",
        "tokenizer/vocab.txt": b"[PAD]\n",
        "self-test/x.npy": _npy(x),
        "self-test/y.npy": _npy(model.expected(x).astype(np.float32)),
    }
    write_bundle(folder / "bundle", manifest.model_copy(update={"self_test": test}), files)
    return folder / "bundle"


@pytest.fixture(scope="module")
def run(model, whole, tmp_path_factory):
    """Runs cases (name -> edit of the manifest, or file and new bytes); fails where one is not right or refused."""
    folder = tmp_path_factory.mktemp("cases")
    x = np.random.default_rng(0).standard_normal((2, 24, 32)).astype(np.float32)
    np.save(folder / "x.npy", x)

    def all_of(cases, refused=None):
        bundles = []
        for number, (edit, contents) in enumerate(cases.values()):
            bundles.append(folder / str(number))
            shutil.rmtree(bundles[-1], ignore_errors=True)
            shutil.copytree(whole, bundles[-1])
            _sign(bundles[-1], edit, contents)
        script = Path(__file__).with_name("forked_runs.py")
        command = [sys.executable, str(script), str(folder / "x.npy"), *map(str, bundles)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(found) == len(cases), done.stderr
        for name, result in zip(cases, found, strict=True):
            error = result["error"]
            if result["code"] == 0:
                np.testing.assert_allclose(result["output"], model.expected(x), rtol=1e-4, atol=1e-4, err_msg=name)
                assert refused is None, f"{name} is taken"
                continue
            assert result["code"] in (1, 2), f"{name} ends with {result['code']}: {error}"
            assert error.startswith("error: ") and error.count("\n") == 1, f"{name}: {error}"
            assert "internal fault" not in error, f"{name}: {error}"
            assert refused is None or refused in error, f"{name}: {error}"
        return [result["code"] for result in found]

    return all_of


def _npy(array):
    data = io.BytesIO()
    np.save(data, array)
    return data.getvalue()


def _sign(folder, edit=None, contents=None):
    """Changes a bundle and gives it hashes that fit."""
    value = json.loads((folder / "manifest.json").read_bytes())
    for name, data in (contents or {}).items():
        (folder / name).write_bytes(data)
        value["files"][name] = {"size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    if edit is not None:
        edit(value)
    value.pop("sha256", None)
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    value["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_bytes(text.encode())


def _set(path, new):
    def edit(value):
        *above, last = path
        for step in above:
            value = value[step]
        value[last] = new(value[last]) if callable(new) else new

    return edit


def test_the_whole_bundle_runs(run):
    assert run({"whole": (None, None)}) == [0]


EDITS = {
    "output axes swapped": ((*MAIN, "outputs", 0, "axes"), lambda v: v[::-1], "output 0 the axes"),
    "input axes swapped": ((*MAIN, "inputs", 0, "axes"), lambda v: v[::-1], "input 0 the axes"),
    "axes fixed": ((*MAIN, "outputs", 0, "axes"), [None] * 3, "output 0 the axes"),
    "another name": ((*MAIN, "outputs", 0, "name"), "start_logits", 'output 0 the name "start_logits"'),
    "another shape": ((*MAIN, "outputs", 0, "shape"), [2, 32, 24], "output 0 the shape [2, 32, 24]"),
    "another type": ((*MAIN, "inputs", 0, "dtype"), "int32", 'input 0 the dtype "int32"'),
    "a limit": ((*MAIN, "inputs", 0, "limit"), 7, "input 0 the limit 7"),
    "a count": ((*MAIN, "inputs", 0, "counts"), "tokens", 'input 0 the counts "tokens"'),
    "another form": ((*MAIN, "output_form"), "tuple", 'model the output form "tuple"'),
    "classes": ((*MAIN, "outputs", 0, "labels"), [str(i) for i in range(32)], "output 0 the labels"),
    "fewer features": (("targets", 0, "cpu_features"), [], "target 'host-cpu' the cpu features []"),
    "lanes": (("targets", 0, "subgroup"), 8, "target 'host-cpu' the subgroup 8"),
    "no archive": (("targets", 0, "parameters"), [], "lack the parameter 'first.bounds'"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_manifest_that_is_not_the_modules_is_refused(whole, tmp_path, name):
    path, new, message = EDITS[name]
    shutil.copytree(whole, tmp_path / "bundle")
    _sign(tmp_path / "bundle", _set(path, new))
    with pytest.raises(BundleError) as error:
        open_bundle(tmp_path / "bundle")
    assert message in str(error.value)


def test_a_manifest_with_another_number_of_inputs_is_refused(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "bundle")

    def edit(value):
        value["functions"]["main"]["inputs"], value["self_test"] = [], None

    _sign(tmp_path / "bundle", edit)
    with pytest.raises(BundleError, match=r"lists 0 inputs, and the module '.*' was compiled with 1"):
        open_bundle(tmp_path / "bundle")


def _paths(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(inner, (*path, key))


def _other(old, rng, pool):
    """A value of the same kind or another."""
    kinds = [None, 0, -1, 1, 2**31, 2**70, "", "x", True, 0.5, [], {}, [None], rng.choice(pool)]
    if isinstance(old, int):
        kinds += [old + 1, old - 1, old * 2, -old] * 3
    if isinstance(old, list) and old:
        kinds += [old[::-1], old[1:], [*old, old[0]], [copy.deepcopy(old[0])] * 2] * 4
    if isinstance(old, dict) and old:
        dropped = rng.choice(sorted(old))
        kinds += [{k: v for k, v in old.items() if k != dropped}, {**old, "more": 1}] * 4
    return rng.choice(kinds)


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_manifest_is_right_or_refused(run, whole, seed):
    value = json.loads((whole / "manifest.json").read_bytes())
    value.pop("sha256")
    paths = [path for path in _paths(value) if path]
    pool = [leaf for path in paths if isinstance(leaf := _at(value, path), str)]
    rng = random.Random(seed)
    cases = {}
    for number in range(50):
        path = rng.choice(paths)
        new = _other(_at(value, path), rng, pool)
        cases[f"{number}: {path} = {new!r}"] = (_set(path, lambda _, new=new: new), None)
    assert 1 in run(cases)


def _at(value, path):
    for step in path:
        value = value[step]
    return value


WORDS = [0, 1, 2**64 - 1, 2**63, 2**32, 2**64 - 4096]


def _damaged(data, first, last, rng):
    """One bit, one byte, or one number of 64 bits of `data[first:last]` changed."""
    changed = bytearray(data)
    place = rng.randrange(first, last)
    kind = rng.randrange(3)
    if kind == 0:
        changed[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
        changed[place] = rng.randrange(256)
    else:
        start = place & ~7
        changed[start : start + 8] = struct.pack("<Q", rng.choice([*WORDS, len(data), rng.getrandbits(64)]))
    return bytes(changed[: len(data)])


@pytest.mark.parametrize("part", ["header", "table", "places"])
def test_a_changed_archive_is_right_or_refused(run, whole, part):
    data, rng = (whole / ARCHIVE).read_bytes(), random.Random(part)
    table = read_table(whole / ARCHIVE)
    start = min(place.offset for place in table.values())
    parts = {
        "header": [(0, 88)],
        "table": [(88, start)],
        # Damaged weights cannot be told from weights; damaged columns and bounds would be addresses.
        "places": [(p.offset, p.offset + p.length) for n, p in table.items() if n.endswith(("columns", "bounds"))],
    }[part]
    cases = {str(i): (None, {ARCHIVE: _damaged(data, *rng.choice(parts), rng)}) for i in range(50)}
    assert 1 in run(cases)


@pytest.mark.parametrize("part", ["beginning", "anywhere", "end"])
def test_a_changed_module_is_right_or_refused(run, whole, part):
    data, rng = (whole / MODULE).read_bytes(), random.Random(part)
    first, last = {"beginning": (0, 64), "anywhere": (0, len(data)), "end": (len(data) - 256, len(data))}[part]
    cases = {str(i): (None, {MODULE: _damaged(data, first, last, rng)}) for i in range(30)}
    assert 1 in run(cases)


def test_truncated_files_are_refused(run, whole):
    for name in (MODULE, ARCHIVE):
        data = (whole / name).read_bytes()
        cases = {f"{name} {cut}": (None, {name: data[:cut]}) for cut in (0, 1, 40, 100, len(data) // 2, len(data) - 1)}
        # The archive ends with padding.
        assert run(cases).count(0) <= (name == ARCHIVE)


def test_another_models_archive_is_refused(run, whole, model, tmp_path):
    """The same names with other sizes, and the same sizes with other columns."""
    arrays = {name: np.array(array) for name, array in model.weights.items()}
    for change, message in (
        (("shift", np.zeros(25, np.float32)), "hold 100 bytes of the parameter 'shift'"),
        (("first.columns", arrays["first.columns"][::-1].copy()), "the numbers of the parameter 'first.columns'"),
        (("more", np.zeros(4, np.float32)), "hold the parameter 'more', which the module"),
    ):
        write_parameters(tmp_path / "other.irpa", {**arrays, change[0]: change[1]})
        run({change[0]: (None, {ARCHIVE: (tmp_path / "other.irpa").read_bytes()})}, refused=message)


def _archive(entries, names=b"ab", size=4096, **fields):
    """An archive of entries (name's offset and length, array's offset and length), at its simplest."""
    table = b"".join(
        struct.pack("<QIQQQQQQQQ", 76, 2, 0, *name, 0, 0, 64, *place).ljust(80, b"\0") for name, place in entries
    )[:-4]
    header = {"magic": b"IRPA", "major": 0, "linked": 0, "count": len(entries)} | fields
    data = struct.pack("<4sHHQQQQ", header["magic"], header["major"], 0, 88, header["linked"], 0, header["count"])
    data += struct.pack("<QQQQQQ", 96, len(table), 1024, len(names), 2048, size - 2048)
    return (data.ljust(96, b"\0") + table).ljust(1024, b"\0") + names.ljust(size - 1024, b"\0")


FAULTS = {
    "a name twice": (_archive([((0, 1), (0, 64)), ((0, 1), (64, 64))]), "it holds 'a' twice"),
    "an overlap": (_archive([((0, 1), (0, 80)), ((1, 1), (64, 64))]), "'b' at byte 64 lies in another array"),
    "outside": (_archive([((0, 1), (2**64 - 64, 128))]), "lies in another array or outside of them"),
    "a name outside": (_archive([((1, 2), (0, 64))]), "the name of entry 0 lies outside"),
    "unaligned": (_archive([((0, 1), (32, 64))]), "'a' does not start at a multiple of 64 bytes"),
    "many entries": (_archive([((0, 1), (0, 64))], count=2**40), "is not one of 1099511627776 arrays"),
    "a link": (_archive([((0, 1), (0, 64))], linked=2**64 - 64), "its header is not one of version 0.0"),
    "a version": (_archive([((0, 1), (0, 64))], major=1), "its header is not one of version 0.0"),
    "another file": (_archive([((0, 1), (0, 64))], magic=b"GGUF"), "its header is not one of version 0.0"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_tables_that_iree_would_trust_are_refused(tmp_path, name):
    data, message = FAULTS[name]
    (tmp_path / "bad.irpa").write_bytes(data)
    with pytest.raises(ParameterError) as error:
        read_table(tmp_path / "bad.irpa")
    assert message in str(error.value)


def test_a_table_is_read_as_iree_reads_it(tmp_path):
    import iree.runtime as rt

    rng = np.random.default_rng(0)
    arrays = {"é x": rng.random((3, 5)), "": np.zeros(0, np.int8), "b": np.array([True] * 7), "c": np.float32(2)}
    write_parameters(tmp_path / "good.irpa", {name: np.asarray(array) for name, array in arrays.items()})
    index = rt.ParameterIndex()
    index.load(str(tmp_path / "good.irpa"), format="irpa")
    theirs = {name: (entry.file_storage[1], entry.length) for name, entry in index.items() if entry.length}
    ours = {name: tuple(place) for name, place in read_table(tmp_path / "good.irpa").items() if place.length}
    assert ours == theirs and len(ours) == 3
    assert set(read_table(tmp_path / "good.irpa")) == set(arrays)


def test_checksums_are_those_of_the_arrays(whole, model):
    from secateur.runtime_targets.iree.module_file import read_signatures

    stored = read_signatures(whole / MODULE)["main"].parameters
    assert {name: p.size_bytes for name, p in stored.items()} == {n: a.nbytes for n, a in model.weights.items()}
    for name, array in model.weights.items():
        is_place = name.endswith(("columns", "bounds"))
        assert stored[name].crc32 == (zlib.crc32(array.tobytes()) if is_place else None)
    assert sum(1 for _ in itertools.filterfalse(lambda p: p.crc32 is None, stored.values())) == 4


def test_a_changed_self_test_is_refused_or_fails(whole, tmp_path):
    """Its numbers may be changed unseen, and then the test fails; nothing else of its files may."""
    shutil.copytree(whole, tmp_path / "bundle")
    name, rng = "self-test/x.npy", random.Random(0)
    data = (whole / name).read_bytes()
    cut = [data[:n] for n in (0, 5, 60, 200, len(data) - 1)]
    others = [_npy(np.zeros((2, 24), np.float32)), _npy(np.zeros((2, 24, 32))), b"PK\5\6" + bytes(18)]
    refused = 0
    for changed in [*cut, *others, *(_damaged(data, 0, 128, rng) for _ in range(60))]:
        _sign(tmp_path / "bundle", contents={name: changed})
        try:
            found = stored_inputs(open_bundle(tmp_path / "bundle"))
            assert [(array.dtype, array.shape) for array in found] == [(np.float32, (2, 24, 32))]
        except BundleError as error:
            assert name in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > len(cut) + len(others)
    _sign(tmp_path / "bundle", contents={name: _damaged(data, 400, 1000, random.Random(1))})
    opened = open_bundle(tmp_path / "bundle")
    with pytest.raises(SelfTestError, match="fails its self-test"):
        run_self_test(opened, "host-cpu", opened.session())
