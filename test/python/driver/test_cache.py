"""The cache: whole entries or none, also with several writers."""

import multiprocessing
import os
import pwd
from pathlib import Path

import numpy as np
import pytest

from secateur.compiler.build import cache as caching
from secateur.compiler.build.cache import Cache, cache_folder, cache_key, hash_weights
from secateur.compiler.records.records import records_folder
from secateur.runtime_targets.devices.local import installation_folder
from secateur.tasks.downloads import default_cache


def test_an_entry_appears_when_it_is_complete(tmp_path):
    cache = Cache(tmp_path)
    with cache.write("key") as folder:
        (folder / "file").write_text("1")
        assert cache.find("key") is None
    assert (cache.find("key") / "file").read_text() == "1"


def test_an_error_leaves_nothing(tmp_path):
    cache = Cache(tmp_path)
    with pytest.raises(RuntimeError), cache.write("key") as folder:
        (folder / "file").write_text("1")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def _write(folder, number, barrier):
    with Cache(folder).write("key") as entry:
        for name in ("a", "b"):
            (entry / name).write_text(str(number))
        barrier.wait()


def test_of_several_writers_one_wins_and_the_entry_is_whole(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    writers = [context.Process(target=_write, args=(tmp_path, n, barrier)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    entry = Cache(tmp_path).find("key")
    assert (entry / "a").read_text() == (entry / "b").read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_the_least_recently_used_entries_go_first(tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "LIMIT_BYTES", 250)
    cache = Cache(tmp_path)
    for age, key in ((9000, "oldest"), (8000, "older"), (0, "newest")):
        with cache.write(key) as folder:
            (folder / "file").write_bytes(bytes(100))
        os.utime(tmp_path / key, (caching.time.time() - age,) * 2)
    with cache.write("last") as folder:
        (folder / "file").write_bytes(bytes(100))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last", "newest"]


def test_the_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("SECATEUR_CACHE", "off")
    assert cache_folder() is None
    monkeypatch.delenv("SECATEUR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "secateur"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "secateur"


def test_an_empty_home_is_the_one_of_the_table_of_users(monkeypatch):
    for name in ("SECATEUR_CACHE", "XDG_CACHE_HOME", "XDG_DATA_HOME", "SECATEUR_RECORDS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "")
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert cache_folder() == home / ".cache" / "secateur"
    assert records_folder() == home / ".local" / "share" / "secateur" / "records"
    assert default_cache() == home / ".cache" / "secateur-models"
    assert Path(installation_folder("local")) == home / ".local" / "share" / "secateur" / "local"


def test_keys_and_weight_hashes_follow_their_content():
    array = np.arange(6, dtype=np.float32)
    base = hash_weights({"w": array})
    assert base == hash_weights({"w": array.copy()})
    others = [
        {"v": array},
        {"w": array.reshape(2, 3)},
        {"w": array.view(np.int32)},
        {"w": array + np.eye(1, 6, dtype=np.float32)[0]},
    ]
    assert len({base, *(hash_weights(w) for w in others)}) == 5
    assert hash_weights({"w": array.reshape(2, 3).T}) == hash_weights({"w": array.reshape(2, 3).T.copy()})
    assert cache_key(a=1) == cache_key(a=1) != cache_key(a=2)


def test_the_code_of_secateur_is_part_of_the_key(monkeypatch):
    before = cache_key(a=1)
    monkeypatch.setattr(caching, "code_version", lambda: "other")
    assert cache_key(a=1) != before
