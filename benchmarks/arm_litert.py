"""LiteRT (XNNPACK) for aarch64, run and counted under the emulator that counts Secateur's code.

Needs an aarch64 Python with NumPy and LiteRT, which are fetched once: Python and its libraries from Debian's arm64
packages (by apt-get, with lists of its own; nothing is installed), NumPy and `ai-edge-litert` as wheels by pip. The
`.tflite` file is converted by the environment of the peers (`make bench-peers` makes it).
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur.dialects.scratch import ScratchFolder
from secateur.runtime_targets.devices.counting import Executed, plugin_option, read_counts
from secateur.runtime_targets.devices.emulated import emulator
from secateur.runtime_targets.devices.runner_folder import cache_folder

from .peers.process import PeerError, PeerProcess, relative_l2
from .peers.registry import ADAPTERS, Peer, interpreter

if TYPE_CHECKING:
    from collections.abc import Callable

LIBRARY = "libpywrap_litert_common.so"
"""The file that holds LiteRT and XNNPACK."""
_PACKAGES = (
    "libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8",
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib",
)  # fmt: skip
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SOURCE = f"deb [arch=arm64 signed-by={_KEYS}] http://deb.debian.org/debian bookworm main"
_WHEELS = ("numpy==2.3.5", "ai-edge-litert==2.3.0")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64")
# XNNPACK asks which core it is on and takes the kernels that were written for it. Under emulation it would read the
# file of the machine that emulates. Implementer and part: Arm's Cortex-A76.
_CPUINFO = """processor\t: 0
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp ssbs
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x4
CPU part\t: 0xd0b
CPU revision\t: 1

"""
_SECONDS = 1200.0


def count_litert(
    folder: Path, peer: Peer, environments: Path, progress: "Callable[[str], None]" = lambda stage: None
) -> tuple[Executed, float]:
    """What one call of the model in `folder` (made by `write_model`) executes on an emulated Cortex-A76, one thread, by
    the difference of two calls and one; and the relative L2 distance of its output from PyTorch's. `peer`: LiteRT in
    f32 or int8.

    Raises `PeerError`, one sentence, for what cannot be had here.
    """
    progress("converting for LiteRT")
    model = _converted(folder, peer, environments)
    progress("fetching an aarch64 Python with LiteRT")
    root = _sysroot()
    found = []
    with ScratchFolder("litert") as scratch:
        outputs = Path(scratch) / "outputs.npz"
        for calls in (1, 2):
            progress(f"counting LiteRT, {calls} of 2")
            counts = Path(scratch) / "counts.json"
            counts.unlink(missing_ok=True)
            _run(root, model, folder / "inputs.npz", calls, outputs, counts)
            found.append(read_counts(counts))
        with np.load(outputs) as arrays, np.load(folder / "expected.npz") as expected:
            error = relative_l2(list(arrays.values()), list(expected.values()))
    return found[1] - found[0], error


def _run(root: Path, model: Path, inputs: Path, calls: int, outputs: Path, counts: Path) -> None:
    program = Path(__file__).with_name("arm_litert_run.py")
    environment = {
        "PYTHONPATH": str(root / "site"),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        # NumPy's threads would wait in loops, which would be counted.
        "OPENBLAS_NUM_THREADS": "1",
    }
    command = [emulator(), "-L", str(root), "-cpu", "cortex-a76", *plugin_option(counts)]
    command += [str(root / "usr/bin/python3.11"), "-P", str(program)]
    command += [str(model), str(inputs), str(calls), str(outputs)]
    _call("LiteRT under emulation", command, environment)


def _converted(folder: Path, peer: Peer, environments: Path) -> Path:
    """The `.tflite` file in `folder`, which a worker of the peers' environment writes."""
    path = folder / ("model.int8.tflite" if peer.precision == "int8" else "model.tflite")
    if path.is_file():
        return path
    python = interpreter(peer, environments)
    if python is None:
        raise PeerError(f"LiteRT's converter is not installed in '{environments}'; `make bench-peers` installs it")
    adapter = ADAPTERS / f"{peer.adapter}.py"
    worker = PeerProcess.of(python, adapter, folder, 1, folder / "litert.npz", peer.precision)
    try:
        worker.start()
    finally:
        worker.close()
    return path


def _sysroot() -> Path:
    """A folder with an aarch64 Linux's libraries and Python, and `site/` with the wheels; made where it is missing."""
    cache = cache_folder()
    root = cache / "litert-2.3.0-aarch64"
    if root.is_dir():
        return root
    cache.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=cache, prefix=".new-litert-"))
    try:
        with ScratchFolder("litert") as scratch:
            for package in _debian_packages(Path(scratch)):
                _call("unpacking Debian's packages", ["dpkg-deb", "-x", str(package), str(new)])
            for wheel in _wheels(Path(scratch)):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(new / "site")
        # The emulator looks for a program's files here first.
        (new / "proc").mkdir()
        (new / "proc" / "cpuinfo").write_text(_CPUINFO)
        new.rename(root)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return root


def _debian_packages(scratch: Path) -> list[Path]:
    for name in ("lists/partial", "cache/archives/partial"):
        (scratch / name).mkdir(parents=True)
    (scratch / "sources.list").write_text(_SOURCE + "\n")
    (scratch / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::Etc::sourcelist": str(scratch / "sources.list"),
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": str(scratch / "lists"),
        "Dir::State::status": str(scratch / "status"),
        "Dir::Cache": str(scratch / "cache"),
    }
    command = ["apt-get", "--quiet", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]
    _call("reading Debian's list of arm64 packages", [*command, "update"], folder=scratch)
    _call("fetching Debian's arm64 packages", [*command, "download", *_PACKAGES], folder=scratch)
    return sorted(scratch.glob("*.deb"))


def _wheels(scratch: Path) -> list[Path]:
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.11", f"--dest={scratch}"]
    options += [f"--platform={platform}" for platform in _PLATFORMS]
    _call("fetching LiteRT's aarch64 wheel", [sys.executable, "-m", "pip", "download", *options, *_WHEELS])
    return sorted(scratch.glob("*.whl"))


def _call(
    what: str, command: Sequence[str], environment: dict[str, str] | None = None, folder: Path | None = None
) -> None:
    """Runs a program to its end. Raises `PeerError` with the last line that it printed where it fails."""
    try:
        done = subprocess.run(
            list(command),
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"{what} failed: {error}") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise PeerError(f"{what} failed: {lines[-1][:200] if lines else f'exit code {done.returncode}'}")
