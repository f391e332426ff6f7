"""IREE's compiler on an assembled module.

It runs as a program of its own (the one inside IREE's Python package): where it meets a case that its authors
did not, it ends its process, which must not be the user's.
"""

import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from iree.compiler import tools

from secateur.dialects.errors import SecateurError
from secateur.dialects.scratch import OTHERWISE, ScratchFolder, temporary_root, write_fault

from .assembly import Assembly
from .dot_products import compile_for_gpu
from .spirv import unsafe_kernels

if TYPE_CHECKING:
    from ..targets import Target

STOCK_FLAGS = ("--iree-opt-data-tiling", "--iree-llvmcpu-enable-ukernels=all")
"""The flags with which stock IREE is fastest on dense transformers on a CPU."""

UNCHECKED = "--verify=false"
"""Leaves out the checks of the IR between IREE's passes: a quarter of the time."""
_FLAGS = (
    "--mlir-print-debuginfo=false",
    # Tables for debuggers take up to a third of the time and a quarter of the module, and there are no lines to show.
    "--iree-llvmcpu-debug-symbols=false",
)
# IREE would else make f64 f32, in the arguments too, which then do not take what the model takes.
_DOUBLE = "--iree-input-demote-f64-to-f32=false"


class CompilationError(SecateurError):
    """IREE's compiler failed. The text is one sentence with its first error; `log` is all it printed."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


def compile_assembly(
    assembly: Assembly, target: "Target", *, flags: Sequence[str] = (), log: Path | None = None
) -> bytes:
    """Compiles for `target`, with `flags` after the target's own; returns a VM module (`.vmfb`).

    The same assembly and flags give the same bytes. Raises `CompilationError`; the compiler's whole output is in its
    `log` and, where a path is given, in the file `log`.
    """
    if assembly.subgroup != target.subgroup:
        # A session compares the device with what the module says: it must say what it was compiled for.
        raise CompilationError(
            f"the module is described for subgroups of {assembly.subgroup} lanes, the target '{target.name}' has "
            f"{target.subgroup}: describe the target on the module",
            "",
        )
    # What IREE's checks would find shows when results are compared with PyTorch's, where the code can be run at all.
    comparable = target.emulator is not None or target.architecture == platform.machine()
    arguments = [*target.iree_flags, *_FLAGS, *([UNCHECKED] if comparable else []), *flags]
    if target.backend != "vulkan":
        arguments.insert(0, _DOUBLE)
    try:
        if target.backend == "vulkan":
            return _checked(assembly, target, arguments)
        return tools.compile_str(assembly.text, extra_args=arguments, input_type="auto")
    except tools.CompilerToolError as error:
        text = str(error)
    if (fault := write_fault(Path(temporary_root()))) is not None:
        raise CompilationError(
            f"IREE's compiler cannot write temporary files into '{temporary_root()}': {fault}; {OTHERWISE}", text
        )
    if log is not None:
        log.write_text(text + "\n" + assembly.text)
    raise CompilationError(first_error(text, target.name), text)


def _checked(assembly: Assembly, target: "Target", arguments: list[str]) -> bytes:
    """The module, if none of its kernels may give another result on another run."""
    with ScratchFolder("spirv") as folder:
        dump = f"--iree-hal-dump-executable-binaries-to={folder}"
        code = compile_for_gpu(assembly.text, [*arguments, dump])
        unsafe = unsafe_kernels(Path(folder))
    if unsafe:
        raise CompilationError(
            f"IREE's compiler made kernels for target '{target.name}' whose threads share memory without a barrier "
            f"({', '.join(unsafe)}): their results could be wrong",
            "",
        )
    return code


def first_error(text: str, target: str) -> str:
    """One sentence with the first error in what IREE's compiler printed."""
    first = re.search(r"error: (.*)", text)
    if first is None:
        return f"IREE's compiler stopped for target '{target}' without saying why; its output is in the log"
    return f"IREE's compiler failed for target '{target}': {first.group(1).strip()}"
