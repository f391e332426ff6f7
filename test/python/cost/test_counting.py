"""The counting plugin, on a program of ten instructions whose counts are known."""

import struct
import subprocess

import pytest

from secateur.runtime_targets.devices import DeviceError
from secateur.runtime_targets.devices.counting import Counts, cycle_estimates, plugin, plugin_option, read_counts
from secateur.runtime_targets.devices.counting.count import Block, Executed

PROGRAM = (
    0xD2800141,  # mov x1, #10
    0x910003E0,  # mov x0, sp
    0xAD400400,  # ldp q0, q1, [x0]           the loop: ten times
    0x4F811002,  # fmla v2.4s, v0.4s, v1.s[0]
    0x3D800002,  # str q2, [x0]
    0xF1000421,  # subs x1, x1, #1
    0x54FFFF81,  # b.ne the loop
    0xD2800000,  # mov x0, #0
    0xD2800BA8,  # mov x8, #93                exit
    0xD4000001,  # svc #0
)
LOOP = "".join(f"{word:08x}" for word in PROGRAM[2:7])


def elf(words):
    """A static aarch64 program: an ELF header, one segment, and the code."""
    base, start = 0x400000, 120
    code = struct.pack(f"<{len(words)}I", *words)
    magic = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<16sHHIQQQIHHHHHH", magic, 2, 183, 1, base + start, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    size = start + len(code)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + code


def executed(tmp_path, counting, words=PROGRAM):
    program, counts = tmp_path / "program", tmp_path / "counts.json"
    program.write_bytes(elf(words))
    program.chmod(0o755)
    subprocess.run([counting[1], *plugin_option(counts), str(program)], check=True)
    return read_counts(counts), str(program)


def test_a_program_is_counted_exactly(tmp_path, counting):
    found, program = executed(tmp_path, counting)
    assert found.counts() == Counts(
        2 + 10 * 5 + 3, loads=10, stores=10, fmas=10, products=40, loaded_bytes=320, stored_bytes=160
    )
    # The first time round the loop belongs to the block that leads into it.
    assert found.runs[Block(program, LOOP)] == 9
    assert found.texts[Block(program, LOOP)][0].startswith("ldp")
    assert found.hottest()[0] == Block(program, LOOP)


def test_code_of_a_file_is_no_kernel(tmp_path, counting):
    found, program = executed(tmp_path, counting)
    assert found.kernels().counts() == Counts()
    assert found.where(lambda image: image == program).counts() == found.counts()


def test_a_difference_is_what_one_program_executes_more(tmp_path, counting):
    ten, program = executed(tmp_path, counting)
    thirteen, _ = executed(tmp_path, counting, (0xD28001A1, *PROGRAM[1:]))
    assert (thirteen - ten).counts() == Block(program, LOOP).counts * 3
    assert (ten - ten).runs == {}


def test_cycles_of_a_loop_are_those_of_its_slowest_chain(mca):
    # Four cycles from one fmla to the next that adds to its result; an addition is one.
    fmla, add = Block("", f"{0x4F811002:08x}"), Block("", f"{0x91000421:08x}")
    estimate = cycle_estimates(Executed({fmla: 1000, add: 1000}, {}))
    assert estimate.by_block[fmla] >= 2 * estimate.by_block[add] >= 1.9
    whole = 1000 * (estimate.by_block[fmla] + estimate.by_block[add])
    assert estimate.cycles == pytest.approx(whole) and "neoverse-n1" in estimate.model


def test_without_a_compiler_a_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(DeviceError, match=r"'no-such-compiler' .*Debian and Ubuntu have one in 'gcc'"):
        plugin.build_plugin.__wrapped__()


def test_counts_that_are_missing_or_damaged_are_refused(tmp_path):
    with pytest.raises(DeviceError, match="left no counts"):
        read_counts(tmp_path / "missing.json")
    (tmp_path / "cut.json").write_text('{"images": [""], "blocks": [')
    with pytest.raises(DeviceError, match="left no counts"):
        read_counts(tmp_path / "cut.json")
