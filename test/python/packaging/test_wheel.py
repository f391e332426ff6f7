"""A built wheel holds every Python file of the packaged folders, and installs into an environment of its own."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = PROJECT["tool"]["setuptools"]["package-dir"]


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    # A copy, because a build leaves folders behind that would be packaged next time.
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for part in FOLDERS.values():
        shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
    build = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet")
    run(*build, "--wheel-dir", folder, source)
    (made,) = folder.glob("*.whl")
    return made


def test_wheel_holds_the_tree(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if name.endswith(".py")}
    expected = {
        f"{package.replace('.', '/')}/{file.relative_to(ROOT / folder).as_posix()}"
        for package, folder in FOLDERS.items()
        for file in (ROOT / folder).rglob("*.py")
    }
    assert packed == expected
    application = "secateur/applications/question_answering"
    assert {f"{application}/page.html", f"{application}/texts/apollo-11.txt"} <= names


def test_wheel_installs_and_its_commands_run(wheel, tmp_path):
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    (packages,) = environment.glob("lib/python*/site-packages")
    # The dependencies of this environment without its own Secateur: in a folder that a .pth names, none is read.
    (packages / "dependencies.pth").write_text(str(Path(find_spec("numpy").origin).parents[1]))
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--quiet", wheel)
    version = PROJECT["project"]["version"]
    assert run(environment / "bin" / "secateur", "--version", cwd=tmp_path) == f"secateur {version}\n"
    assert "host-cpu" in run(environment / "bin" / "secateur", "targets", cwd=tmp_path)
    text = "module {}"
    assert "module" in run(environment / "bin" / "sparsity-opt", "--canonicalize", input=text, cwd=tmp_path)
    where = run(python, "-c", "import secateur.compiler as c; print(c.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(packages)


def test_every_top_level_package_folder_is_mapped():
    unpackaged = {"test", "docs", "applications", "build"}
    found = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert found - unpackaged == {folder for folder in FOLDERS.values() if "/" not in folder}
