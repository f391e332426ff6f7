"""Temporary folders: who removes what, and what is told where nothing can be written."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from secateur.dialects import scratch
from secateur.dialects.errors import SecateurError
from secateur.dialects.scratch import ScratchFolder

HOLD = """
import sys, time
from secateur.dialects.scratch import ScratchFolder
folder = ScratchFolder("test")
print(folder.name, flush=True)
time.sleep(60)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    scratch._remove_abandoned.cache_clear()
    return tmp_path


def holder():
    """A process that holds a folder, and the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    return process, Path(process.stdout.readline().strip())


def test_a_folder_goes_with_its_block_and_with_its_object(temporary):
    with ScratchFolder("test") as name:
        assert Path(name).parent == temporary and Path(name).name.startswith("secateur-test-")
        (Path(name) / "file").write_text("x")
    folder = ScratchFolder("test")
    assert len(list(temporary.iterdir())) == 1
    del folder
    assert not list(temporary.iterdir())


def test_what_a_killed_process_left_is_removed_and_nothing_else_is(temporary, monkeypatch):
    monkeypatch.setattr(scratch, "_YOUNG_SECONDS", 0.0)
    killed, left = holder()
    living, held = holder()
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        (left / "weights").write_text("large")
        others = temporary / "secateur-test-other"
        others.mkdir()
        (temporary / "secateur-test-link.scratch").symlink_to(others)
        with ScratchFolder("test"):
            assert not left.exists()
            assert held.is_dir() and others.is_dir()
            assert (temporary / "secateur-test-link.scratch").is_symlink()
    finally:
        living.kill()
        living.wait()


def test_a_young_folder_and_one_of_another_user_stay(temporary, monkeypatch):
    for name in ("secateur-a.scratch", "secateur-b.scratch"):
        (temporary / name).mkdir()
    with ScratchFolder("test"):
        assert len(list(temporary.iterdir())) == 3
    scratch._remove_abandoned.cache_clear()
    monkeypatch.setattr(scratch, "_YOUNG_SECONDS", 0.0)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with ScratchFolder("test"):
        assert len(list(temporary.iterdir())) == 3
    scratch._remove_abandoned.cache_clear()
    monkeypatch.undo()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(scratch, "_YOUNG_SECONDS", 0.0)
    with ScratchFolder("test"):
        assert len(list(temporary.iterdir())) == 1


def test_many_folders_are_looked_through_quickly(temporary):
    for number in range(2000):
        (temporary / f"secateur-{number}").mkdir()
    began = time.monotonic()
    with ScratchFolder("test"):
        assert time.monotonic() - began < 0.5


def test_a_folder_that_is_not_there_is_named(temporary, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(temporary / "nowhere"))
    with pytest.raises(SecateurError, match=r"into '.*nowhere': No such file or directory; .* set TMPDIR to another"):
        ScratchFolder("test")


@pytest.fixture
def small_files():
    """No file may grow beyond 8 kB, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_what_fails_for_lack_of_room_is_told_so(temporary, small_files):
    sentence = f"temporary files cannot be written into '{temporary}': File too large; make room there, or set TMPDIR"
    with pytest.raises(SecateurError, match=sentence), ScratchFolder("test") as name:
        (Path(name) / "file").write_bytes(bytes(100_000))
    # Programs and libraries say it in words of their own.
    with pytest.raises(SecateurError, match=sentence), ScratchFolder("test"):
        raise RuntimeError("exit code 1")
    assert not list(temporary.iterdir())


def test_another_fault_stays_as_it_is(temporary):
    with pytest.raises(RuntimeError, match="exit code 1"), ScratchFolder("test"):
        raise RuntimeError("exit code 1")
    assert not list(temporary.iterdir())
