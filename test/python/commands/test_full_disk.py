"""A disk without room, or a file that may not grow: the folder is named, and the variable or option for another."""

import resource

import pytest


@pytest.fixture
def small_files():
    """No file may grow beyond 16 kB from `with` on; less than the code and the weights of the smallest model."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def begin():
        resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, before[1]))

    yield begin
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_compile_names_the_temporary_folder(secateur, dense_folder, tmp_path, temporary, small_files, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", "off")
    small_files()
    result = secateur("compile", dense_folder, "-o", tmp_path / "out", "--seq-len", "16", "-q")
    assert (result.code, result.out) == (1, "")
    assert f"cannot be written into '{temporary}'" in result.err or f"temporary files into '{temporary}'" in result.err
    assert "set TMPDIR to another folder" in result.err
    assert [p.name for p in tmp_path.iterdir()] == ["temporary"] and not list(temporary.glob("secateur-*"))


def test_a_temporary_folder_that_is_missing_is_named(secateur, bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    result = secateur("profile", bundle, "--runs", "1", "-q")
    assert result.code == 1
    assert f"'{tmp_path / 'nowhere'}': No such file or directory" in result.err and "set TMPDIR" in result.err


def test_prune_names_the_folder_of_its_result_and_leaves_nothing(secateur, dense_folder, tmp_path, small_files):
    small_files()
    result = secateur("prune", dense_folder, "-o", tmp_path / "out", "--sparsity", "0.5", "-q")
    assert (result.code, result.out) == (1, "")
    assert f"cannot be written into '{tmp_path}'" in result.err and "--out" in result.err
    assert not list(tmp_path.iterdir())


def test_a_result_names_its_file(secateur, dense_folder, tmp_path, small_files):
    small_files()
    out = tmp_path / "a.mlir"
    result = secateur("compile", dense_folder, "--compile-to", "kernels", "-o", out, "--seq-len", "16", "-q")
    assert (result.code, f"'{out}': File too large" in result.err) == (1, True), result.err
    assert not list(tmp_path.iterdir())


def test_tune_names_the_folder_of_records(secateur, dense_folder, tmp_path, small_files, monkeypatch):
    monkeypatch.setenv("SECATEUR_RECORDS", str(tmp_path / "records"))
    small_files()
    result = secateur("tune", dense_folder, "--seq-len", "16", "--trials", "1", "-q")
    assert (result.code, result.out) == (1, "")
    assert f"'{tmp_path / 'records' / 'scratch'}': File too large" in result.err
    assert "set SECATEUR_RECORDS to another folder" in result.err
    assert not list((tmp_path / "records" / "scratch").iterdir())


def test_a_full_cache_is_a_note_and_the_model_is_compiled(secateur, dense_folder, tmp_path, monkeypatch):
    """Bundles are written into the cache by a function with an error of its own."""
    from secateur.compiler.build import cache
    from secateur.runtime_targets import bundle
    from secateur.runtime_targets.manifest import BundleError

    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "cache"))
    write = bundle.write_bundle

    def full(path, *arguments):
        if (tmp_path / "cache") in path.parents:
            raise BundleError(f"the bundle '{path}' cannot be written: No space left on device")
        return write(path, *arguments)

    monkeypatch.setattr(bundle, "write_bundle", full)
    command = ["compile", dense_folder, "-o", tmp_path / "out", "--seq-len", "16", "--verify", "off"]
    assert secateur(*command).code == 1
    monkeypatch.setattr(cache, "write_fault", lambda folder: "No space left on device")
    result = secateur(*command)
    told = " ".join(result.err.split())
    assert result.code == 0, told
    assert f"the cache '{tmp_path / 'cache'}' cannot be written (No space left on device)" in told
    assert "set SECATEUR_CACHE to another folder" in told
    assert secateur("run", tmp_path / "out", "-i", "a=/nowhere").code == 2 and (tmp_path / "out").is_dir()


def test_a_bundle_that_cannot_be_unpacked_names_the_temporary_folder(
    secateur, pruned_folder, tmp_path, temporary, small_files
):
    made = secateur("compile", pruned_folder, "-o", tmp_path / "b.zip", "--seq-len", "16", "-q")
    assert made.code == 0, made.err
    small_files()
    result = secateur("inspect", tmp_path / "b.zip", "-q")
    assert result.code == 1
    assert f"temporary files cannot be written into '{temporary}': File too large" in result.err
    assert not list(temporary.iterdir())


@pytest.fixture
def full_cache(tmp_path, monkeypatch):
    """A cache into which nothing can be written."""
    from secateur.compiler.build.cache import Cache

    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "cache"))

    def refuse(self, key):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Cache, "write", refuse)


def test_token_ids_are_made_where_they_cannot_be_kept(full_cache, monkeypatch):
    from secateur.tasks import token_cache

    monkeypatch.setattr(token_cache, "_settings", lambda tokenizer: "")
    assert token_cache.cached_arrays("content", None, {}, lambda: {"ids": 7}) == {"ids": 7}


def test_the_machine_is_measured_where_its_code_cannot_be_kept(full_cache, monkeypatch):
    from secateur.compiler.measure import machine_peak
    from secateur.runtime_targets.targets import get_target

    monkeypatch.setattr(machine_peak, "_compile", lambda text, target: b"code")
    target = get_target("host-cpu")
    assert machine_peak._compiled(target, machine_peak._sizes(target, 1)) == b"code"


def test_a_training_names_the_file_that_it_could_not_write(tmp_path, small_files):
    from secateur.compression.train.run_folder import write_json

    small_files()
    with pytest.raises(OSError, match="File too large") as failed:
        write_json(tmp_path / "job.json", ["x" * 20_000])
    assert failed.value.filename == str(tmp_path / "job.json") and not list(tmp_path.iterdir())
