"""Opens bundles: a folder, or a `.zip` of it, all of it checked before any of it is used."""

import contextlib
import hashlib
import os
import platform
import stat
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.dialects.scratch import ScratchFolder

from .code_check import check_code
from .cpu import cpu_features
from .found_instead import MAKE, no_bundle
from .manifest import MANIFEST, BundleError, FileEntry, Manifest, TargetFiles, parse_manifest
from .runner import Runner
from .writing import write_bundle

if TYPE_CHECKING:
    from .iree.session import Session

__all__ = ["Bundle", "BundleError", "Manifest", "open_bundle", "write_bundle"]

_MANIFEST_LIMIT = 64 << 20
_CHUNK = 1 << 22


class Bundle:
    """An open bundle: its `manifest`, and the `folder` with its files, all of which have the hashes it states.

    A bundle that was a `.zip` is unpacked into a temporary folder, which is removed with `close`, at the end of a
    `with`, or with the object. Sessions keep the files that they map.
    """

    def __init__(self, folder: Path, manifest: Manifest, unpacked: Any = None) -> None:
        self.folder = folder
        self.manifest = manifest
        self._unpacked = unpacked

    def __enter__(self) -> "Bundle":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Removes what was unpacked. Sessions that are open go on."""
        if self._unpacked is not None:
            self._unpacked.cleanup()

    def file(self, name: str) -> Path:
        """Where a file of the bundle lies. Raises `BundleError` where it has none of that name."""
        if name not in self.manifest.files:
            raise BundleError(f"the bundle has no file '{name}'")
        return self.folder / name

    def target(self, name: str | None = None) -> TargetFiles:
        """The target of that name; None: the first that this machine can run. Raises `BundleError`."""
        if name is None:
            return _runnable(self.manifest, str(self.folder))
        for target in self.manifest.targets:
            if target.name == name:
                return target
        known = ", ".join(t.name for t in self.manifest.targets)
        raise BundleError(f"the bundle has no code for the target '{name}'; it has: {known}", usage=True)

    def parameters(self, target: TargetFiles) -> list[Path]:
        """Where the parameter archives of a target lie."""
        return [self.file(name) for name in target.parameters]

    def session(self, target: str | None = None, threads: int = 1) -> "Session":
        """The code for a target, loaded. Raises `BundleError` or `SessionError`."""
        from .iree.session import Session

        chosen = self.target(target)
        reason = unfit(chosen)
        if reason:
            raise BundleError(f"the code for target '{chosen.name}' cannot run here: {reason}")
        device = "vulkan" if chosen.backend == "vulkan" else "cpu"
        return Session(self.file(chosen.module), self.parameters(chosen), threads=threads, device=device)

    def runner(self, target: str | None = None, threads: int = 1) -> Runner:
        """The model, called with arrays by name. Raises `BundleError` or `SessionError`."""
        return Runner(self.manifest, self.session(target, threads), keep=self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the bundle again, as a folder or, where `path` ends in `.zip`, as one file. Raises `BundleError`."""
        write_bundle(path, self.manifest, {name: self.folder / name for name in self.manifest.files})


def load(path: str | os.PathLike[str], threads: int = 1, target: str | None = None) -> Runner:
    """Opens a bundle (folder or `.zip`) and loads its model. Raises `BundleError` or `SessionError`."""
    return open_bundle(path).runner(target, threads)


def open_bundle(path: str | os.PathLike[str], *, runnable: bool = True) -> Bundle:
    """Opens a bundle and checks all of it: names, sizes, hashes, schema, and that code and parameters fit them.

    `runnable`: also refuse one that has no code for this machine. Raises `BundleError` at the first fault.
    """
    path = Path(path)
    try:
        other = no_bundle(path)
        if other is not None:
            raise BundleError(other)
        bundle = _open_folder(path) if path.is_dir() else _open_zip(path)
    except OSError as error:
        raise BundleError(f"the bundle '{path}' cannot be read: {error.strerror or error}") from None
    try:
        check_code(bundle.manifest, bundle.file, str(path))
        if runnable:
            _runnable(bundle.manifest, str(path))
    except BaseException:
        bundle.close()
        raise
    return bundle


def _runnable(manifest: Manifest, where: str) -> TargetFiles:
    reasons = []
    # Whether this machine has a GPU is known when code is loaded, not before.
    for target in sorted(manifest.targets, key=lambda t: t.backend == "vulkan"):
        reason = unfit(target)
        if reason is None:
            return target
        reasons.append(f"target '{target.name}' {reason}")
    raise BundleError(f"'{where}' cannot run on this machine: {'; '.join(reasons)}")


def unfit(target: TargetFiles) -> str | None:
    """Why this machine cannot run a target's code, or None where it can. A GPU is asked when the code is loaded."""
    if target.backend == "vulkan":
        return None
    if target.architecture != platform.machine():
        return f"needs a CPU of architecture {target.architecture}, and this one is {platform.machine()}"
    lacking = sorted(set(target.cpu_features) - cpu_features())
    if lacking:
        return f"needs the CPU features {', '.join(lacking)}, which this machine lacks"
    return None


def _open_folder(folder: Path) -> Bundle:
    found = {}
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            entry = Path(root) / name
            mode = entry.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            relative = entry.relative_to(folder).as_posix()
            if not stat.S_ISREG(mode):
                raise BundleError(f"'{folder}' holds '{relative}', which is a link or no plain file")
            found[relative] = entry.stat().st_size
    if found.pop(MANIFEST) > _MANIFEST_LIMIT:
        raise BundleError(f"the {MANIFEST} of '{folder}' is larger than any that was written")
    manifest = parse_manifest((folder / MANIFEST).read_bytes(), str(folder))
    _check_list(found, manifest, str(folder))

    def check(item: tuple[str, FileEntry]) -> None:
        name, entry = item
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                raise _altered(name, str(folder))

    # Hashing leaves the interpreter lock: files are hashed side by side.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        list(pool.map(check, manifest.files.items()))
    return Bundle(folder, manifest)


def _altered(name: str, where: str) -> BundleError:
    return BundleError(f"the file '{name}' of '{where}' was altered: its SHA-256 is not the one in the {MANIFEST}")


def _check_list(found: dict[str, int], manifest: Manifest, where: str) -> None:
    """Compares names and sizes with the manifest's."""
    for name in sorted(set(found) - set(manifest.files)):
        raise BundleError(f"'{where}' holds '{name}', which its {MANIFEST} does not list")
    for name, entry in sorted(manifest.files.items()):
        if name not in found:
            raise BundleError(f"'{where}' lacks '{name}', which its {MANIFEST} lists")
        if found[name] != entry.size_bytes:
            raise BundleError(
                f"the file '{name}' of '{where}' has {found[name]} bytes; its {MANIFEST} states {entry.size_bytes}"
            )


def _open_zip(path: Path) -> Bundle:
    try:
        with zipfile.ZipFile(path) as archive:
            return _unpack(archive, path)
    # A damaged archive raises whatever its damage leads the reader to.
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BundleError(f"'{path}' is no bundle, or a damaged one: {error}; {MAKE}") from None


def _unpack(archive: zipfile.ZipFile, path: Path) -> Bundle:
    found: dict[str, int] = {}
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or info.filename.endswith("/"):
            raise BundleError(f"'{path}' holds '{info.filename}', which is a link or no plain file")
        if info.filename in found:
            raise BundleError(f"'{path}' holds '{info.filename}' twice")
        found[info.filename] = info.file_size
    if MANIFEST not in found:
        raise BundleError(f"'{path}' is no bundle: it has no {MANIFEST}; {MAKE}")
    if found.pop(MANIFEST) > _MANIFEST_LIMIT:
        raise BundleError(f"the {MANIFEST} of '{path}' is larger than any that was written")
    manifest = parse_manifest(archive.read(MANIFEST), str(path))
    # From here on only names of the manifest are used, which lie inside the folder.
    _check_list(found, manifest, str(path))
    unpacked = ScratchFolder("bundle")
    try:
        folder = Path(unpacked.name)
        with unpacked.explained():
            for name, entry in manifest.files.items():
                _extract(archive, name, entry, folder / name, str(path))
    except BaseException:
        with contextlib.suppress(OSError):
            unpacked.cleanup()
        raise
    return Bundle(folder, manifest, unpacked)


def _extract(archive: zipfile.ZipFile, name: str, entry: FileEntry, target: Path, where: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), entry.size_bytes
    with archive.open(name) as source, target.open("xb") as file:
        # The archive's own word on a size is no limit to what unpacks from it.
        while left >= 0 and (chunk := source.read(_CHUNK)):
            left -= len(chunk)
            digest.update(chunk)
            file.write(chunk)
    if left or digest.hexdigest() != entry.sha256:
        raise _altered(name, where)
