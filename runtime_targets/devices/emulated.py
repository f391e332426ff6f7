"""64-bit Arm CPUs under QEMU's user-mode emulation: the code runs instruction by instruction, the time says nothing."""

import difflib
import functools
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from secateur.dialects.scratch import ScratchFolder

from .device import DeviceError, FolderDevice, Properties, run_program
from .runner_folder import LOADER, runner_folder

_EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")
DEFAULT_MODEL = "cortex-a76"

# Bits of AT_HWCAP and AT_HWCAP2 as /proc/cpuinfo names them: arch/arm64/include/uapi/asm/hwcap.h of Linux.
_HWCAP = """
    fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm jscvt fcma lrcpc dcpop sha3 sm3 sm4
    asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb paca pacg
"""
_HWCAP2 = """
    dcpodp sve2 sveaes svepmull svebitperm svesha3 svesm4 flagm2 frint svei8mm svef32mm svef64mm svebf16 i8mm bf16 dgh
    rng bti mte ecv afp rpres mte3 sme smei16i64 smef64f64 smei8i32 smef16f32 smeb16f32 smef32f32 smefa64 wfxt ebf16
"""


@functools.cache
def emulator() -> str:
    """The path of QEMU's emulator of aarch64 programs. Raises `DeviceError` where it is not installed."""
    for name in _EMULATORS:
        found = shutil.which(name)
        if found is not None:
            return found
    raise DeviceError(
        "Arm CPUs are emulated by 'qemu-aarch64', which is not installed; Debian and Ubuntu have it in 'qemu-user'"
    )


@functools.cache
def cpu_models() -> tuple[str, ...]:
    """The CPU models that the installed QEMU emulates. Raises `DeviceError`."""
    listed = run_program([emulator(), "-cpu", "help"], timeout=60)
    names = re.findall(r"^\s+(\S+)", listed.out, re.MULTILINE)
    # The status tells nothing: QEMU ends with 1 after a whole list too.
    if not names:
        raise DeviceError(
            f"'{emulator()}' lists no CPU models, so it cannot emulate one: {listed.fault() or 'no text'}"
        )
    return tuple(sorted(names))


@functools.cache
def model_features(model: str) -> frozenset[str]:
    """Names, as in /proc/cpuinfo, of what an emulated CPU can do. Raises `DeviceError`."""
    # The loader prints what the (emulated) kernel tells every program.
    command = [emulator(), "-cpu", model, str(runner_folder() / LOADER), "--list-diagnostics"]
    shown = run_program(command, timeout=60)
    words = dict(re.findall(r"^(dl_hwcap2?)=0x([0-9a-f]+)$", shown.out, re.MULTILINE))
    if "dl_hwcap" not in words:
        raise DeviceError(f"QEMU does not say what the CPU model '{model}' can do: {shown.fault() or 'no AT_HWCAP'}")
    found = set()
    for names, word in ((_HWCAP, words["dl_hwcap"]), (_HWCAP2, words.get("dl_hwcap2", "0"))):
        found |= {name for bit, name in enumerate(names.split()) if int(word, 16) >> bit & 1}
    return frozenset(found)


class EmulatedCpu(FolderDevice):
    """`qemu:MODEL`, one of `cpu_models()`.

    `folder`: where its files are kept; by default a temporary one that ends with the device. `options`: more options
    of QEMU, such as `("-plugin", "libcount.so,...")`. Raises `DeviceError` for an unknown model, and where QEMU or
    the runner folder cannot be had.
    """

    def __init__(self, model: str = DEFAULT_MODEL, folder: str | None = None, options: Sequence[str] = ()) -> None:
        if model not in cpu_models():
            near = difflib.get_close_matches(model, cpu_models(), n=1, cutoff=0.0)
            known = ", ".join(cpu_models())
            raise DeviceError(f"QEMU emulates no CPU '{model}'; did you mean '{near[0]}'? It has: {known}", usage=True)
        self.model, self.name = model, f"qemu:{model}"
        self._options = tuple(options)
        self._runner = runner_folder()
        self._temporary = ScratchFolder("qemu") if folder is None else None
        self.folder = self._temporary.name if self._temporary is not None else str(Path(folder or "").absolute())
        Path(self.folder).mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    def properties(self) -> Properties:
        free = shutil.disk_usage(self.folder).free
        return Properties(architecture="aarch64", cpu_features=model_features(self.model), free_bytes=free)

    def program(self, name: str) -> list[str]:
        runner = self._runner
        loader = [str(runner / LOADER), "--library-path", str(runner), str(runner / name)]
        return [emulator(), "-cpu", self.model, *self._options, *loader]
