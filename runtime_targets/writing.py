"""Writes bundles: whole or not at all, the same bytes for the same input."""

import contextlib
import ctypes
import hashlib
import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from .manifest import FORMAT, MANIFEST, SCHEMA_VERSION, BundleError, FileEntry, Manifest, dump_manifest, first_fault

Contents = bytes | str | os.PathLike[str]
_CHUNK = 1 << 22
_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_bundle(path: str | os.PathLike[str], manifest: Manifest, files: Mapping[str, Contents]) -> Manifest:
    """Writes a bundle: a folder, or one file where `path` ends in `.zip`. Returns the manifest with its `files`.

    `files`: path in the bundle -> bytes, or a file to copy. A bundle that stands at `path` is replaced in one step;
    until then it stays whole. Raises `BundleError` where something stands there that is no bundle, where `files` lacks
    what the manifest refers to, or where writing fails.
    """
    path = Path(path).absolute()
    missing = sorted(set(manifest.referenced()) - set(files))
    if missing:
        raise BundleError(f"the bundle '{path}' refers to the file '{missing[0]}', which it is not given")
    check_replaceable(path)
    try:
        # No byte is written under a name that leads out of the bundle.
        nothing = FileEntry(size_bytes=0, sha256="0" * 64)
        _with_files(manifest, dict.fromkeys(files, nothing))
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".zip":
            # A zip is written from the first byte to the last, and the manifest with all hashes stands first.
            manifest = _with_files(manifest, {n: _entry(c) for n, c in sorted(files.items())})
            with _new(path) as new:
                _write_zip(new, manifest, files)
        else:
            with _new(path) as new:
                new.mkdir()
                manifest = _with_files(manifest, {n: _copy(c, new / n) for n, c in sorted(files.items())})
                _copy(dump_manifest(manifest), new / MANIFEST)
    except ValidationError as error:
        raise BundleError(f"the bundle '{path}' cannot be written: {first_fault(error)[1]}") from None
    except ValueError as error:
        raise BundleError(f"the bundle '{path}' cannot be written: {error}") from None
    except OSError as error:
        raise BundleError(f"the bundle '{path}' cannot be written: {error.strerror or error}") from None
    return manifest


def _with_files(manifest: Manifest, entries: dict[str, FileEntry]) -> Manifest:
    # What is written is of the newest schema, also where an older bundle is saved again.
    changed = {"files": entries, "schema_version": SCHEMA_VERSION}
    return Manifest.model_validate(manifest.model_copy(update=changed).model_dump())


def check_replaceable(path: Path) -> None:
    """Raises `BundleError` where something other than a bundle stands at `path`; an empty folder is nothing."""
    if not os.path.lexists(path):
        return
    if path.is_symlink():
        raise BundleError(f"'{path}' is a symbolic link; a bundle is not written over it")
    if path.suffix == ".zip" and path.is_file():
        found = _zip_manifest(path)
    elif path.suffix != ".zip" and path.is_dir():
        if not any(path.iterdir()):
            return
        found = _read(path / MANIFEST)
    else:
        found = b""
    with contextlib.suppress(ValueError):
        value = json.loads(found)
        if isinstance(value, dict) and value.get("format") == FORMAT:
            return
    raise BundleError(f"'{path}' exists and is no bundle; it is not overwritten")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _zip_manifest(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(MANIFEST)
    except (OSError, KeyError, zipfile.BadZipFile):
        return b""


@contextlib.contextmanager
def _new(path: Path) -> Iterator[Path]:
    """A place beside `path`; what stands there at the end takes the name `path`, or is removed after an error."""
    new = path.with_name(f".{path.name}.{secrets.token_hex(6)}.new")
    try:
        yield new
        _flush(new)
        if path.is_dir() and any(path.iterdir()):
            _exchange(new, path)
        else:
            new.replace(path)
    finally:
        if new.is_dir():
            shutil.rmtree(new, ignore_errors=True)
        else:
            new.unlink(missing_ok=True)


def _exchange(new: Path, path: Path) -> None:
    """Gives the folder `new` the name `path` and the other way round, in one step where the system can."""
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if rename is not None and rename(here, os.fsencode(new), here, os.fsencode(path), exchange) == 0:
        return
    old = new.with_suffix(".old")
    path.rename(old)
    try:
        new.rename(path)
    except OSError:
        old.rename(path)
        raise
    old.rename(new)


def _flush(new: Path) -> None:
    """Brings the files to the disk before they get their name."""
    for file in sorted(new.rglob("*")) if new.is_dir() else [new]:
        if file.is_file():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())


def _chunks(contents: Contents) -> Iterator[bytes]:
    if isinstance(contents, bytes):
        yield contents
        return
    with Path(contents).open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _entry(contents: Contents) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    for chunk in _chunks(contents):
        digest.update(chunk)
        size += len(chunk)
    return FileEntry(size_bytes=size, sha256=digest.hexdigest())


def _copy(contents: Contents, target: Path) -> FileEntry:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as file:
        for chunk in _chunks(contents):
            digest.update(chunk)
            size += file.write(chunk)
    return FileEntry(size_bytes=size, sha256=digest.hexdigest())


def _write_zip(path: Path, manifest: Manifest, files: Mapping[str, Contents]) -> None:
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
        for name, contents in [(MANIFEST, dump_manifest(manifest)), *sorted(files.items())]:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = 3  # Unix, on every system, so that the bytes are the same
            info.external_attr = 0o100644 << 16
            with archive.open(info, "w", force_zip64=True) as entry:
                digest = hashlib.sha256()
                for chunk in _chunks(contents):
                    digest.update(chunk)
                    entry.write(chunk)
            if name != MANIFEST and digest.hexdigest() != manifest.files[name].sha256:
                raise ValueError(f"'{contents!r}' changed while it was read")
