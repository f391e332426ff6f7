"""The runner folder: what runs a compiled module on a 64-bit Arm system that has none of it.

IREE's programs of the aarch64 wheel, the loader that starts them and the libraries they need, side by side, so that

    ./ld-linux-aarch64.so.1 --library-path . ./iree-run-module --module=model.vmfb ...

works in any folder of any aarch64 Linux, Android's included, and under QEMU. The files come from PyPI (by pip, as it
is configured) and from Debian (by apt-get, with an index of its own: the packages of this machine are not touched);
each has a hash that is checked. They are fetched once, into Secateur's cache. A folder with files of these names in
`$SECATEUR_RUNNER` takes their place; those are used as they are.

    python -m secateur.runtime_targets.devices.runner_folder    # makes the folder and prints where it is
"""

import contextlib
import functools
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from secateur.dialects.scratch import ScratchFolder
from secateur.dialects.user_folders import user_folder

from .device import DeviceError

LOADER = "ld-linux-aarch64.so.1"
_WHEEL = ("iree-base-runtime==3.13.0", "manylinux_2_28_aarch64", "3.11")
_PROGRAMS = {
    "iree-benchmark-module": "1fea2a7fd5856ec635dbebe1f970cafe91c5e0bc11a18ba84f1b9d02a4f7103c",
    "iree-run-module": "e0b29bbf75d108367f0f95e066a93576599d425c5371918880f6a87a8719c6c3",
}
# By Debian package, at the versions of Debian 12 when it was final.
_LIBRARIES = {
    "libc6": {
        LOADER: "17538b8f9889a470c061f69a8fea8124da89627311cd16546c133a89f09056df",
        "libc.so.6": "e4ac8ae1d81e4865e3aadedb962879cf9415903b3f2ba81ec75e9962b86ab8b0",
        "libdl.so.2": "e5e9474a683596d59cc9e13246bc83878433e53c3befbabd73e3da9ccb5fe174",
        "libm.so.6": "3c4cb3be0b974edf05f023f85ab15107fb5afc2687163593d0d4cf8e80c17b39",
        "libpthread.so.0": "434dcd27f22fc8bf236c0c00541a1e503d302aa796c333729a2cd15a4cfe4814",
        "librt.so.1": "41d135537fba3875ebccccace6e4bb5e546941877376504b3921e663f83e42e7",
    },
    "libgcc-s1": {"libgcc_s.so.1": "046856f95f4636f1fc7c3a12bf4f3cd5634c2fc5145c3fdf7395d4f349fa69c7"},
    "libstdc++6": {"libstdc++.so.6": "532f3a12d7b8fef6cc7a064ea106b6c4ab2365674b73e743e4a385d4ffb6c8ab"},
}
# Tried in this order: releases move to the archive when their support ends. The hashes above are what is trusted.
_SOURCES = (
    "deb [arch=arm64 trusted=yes] http://deb.debian.org/debian bookworm main",
    "deb [arch=arm64 trusted=yes check-valid-until=no] http://archive.debian.org/debian bookworm main",
)

RUNNER_FILES: dict[str, str] = {**_PROGRAMS, **{n: h for files in _LIBRARIES.values() for n, h in files.items()}}
"""File name -> SHA-256 of everything in the folder."""

_TIMEOUT_SECONDS = 600.0
_OTHERWISE = "; a folder made on another machine may be named in SECATEUR_RUNNER instead"


def runner_folder() -> Path:
    """The folder, made now where it is not there yet: 9 MB, some seconds and a network connection.

    Two processes may make it at once. Raises `DeviceError`, one sentence, where it cannot be had.
    """
    given = os.environ.get("SECATEUR_RUNNER", "")
    return _given(Path(given).expanduser()) if given else _made()


def _given(folder: Path) -> Path:
    lacking = [name for name in sorted(RUNNER_FILES) if not (folder / name).is_file()]
    if lacking:
        raise DeviceError(f"the runner folder '{folder}', named in SECATEUR_RUNNER, lacks '{lacking[0]}'")
    return folder.absolute()


@functools.cache
def _made() -> Path:
    """The folder in the cache, its files checked; once in a process."""
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder = (
            cache / f"runner-aarch64-{hashlib.sha256(repr(sorted(RUNNER_FILES.items())).encode()).hexdigest()[:12]}"
        )
        if not _is_whole(folder):
            _make(cache, folder)
        # The compile cache lets go of what was not used for long.
        with contextlib.suppress(OSError):
            os.utime(folder)
    except OSError as error:
        raise DeviceError(f"the runner folder cannot be written below '{cache}': {error.strerror or error}") from None
    return folder


def cache_folder() -> Path:
    """Where the compile cache is; a folder that ends with the process where it is turned off."""
    chosen = os.environ.get("SECATEUR_CACHE", "")
    if chosen.lower() in ("off", "0", "no", "false"):
        return Path(_of_this_process().name)
    return (Path(chosen).expanduser() if chosen else user_folder("XDG_CACHE_HOME") / "secateur").absolute()


@functools.cache
def _of_this_process() -> ScratchFolder:
    return ScratchFolder("runner")


def _is_whole(folder: Path) -> bool:
    try:
        return all(_digest((folder / name).read_bytes()) == digest for name, digest in RUNNER_FILES.items())
    except OSError:
        return False


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _make(cache: Path, folder: Path) -> None:
    """Fetches everything beside `folder` and renames it when it is complete."""
    new = Path(tempfile.mkdtemp(dir=cache, prefix=".new-runner-"))
    try:
        with ScratchFolder("runner") as scratch:
            for name, data in (*_programs(Path(scratch)), *_libraries(Path(scratch))):
                (new / name).write_bytes(data)
                (new / name).chmod(0o755)
        new.chmod(0o755)
        try:
            new.rename(folder)
        except OSError:
            # Something stands there: what another process has just made, or a damaged folder.
            if not _is_whole(folder):
                folder.rename(new.with_suffix(".damaged"))
                new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(new.with_suffix(".damaged"), ignore_errors=True)


def _checked(name: str, data: bytes, source: str) -> tuple[str, bytes]:
    if _digest(data) != RUNNER_FILES[name]:
        raise DeviceError(
            f"the file '{name}' of '{source}' has SHA-256 {_digest(data)}, expected {RUNNER_FILES[name]}{_OTHERWISE}"
        )
    return name, data


def _run(what: str, arguments: Sequence[str], folder: Path) -> None:
    """Runs a download. Raises `DeviceError` with the first error that it prints."""
    try:
        done = subprocess.run(
            list(arguments), cwd=folder, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{what} took longer than {_TIMEOUT_SECONDS:g} seconds{_OTHERWISE}") from None
    except OSError as error:
        raise DeviceError(
            f"{what} needs '{arguments[0]}', which cannot be started here: {error.strerror or error}{_OTHERWISE}"
        ) from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith(("e:", "error"))] or lines or ["no reason given"]
        raise DeviceError(f"{what} failed: {errors[0]}{_OTHERWISE}")


def _programs(folder: Path) -> Iterator[tuple[str, bytes]]:
    requirement, platform, python = _WHEEL
    options = ["--quiet", "--no-deps", "--only-binary=:all:", f"--platform={platform}", f"--python-version={python}"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), requirement]
    _run(f"fetching '{requirement}' for {platform} with pip", command, folder)
    for wheel in folder.glob("*.whl"):
        try:
            with zipfile.ZipFile(wheel) as archive:
                found = [_checked(n, archive.read(f"iree/_runtime_libs/{n}"), wheel.name) for n in _PROGRAMS]
        except (zipfile.BadZipFile, KeyError) as error:
            raise DeviceError(f"'{wheel.name}' does not hold IREE's programs: {error}{_OTHERWISE}") from None
        yield from found


def _libraries(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The libraries, from Debian's arm64 packages of one source or the next."""
    faults = []
    for number, source in enumerate(_SOURCES):
        try:
            packages = _download(folder / str(number), source)
            found = [
                _checked(name, data, package)
                for package, files in _LIBRARIES.items()
                for name, data in _from_package(packages[package], list(files)).items()
            ]
        except DeviceError as error:
            faults.append(error)
            continue
        yield from found
        return
    raise faults[0]


def _download(folder: Path, source: str) -> dict[str, Path]:
    """Debian packages by name, fetched by an apt-get that knows of one source and of no installed package."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "sources.list").write_text(source + "\n")
    (folder / "status").touch()
    options = {
        "Dir::State": folder / "state",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "APT::Update::Error-Mode": "any",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
    }
    command = ["apt-get", "--quiet"]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    _run("reading Debian's list of arm64 packages with apt-get", [*command, "update"], folder)
    _run("fetching Debian's arm64 libraries with apt-get", [*command, "download", *_LIBRARIES], folder)
    found = {file.name.partition("_")[0]: file for file in folder.glob("*.deb")}
    lacking = sorted(set(_LIBRARIES) - set(found))
    if lacking:
        raise DeviceError(f"apt-get fetched no arm64 package '{lacking[0]}'{_OTHERWISE}")
    return found


def _from_package(package: Path, names: list[str]) -> dict[str, bytes]:
    """Libraries out of a Debian package, which is an `ar` archive with the files in its member `data.tar.xz`."""
    found = {}
    try:
        member = next(data for name, data in _ar_members(package.read_bytes()) if name.startswith("data.tar"))
        with tarfile.open(fileobj=io.BytesIO(member)) as archive:
            for entry in archive.getmembers():
                path = Path(entry.name)
                if path.name in names and path.parent.name == "aarch64-linux-gnu":
                    opened = archive.extractfile(entry)
                    if opened is not None:
                        found[path.name] = opened.read()
    except (OSError, StopIteration, ValueError, KeyError, tarfile.TarError) as error:
        raise DeviceError(f"'{package.name}' cannot be unpacked: {error or 'it is damaged'}{_OTHERWISE}") from None
    for name in names:
        if name not in found:
            raise DeviceError(f"'{package.name}' does not hold '{name}'{_OTHERWISE}")
    return found


def _ar_members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and contents of the members of an `ar` archive (`man 5 ar`): headers of 60 bytes, contents of even size."""
    magic, header = b"!<arch>\n", 60
    if not data.startswith(magic):
        raise ValueError("it is no ar archive")
    at = len(magic)
    while at + header <= len(data):
        name, size = data[at : at + 16].decode().rstrip(" /"), int(data[at + 48 : at + 58])
        yield name, data[at + header : at + header + size]
        at += header + size + size % 2


if __name__ == "__main__":
    try:
        print(runner_folder())
    except DeviceError as error:
        sys.exit(f"error: {error}")
