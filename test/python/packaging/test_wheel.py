"""An installed wheel holds every Python file of the packaged folders."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_wheel_holds_the_tree(tmp_path):
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    source = tmp_path / "source"
    source.mkdir()
    # A copy, because a build leaves folders behind that would be packaged next time.
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for folder in folders.values():
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run([*command, "--wheel-dir", str(tmp_path), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if name.endswith(".py")}
    expected = {
        f"{package.replace('.', '/')}/{file.relative_to(ROOT / folder).as_posix()}"
        for package, folder in folders.items()
        for file in (ROOT / folder).rglob("*.py")
    }
    assert packed == expected
    application = "secateur/applications/question_answering"
    assert {f"{application}/page.html", f"{application}/texts/apollo-11.txt"} <= names


def test_every_top_level_package_folder_is_mapped():
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    unpackaged = {"test", "docs", "applications", "build"}
    found = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert found - unpackaged == {folder for folder in folders if "/" not in folder}
