"""Bundles: written whole and reproducibly; anything damaged, altered or foreign is refused with a sentence."""

import io
import os
import shutil
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from secateur.runtime_targets import bundle as bundle_module
from secateur.runtime_targets import writing
from secateur.runtime_targets.bundle import BundleError, open_bundle, write_bundle
from secateur.runtime_targets.iree import write_parameters
from secateur.runtime_targets.manifest import Manifest, dump_manifest, parse_manifest
from secateur.runtime_targets.profile import profile_bundle

FILES = ["host-cpu/model.irpa", "host-cpu/model.vmfb", "manifest.json", "tokenizer/vocab.txt"]


def _tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _refused(path, message, **options):
    with pytest.raises(BundleError, match=message) as error:
        open_bundle(path, **options)
    assert "\n" not in str(error.value)


def test_folder_and_zip_run_and_agree(model, bundle_folder, tmp_path):
    opened = open_bundle(bundle_folder)
    opened.save(tmp_path / "model.zip")
    x = np.random.default_rng(0).standard_normal((2, 24, 32)).astype(np.float32)
    (y,) = opened.session().run([x])
    np.testing.assert_allclose(y, model.expected(x), rtol=1e-4, atol=1e-4)
    with open_bundle(tmp_path / "model.zip") as zipped:
        assert zipped.manifest == opened.manifest
        session = zipped.session("host-cpu", threads=2)
        unpacked = zipped.folder
        assert unpacked.is_dir()
    assert not unpacked.exists()
    np.testing.assert_array_equal(session.run([x])[0], y)


def test_an_unpacked_zip_goes_with_its_object(bundle_folder, tmp_path):
    open_bundle(bundle_folder).save(tmp_path / "model.zip")
    opened = open_bundle(tmp_path / "model.zip")
    unpacked = opened.folder
    with pytest.warns(ResourceWarning):
        del opened
    assert not unpacked.exists()


def test_same_input_same_bytes(bundle_folder, manifest, contents, tmp_path):
    write_bundle(tmp_path / "again", manifest, dict(reversed(contents.items())))
    assert _tree(tmp_path / "again") == _tree(bundle_folder)
    assert sorted(_tree(bundle_folder)) == FILES
    write_bundle(tmp_path / "a.zip", manifest, contents)
    os.utime(contents["host-cpu/model.vmfb"], (0, 0))
    open_bundle(bundle_folder).save(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "extracted")
    assert _tree(tmp_path / "extracted") == _tree(bundle_folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("where", [0, 0.3, 0.7, -1])
def test_a_flipped_bit_is_found(bundle_folder, name, where):
    data = bytearray((bundle_folder / name).read_bytes())
    data[-1 if where == -1 else int(len(data) * where)] ^= 1
    (bundle_folder / name).write_bytes(data)
    _refused(bundle_folder, "altered|wrong at|damaged|schema version")


def test_every_flipped_bit_of_the_manifest_is_found(bundle_folder):
    data = (bundle_folder / "manifest.json").read_bytes()
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(BundleError):
            parse_manifest(bytes(changed), "x")


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_missing_file_is_found(bundle_folder, name):
    data = (bundle_folder / name).read_bytes()
    (bundle_folder / name).write_bytes(data[:-1])
    _refused(bundle_folder, "bytes; its manifest.json states|damaged|altered")
    (bundle_folder / name).unlink()
    _refused(bundle_folder, "lacks|a folder without manifest.json and no bundle")


def test_a_damaged_zip_is_found(bundle_folder, tmp_path):
    open_bundle(bundle_folder).save(tmp_path / "model.zip")
    data = (tmp_path / "model.zip").read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.zip").write_bytes(data[:cut])
        _refused(tmp_path / "cut.zip", "no bundle, or a damaged one")
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "model.zip") as archive:
        starts = [i.header_offset + 30 + len(i.filename) + 20 for i in archive.infolist()]
        sizes = [i.file_size for i in archive.infolist()]
    for start, size in zip(starts, sizes, strict=True):
        changed = bytearray(data)
        changed[start + int(rng.integers(size))] ^= 1
        (tmp_path / "flip.zip").write_bytes(changed)
        _refused(tmp_path / "flip.zip", "altered|damaged|wrong at")


def test_an_unlisted_file_is_refused(bundle_folder):
    (bundle_folder / "extra.bin").write_bytes(b"")
    _refused(bundle_folder, "holds 'extra.bin', which its manifest.json does not list")


def test_links_are_refused(bundle_folder, tmp_path):
    vocabulary = bundle_folder / "tokenizer/vocab.txt"
    shutil.move(vocabulary, tmp_path / "vocab.txt")
    vocabulary.symlink_to(tmp_path / "vocab.txt")
    _refused(bundle_folder, "'tokenizer/vocab.txt', which is a link")
    vocabulary.unlink()
    vocabulary.parent.rmdir()
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "vocab.txt", tmp_path / "elsewhere/vocab.txt")
    vocabulary.parent.symlink_to(tmp_path / "elsewhere")
    _refused(bundle_folder, "'tokenizer', which is a link")


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a/../../x", "a//b", "./a", "", "a\\b", "C:x", "a\nb", "manifest.json", "a/"]
)
def test_paths_out_of_the_bundle_are_refused(bundle_folder, manifest, contents, path, tmp_path, monkeypatch):
    changed = _edited(bundle_folder, lambda v: v["files"].update({path: v["files"]["tokenizer/vocab.txt"]}))
    (bundle_folder / "manifest.json").write_bytes(changed)
    _refused(bundle_folder, "is no path of a file inside the bundle")
    with pytest.raises(BundleError, match="is no path of a file inside the bundle"):
        write_bundle(tmp_path / "new.zip", manifest, {**contents, path: b"x"})
    # A folder's files are written one by one: none may be, not even for a moment.
    monkeypatch.setattr(writing, "_copy", lambda *_: pytest.fail("a file was written"))
    with pytest.raises(BundleError, match="is no path of a file inside the bundle"):
        write_bundle(tmp_path / "new", manifest, {**contents, path: b"x"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.bundle"]


def _edited(folder, edit):
    """The manifest's text with an edit and a hash that fits it."""
    import hashlib
    import json

    value = json.loads((folder / "manifest.json").read_bytes())
    del value["sha256"]
    edit(value)
    text = (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    value["sha256"] = hashlib.sha256(text).hexdigest()
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda v: v.update(schema_version=6), "schema version 6, and this Secateur reads up to 5: update it"),
        (lambda v: v.update(schema_version=0), "wrong at 'schema_version'"),
        (lambda v: v.update(colour="green"), "wrong at 'colour': Extra inputs are not permitted"),
        (lambda v: v["targets"][0].update(speed=1), "wrong at 'targets.0.speed'"),
        (lambda v: v["functions"]["main"]["inputs"][0].update(dtype="float3"),
         "wrong at 'functions.main.inputs.0.dtype': 'float3' is no dtype"),
        (lambda v: v.update(functions={}), "wrong at 'functions'"),
        (lambda v: v["functions"].update({"1st": v["functions"]["main"]}), "wrong at 'functions.1st"),
        (lambda v: v["functions"]["main"].update(inputs=v["functions"]["main"]["inputs"] * 2), "two inputs have one"),
        (lambda v: v["functions"]["main"].update(outputs=[]), "a function without outputs returns a tuple, found"),
        (lambda v: v.update(state={"s": {"shape": [2], "dtype": "float32"}}), "'reset' is the function of models with"),
        (lambda v: v["functions"].update(reset=v["functions"]["main"]), "'reset' is the function of models with"),
        (lambda v: v["functions"]["main"]["inputs"][0].update(axes=[None]), "3 dimensions but 1 axes"),
        (lambda v: v["functions"]["main"]["outputs"][0].update(labels=["a", "b"]),
         r"'y' has 2 labels, and the shape \[2, 24, 32\]"),
        (lambda v: v["model"].pop("name"), "wrong at 'model.name': Field required"),
        (lambda v: v["files"].pop("host-cpu/model.irpa"), "does not list the file 'host-cpu/model.irpa'"),
        (lambda v: v["targets"][0].update(module="../../bin/sh"), "'../../bin/sh' is no path of a file"),
        (lambda v: v.update(format="other"), "damaged or of another program"),
        (lambda v: v["targets"].append(v["targets"][0]), "two targets have one name"),
        (lambda v: v["targets"][0].update(parameters="host-cpu/model.irpa"), "wrong at 'targets.0.parameters'"),
        (lambda v: v["targets"][0].update(parameters=["../../etc/passwd"]), "'../../etc/passwd' is no path of a file"),
        (lambda v: v["targets"][0]["parameters"].append("host-cpu/model.irpa"), "names a parameter archive twice"),
        (lambda v: v["targets"][0].update(backend="cuda"), "wrong at 'targets.0.backend'"),
        (lambda v: v["targets"][0].update(subgroup=0), "wrong at 'targets.0.subgroup'"),
        (lambda v: v.update(self_test={"inputs": [], "outputs": [], "tolerances": {}}),
         "the self-test has 0 inputs, and the model 1"),
        (lambda v: v.update(self_test={"inputs": ["a.npy"], "outputs": ["b.npy"], "tolerances": {}}),
         "the self-test has no tolerance for the target 'host-cpu'"),
        (lambda v: v.update(self_test={"inputs": ["a.npy"], "outputs": ["b.npy"], "tolerances": {
            "host-cpu": {"relative_l2": 1e-5, "scaled_max": 1e-4}}}), "does not list the file 'a.npy'"),
        (lambda v: v["targets"][0].update(cpu_features=["avx2", "avx9000"]),
         "cannot run on this machine: target 'host-cpu' needs the CPU features avx9000, which this machine lacks"),
        (lambda v: v["targets"][0].update(architecture="sparc"), "needs a CPU of architecture sparc"),
    ],
)  # fmt: skip
def test_wrong_manifests_are_refused(bundle_folder, edit, message):
    (bundle_folder / "manifest.json").write_bytes(_edited(bundle_folder, edit))
    _refused(bundle_folder, message)


def test_a_bundle_for_another_machine_can_be_looked_at(bundle_folder):
    changed = _edited(bundle_folder, lambda v: v["targets"][0].update(cpu_features=["avx9000"]))
    (bundle_folder / "manifest.json").write_bytes(changed)
    opened = open_bundle(bundle_folder, runnable=False)
    assert opened.file("tokenizer/vocab.txt").read_bytes() == b"[PAD]\nword\n"
    with pytest.raises(BundleError, match="'host-cpu' cannot run here: needs the CPU features avx9000"):
        opened.session("host-cpu")
    with pytest.raises(BundleError, match="has no file 'x'"):
        opened.file("x")


def test_an_unknown_target_is_refused(bundle_folder):
    with pytest.raises(BundleError, match="no code for the target 'pixel'; it has: host-cpu"):
        open_bundle(bundle_folder).session("pixel")


def test_a_manifest_that_does_not_fit_its_module_is_refused(bundle_folder):
    changed = _edited(bundle_folder, lambda v: v["functions"]["main"]["inputs"][0].update(shape=[2, 24, 31]))
    (bundle_folder / "manifest.json").write_bytes(changed)
    _refused(bundle_folder, r"input 0 the shape \[2, 24, 31\], and the module '.*' was compiled with \[2, 24, 32\]")


def _zip(path, entries, data):
    with zipfile.ZipFile(path, "w") as archive:
        for info in entries:
            archive.writestr(info, data.get(getattr(info, "filename", info), b"x"))


def test_hostile_zips_are_refused(bundle_folder, tmp_path):
    data, path = _tree(bundle_folder), tmp_path / "bad.zip"
    _zip(path, [*data, "../../escaped"], data)
    _refused(path, "holds '../../escaped', which its manifest.json does not list")
    link = zipfile.ZipInfo("tokenizer/vocab.txt")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    _zip(path, [*(n for n in data if n != link.filename), link], {**data, link.filename: b"/etc/passwd"})
    _refused(path, "'tokenizer/vocab.txt', which is a link")
    with pytest.warns(UserWarning, match="Duplicate"):
        _zip(path, [*data, "tokenizer/vocab.txt"], data)
    _refused(path, "'tokenizer/vocab.txt' twice")
    _zip(path, [n for n in data if n != "manifest.json"], data)
    _refused(path, "no bundle: it has no manifest.json")
    assert not (tmp_path.parent / "escaped").exists()


def test_a_zip_that_unpacks_to_more_than_it_says_is_refused(bundle_folder, tmp_path, monkeypatch):
    open_bundle(bundle_folder).save(tmp_path / "model.zip")
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    entry = open_bundle(bundle_folder).manifest.files["tokenizer/vocab.txt"]
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, name, *_: _Endless())
    with zipfile.ZipFile(tmp_path / "model.zip") as archive, pytest.raises(BundleError, match="altered"):
        bundle_module._extract(archive, "tokenizer/vocab.txt", entry, unpacked / "f", "z")
    assert (unpacked / "f").stat().st_size < 10 << 20


class _Endless(io.RawIOBase):
    def read(self, size=-1):
        return bytes(size)


def test_missing_and_foreign_paths(tmp_path):
    _refused(tmp_path / "nothing", "there is no bundle at")
    _refused(tmp_path, "is an empty folder and no bundle; `secateur compile MODEL -o OUT` makes a bundle")
    (tmp_path / "text").write_text("hello")
    _refused(tmp_path / "text", "is a file that is no ZIP archive and no bundle; `secateur compile MODEL -o OUT` makes")
    _refused(tmp_path, "is a folder without manifest.json and no bundle")
    (tmp_path / "text.zip").write_text("hello")
    _refused(tmp_path / "text.zip", "no bundle, or a damaged one")
    for name, kind in (("x.mlir", "a file of IR"), ("x.vmfb", "a module of IREE"), ("w.safetensors", "of weights")):
        (tmp_path / name).write_bytes(b"PK")
        _refused(tmp_path / name, kind)
    (tmp_path / "config.json").write_text("{}")
    _refused(
        tmp_path, f"is a Hugging Face folder and no bundle; `secateur compile {tmp_path} -o OUT` makes a bundle of it"
    )


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_a_bundle_is_replaced_and_nothing_else_is(manifest, contents, tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    write_bundle(path, manifest, contents)
    longer = {**contents, "tokenizer/vocab.txt": b"[PAD]\nword\nmore\n"}
    old = open_bundle(path)
    session = old.session()
    write_bundle(path, manifest, longer)
    assert open_bundle(path).file("tokenizer/vocab.txt").read_bytes().endswith(b"more\n")
    assert session.run([np.zeros((2, 24, 32), np.float32)])[0].shape == (2, 24, 32)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_other_things_are_not_overwritten(manifest, contents, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter").write_text("1")
    (tmp_path / "file").write_text("1")
    (tmp_path / "other.zip").write_text("1")
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    for name in ("thesis", "file", "other.zip", "link"):
        with pytest.raises(BundleError, match=r"it is not overwritten|is not written over it"):
            write_bundle(tmp_path / name, manifest, contents)
    assert (tmp_path / "thesis/chapter").read_text() == "1"
    assert (tmp_path / "other.zip").read_text() == "1"
    (tmp_path / "empty").mkdir()
    write_bundle(tmp_path / "empty", manifest, contents)
    open_bundle(tmp_path / "empty")


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_a_failed_write_leaves_the_old_bundle(manifest, contents, tmp_path, suffix, monkeypatch):
    path = tmp_path / f"model{suffix}"
    write_bundle(path, manifest, contents)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "_flush", full)
    with pytest.raises(BundleError, match="cannot be written: No space left on device"):
        write_bundle(path, manifest, {**contents, "tokenizer/vocab.txt": b"new"})
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert open_bundle(path).file("tokenizer/vocab.txt").read_bytes() == b"[PAD]\nword\n"


def test_replacing_works_without_an_exchange_of_names(manifest, contents, tmp_path, monkeypatch):
    write_bundle(tmp_path / "model", manifest, contents)
    monkeypatch.setattr(writing.os, "name", "other")
    write_bundle(tmp_path / "model", manifest, {**contents, "tokenizer/vocab.txt": b"new"})
    monkeypatch.undo()
    assert open_bundle(tmp_path / "model").file("tokenizer/vocab.txt").read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_files_that_the_manifest_names_must_be_given(manifest, contents, tmp_path):
    given = {k: v for k, v in contents.items() if k != "host-cpu/model.irpa"}
    with pytest.raises(BundleError, match=r"refers to the file 'host-cpu/model\.irpa', which it is not given"):
        write_bundle(tmp_path / "model", manifest, given)
    with pytest.raises(BundleError, match="cannot be written"):
        write_bundle(tmp_path / "model", manifest, {**given, "host-cpu/model.irpa": Path("/nowhere/at/all")})
    assert not list(tmp_path.iterdir())


def test_a_manifest_without_optional_fields_is_read(bundle_folder):
    changed = _edited(bundle_folder, lambda v: (v.pop("layers"), v["functions"]["main"]["inputs"][0].pop("limit")))
    (bundle_folder / "manifest.json").write_bytes(changed)
    found = open_bundle(bundle_folder).manifest
    assert (found.layers, found.function().inputs[0].limit) == ((), None)


def test_the_manifest_reads_back(manifest: Manifest, bundle_folder):
    found = open_bundle(bundle_folder).manifest
    assert found.model_copy(update={"files": {}}) == manifest
    assert parse_manifest(dump_manifest(found), "x") == found


def _older(folder, version):
    """The manifest as that schema had it."""

    def edit(value):
        value["schema_version"] = version
        value.update(value.pop("functions")["main"])
        del value["self_test"], value["state"]
        for target in value["targets"]:
            del target["backend"], target["subgroup"]
            if version < 3:
                (target["parameters"],) = target["parameters"]
            if version == 1:
                del target["dispatches"]

    (folder / "manifest.json").write_bytes(_edited(folder, edit))


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_older_schemas_are_read_and_saved_as_the_newest(model, bundle_folder, tmp_path, version):
    _older(bundle_folder, version)
    opened = open_bundle(bundle_folder)
    assert opened.manifest.schema_version == version
    assert opened.manifest.targets[0].parameters == ("host-cpu/model.irpa",)
    x = np.random.default_rng(0).standard_normal((2, 24, 32)).astype(np.float32)
    np.testing.assert_allclose(opened.session().run([x])[0], model.expected(x), rtol=1e-4, atol=1e-4)
    opened.save(tmp_path / "again")
    assert open_bundle(tmp_path / "again").manifest.schema_version == 5


def test_an_older_manifest_without_parameters_is_read(bundle_folder):
    _older(bundle_folder, 2)
    (bundle_folder / "manifest.json").write_bytes(_edited(bundle_folder, lambda v: v["targets"][0].pop("parameters")))
    assert open_bundle(bundle_folder).manifest.targets[0].parameters == ()


def test_parameters_may_lie_in_several_archives(assembly, model, manifest, contents, tmp_path):
    names = sorted(assembly.parameters)
    assert len(names) > 1
    for file, part in (("a.irpa", names[:1]), ("b.irpa", names[1:])):
        write_parameters(tmp_path / file, {name: assembly.parameters[name] for name in part})
    target = manifest.targets[0].model_copy(update={"parameters": ("a.irpa", "b.irpa")})
    files = {k: v for k, v in contents.items() if not k.endswith(".irpa")}
    given = {**files, "a.irpa": tmp_path / "a.irpa", "b.irpa": tmp_path / "b.irpa"}
    write_bundle(tmp_path / "model", manifest.model_copy(update={"targets": (target,)}), given)
    opened = open_bundle(tmp_path / "model")
    x = np.random.default_rng(0).standard_normal((2, 24, 32)).astype(np.float32)
    np.testing.assert_allclose(opened.session().run([x])[0], model.expected(x), rtol=1e-4, atol=1e-4)
    profile_bundle(opened, runs=1)


def test_code_for_a_cpu_is_chosen_before_that_for_a_gpu(bundle_folder):
    def edit(value):
        gpu = {**value["targets"][0], "name": "gpu", "architecture": "vulkan", "backend": "vulkan", "cpu_features": []}
        value["targets"].insert(0, gpu)

    (bundle_folder / "manifest.json").write_bytes(_edited(bundle_folder, edit))
    opened = open_bundle(bundle_folder)
    assert opened.target().name == "host-cpu"
    assert opened.target("gpu").backend == "vulkan"
