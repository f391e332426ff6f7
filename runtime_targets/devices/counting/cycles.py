"""Cycles that blocks of code are estimated to take, by llvm-mca. Estimates from a model of the core, and no times."""

import dataclasses
import functools
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from secateur.dialects.scratch import ScratchFolder

from ..device import DeviceError, run_program
from .count import Block, Executed

# LLVM has a model of Neoverse N1, which is Cortex-A76 for servers; what it calls the model of Cortex-A76 is A57's.
CORE = "neoverse-n1"
# Cycles are those of one of so many runs after each other, each waiting for what it needs of the one before.
_ITERATIONS = 100
# Blocks are looked at until they hold this part of all instructions; the others are taken to need as many cycles
# an instruction.
_COVERED = 0.995
_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
class CycleEstimate:
    """Cycles of everything, and of one run of each block that was looked at. `model`: by which model of which LLVM."""

    cycles: float
    by_block: dict[Block, float]
    model: str


def cycle_estimates(executed: Executed) -> CycleEstimate:
    """What llvm-mca says of the hottest blocks of `executed`, weighted by their runs.

    Every load is taken to hit the L1 cache and every branch to be foreseen. Raises `DeviceError`.
    """
    total = executed.counts().instructions
    looked_at: list[Block] = []
    seen = 0
    for block in executed.hottest():
        if seen >= _COVERED * total or executed.runs[block] <= 0:
            break
        looked_at.append(block)
        seen += executed.runs[block] * block.counts.instructions
    by_block = dict(zip(looked_at, _cycles([b.code for b in looked_at]), strict=True))
    cycles = sum(executed.runs[block] * cycles for block, cycles in by_block.items())
    return CycleEstimate(cycles * total / seen if seen else 0.0, by_block, model())


@functools.cache
def model() -> str:
    """The core's model and LLVM's version. Raises `DeviceError` where LLVM's tools are not installed."""
    shown = run_program([_tool("llvm-mca"), "--version"], timeout=_SECONDS).out
    version = re.search(r"LLVM version (\S+)", shown)
    return f"{CORE}, LLVM {version[1] if version else 'of unknown version'}"


@functools.cache
def _tool(name: str) -> str:
    # Debian adds the version to the name; without one it is an old LLVM, whose models are worse.
    for candidate in (*(f"{name}-{version}" for version in range(30, 15, -1)), name):
        found = shutil.which(candidate)
        if found is not None:
            return found
    raise DeviceError(
        f"cycles are estimated by '{name}', which is not installed; Debian and Ubuntu have it in 'llvm-19'"
    )


def _cycles(codes: Sequence[str]) -> list[float]:
    """Cycles of one run of each piece of machine code, in the steady state of a loop of it."""
    if not codes:
        return []
    with ScratchFolder("mca") as scratch:
        source = Path(scratch) / "blocks.s"
        source.write_text("\n".join(_assembly(codes, Path(scratch))))
        command = [_tool("llvm-mca"), "-mtriple=aarch64", f"-mcpu={CORE}", "-mattr=+all", "-json"]
        done = run_program([*command, f"-iterations={_ITERATIONS}", str(source)], timeout=_SECONDS)
    if done.status:
        raise DeviceError(f"'llvm-mca' {done.fault()}")
    try:
        # Warnings may stand before the JSON.
        regions = json.loads(done.out[done.out.index("{") :])["CodeRegions"]
        found = {r["Name"]: r["SummaryView"]["TotalCycles"] / r["SummaryView"]["Iterations"] for r in regions}
        return [found[f"block{number}"] for number in range(len(codes))]
    except (ValueError, KeyError) as error:
        raise DeviceError(f"'llvm-mca' printed no estimates: {error}") from None


def _assembly(codes: Sequence[str], scratch: Path) -> list[str]:
    """The machine code as assembly, each piece a region of llvm-mca."""
    lines = []
    for code in codes:
        words = [bytes.fromhex(code[i : i + 8])[::-1] for i in range(0, len(code), 8)]
        lines.append("".join(f"0x{byte:02x} " for byte in b"".join(words)))
    file = scratch / "code.txt"
    # One line of bytes a block, and an instruction that no kernel has to tell where it ends.
    separator = "".join(f"0x{byte:02x} " for byte in bytes.fromhex("20003ed4"))
    file.write_text("\n".join(f"{line}\n{separator}" for line in lines))
    done = run_program(
        [_tool("llvm-mc"), "-disassemble", "-triple=aarch64", "-mattr=+all", str(file)], timeout=_SECONDS
    )
    text = [line for line in done.out.splitlines() if line.strip() and not line.lstrip().startswith(".")]
    assembly, number = ["# LLVM-MCA-BEGIN block0"], 0
    for line in text:
        if line.split()[0] == "brk":
            assembly.append("# LLVM-MCA-END")
            number += 1
            if number < len(codes):
                assembly.append(f"# LLVM-MCA-BEGIN block{number}")
        else:
            assembly.append(line)
    if number != len(codes):
        raise DeviceError("'llvm-mc' did not read the code of the blocks back")
    return assembly
