"""The plugin of QEMU that counts (`block_counts.c`), built by this machine's C compiler when it is first used."""

import functools
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from ..device import DeviceError, run_program
from ..runner_folder import cache_folder

_SOURCE = Path(__file__).with_name("block_counts.c")
_COMPILERS = ("cc", "gcc", "clang")
_BUILD_SECONDS = 120.0


def plugin_option(counts: Path) -> tuple[str, str]:
    """QEMU's option that has the plugin write its counts into the file `counts`. Raises `DeviceError`."""
    if "," in str(counts):
        raise DeviceError(f"QEMU takes no comma in the name of a file: '{counts}'")
    return "-plugin", f"{build_plugin()},counts={counts}"


@functools.cache
def build_plugin() -> Path:
    """The plugin, which is built where the cache has none of this source.

    Raises `DeviceError`, one sentence, where there is no C compiler or it fails.
    """
    folder = cache_folder()
    plugin = folder / f"block-counts-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:12]}.so"
    if plugin.is_file():
        return plugin
    command = [_compiler(), "-O2", "-shared", "-fPIC", str(_SOURCE)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".new-plugin-") as scratch:
            built = Path(scratch) / plugin.name
            done = run_program([*command, "-o", str(built)], timeout=_BUILD_SECONDS)
            if done.status:
                raise DeviceError(
                    f"the C compiler '{command[0]}' {done.fault()}; QEMU's counting plugin is built by it"
                )
            # Another process may have built it meanwhile: the files are the same.
            built.replace(plugin)
    except OSError as error:
        raise DeviceError(f"'{plugin}' cannot be written: {error.strerror or error}") from None
    return plugin


def _compiler() -> str:
    """`$CC`, or the first C compiler on the path. Raises `DeviceError`."""
    chosen = os.environ.get("CC", "")
    for name in [chosen] if chosen else _COMPILERS:
        found = shutil.which(name)
        if found is not None:
            return found
    tried = f"'{chosen}' (from CC)" if chosen else ", ".join(_COMPILERS)
    raise DeviceError(
        f"instructions are counted by a plugin of QEMU that a C compiler builds, and none is installed ({tried}); "
        "Debian and Ubuntu have one in 'gcc' with 'libc6-dev'"
    )
