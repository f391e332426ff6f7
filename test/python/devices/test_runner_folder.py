"""The runner folder: unpacking, hashes, two makers at once, and what is said where it cannot be had. No network."""

import hashlib
import io
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from secateur.runtime_targets.devices import runner_folder as made
from secateur.runtime_targets.devices.device import DeviceError

CONTENTS = {name: f"the file {name}".encode() for name in made.RUNNER_FILES}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SECATEUR_RUNNER", raising=False)
    made._made.cache_clear()
    yield
    made._made.cache_clear()


@pytest.fixture
def sources(monkeypatch):
    """In place of PyPI and Debian; a list of what was asked for."""
    asked = []

    def files(names):
        def fetch(folder):
            asked.append(names)
            return [made._checked(name, CONTENTS[name], "source") for name in names]

        return fetch

    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENTS.items()}
    monkeypatch.setattr(made, "RUNNER_FILES", hashes)
    monkeypatch.setattr(made, "_programs", files([n for n in hashes if n.startswith("iree-")]))
    monkeypatch.setattr(made, "_libraries", files([n for n in hashes if not n.startswith("iree-")]))
    return asked


def _read(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def _leftovers(tmp_path):
    return [p.name for p in (tmp_path / "cache").iterdir() if not p.name.startswith("runner-aarch64-")]


def test_it_is_made_once(sources, tmp_path):
    folder = made.runner_folder()
    assert _read(folder) == CONTENTS
    assert all(os.access(folder / name, os.X_OK) for name in CONTENTS)
    made._made.cache_clear()
    assert made.runner_folder() == folder
    assert len(sources) == 2 and _leftovers(tmp_path) == []


def test_a_damaged_folder_is_made_anew(sources, tmp_path):
    folder = made.runner_folder()
    (folder / "libc.so.6").write_bytes(b"cut")
    made._made.cache_clear()
    assert _read(made.runner_folder()) == CONTENTS
    assert _leftovers(tmp_path) == []


def test_two_makers_at_once(sources, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: made._make(cache, cache / "runner-aarch64-x"), range(4)))
    assert _read(cache / "runner-aarch64-x") == CONTENTS
    assert _leftovers(tmp_path) == []


def test_an_altered_file_is_refused_and_nothing_is_left(sources, tmp_path, monkeypatch):
    monkeypatch.setitem(CONTENTS, "libc.so.6", b"of a later version")
    with pytest.raises(DeviceError, match=r"'libc\.so\.6' of 'source' has SHA-256 .* expected .*SECATEUR_RUNNER"):
        made.runner_folder()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_of_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SECATEUR_RUNNER", str(tmp_path))
    for name in sorted(made.RUNNER_FILES)[1:]:
        (tmp_path / name).write_bytes(b"the user's build")
    lacking = min(made.RUNNER_FILES)
    with pytest.raises(DeviceError, match=f"named in SECATEUR_RUNNER, lacks '{lacking}'"):
        made.runner_folder()
    (tmp_path / lacking).write_bytes(b"the user's build")
    assert made.runner_folder() == tmp_path


def test_without_apt_get_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError, match=r"needs 'apt-get', which cannot be started here: .*SECATEUR_RUNNER"):
        list(made._libraries(tmp_path))


def test_without_a_network_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(made, "_run", lambda *_: (_ for _ in ()).throw(DeviceError("fetching failed: no route")))
    with pytest.raises(DeviceError, match="no route"):
        made.runner_folder()
    assert list((tmp_path / "cache").iterdir()) == []


def _package(path, files, links=()):
    """A Debian package: an ar archive, one of whose members is a tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, target in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    members = {"debian-binary": b"2.0\n", "control.tar.xz": b"odd", "data.tar.xz": packed.getvalue()}
    text = b"!<arch>\n"
    for name, data in members.items():
        text += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    path.write_bytes(text)
    return path


def test_unpacking_a_package(tmp_path):
    lib = "./usr/lib/aarch64-linux-gnu"
    files = {f"{lib}/liba.so.6.0.30": b"library", f"{lib}/libb.so.1": b"other", "./usr/share/liba.so.6": b"no library"}
    package = _package(tmp_path / "p.deb", files, [(f"{lib}/liba.so.6", "liba.so.6.0.30")])
    assert made._from_package(package, ["liba.so.6", "libb.so.1"]) == {"liba.so.6": b"library", "libb.so.1": b"other"}
    with pytest.raises(DeviceError, match=r"'p\.deb' does not hold 'libc\.so\.6'"):
        made._from_package(package, ["libc.so.6"])


@pytest.mark.parametrize("damage", [b"", b"!<arch>\n", b"no archive at all"])
def test_a_damaged_package(damage, tmp_path):
    package = tmp_path / "p.deb"
    package.write_bytes(damage)
    with pytest.raises(DeviceError, match=r"'p\.deb' cannot be unpacked: "):
        made._from_package(package, ["libc.so.6"])
