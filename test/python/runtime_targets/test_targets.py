"""The registry of targets and what it says of this machine's CPU."""

import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.dialects.sparsity.attributes import Target as TargetAttribute
from secateur.runtime_targets import cpu
from secateur.runtime_targets.targets import TargetError, get_target, targets

_CPUINFO = "processor\t: 0\nflags\t\t: fpu vme sse2 {} hypervisor\n\nprocessor\t: 1\nflags\t\t: none\n"


def _machine(monkeypatch, tmp_path, text):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(cpu, "cpu_features", cpu.cpu_features.__wrapped__)


@pytest.mark.parametrize(
    ("flags", "vector_bytes", "registers"),
    [("avx avx2 fma avx512f", 64, 32), ("avx avx2 fma", 32, 16)],
)
def test_description_follows_the_features(monkeypatch, tmp_path, flags, vector_bytes, registers):
    _machine(monkeypatch, tmp_path, _CPUINFO.format(flags))
    found = cpu.host_cpu()
    assert (found.vector_bytes, found.registers) == (vector_bytes, registers)
    assert found.features == tuple(sorted(["sse2", *flags.split()]))


@pytest.mark.parametrize(
    ("vendor", "flags", "sampling", "pays"),
    [
        ("GenuineIntel", "avx2 avx512f", "Not affected", True),
        ("GenuineIntel", "avx2 avx512f", None, True),
        ("GenuineIntel", "avx2 avx_vnni", "Not affected", True),
        ("GenuineIntel", "avx2 avx512f", "Mitigation: Microcode", False),
        ("GenuineIntel", "avx2", "Not affected", False),
        ("AuthenticAMD", "avx2 avx512f", "Not affected", False),
    ],
)
def test_where_gathers_pay(monkeypatch, tmp_path, vendor, flags, sampling, pays):
    _machine(monkeypatch, tmp_path, f"vendor_id\t: {vendor}\n" + _CPUINFO.format(flags))
    monkeypatch.setattr(cpu, "_GATHER_DATA_SAMPLING", tmp_path / "sampling")
    if sampling:
        (tmp_path / "sampling").write_text(f"{sampling}\n")
    assert cpu.host_cpu().gather is pays
    assert get_target("host-cpu").description.get("gather") == (1 if pays else None)


def test_arm_has_32_registers_of_16_bytes(monkeypatch, tmp_path):
    _machine(monkeypatch, tmp_path, "Features\t: fp asimd evtstrm asimddp\n")
    monkeypatch.setattr(cpu.platform, "machine", lambda: "aarch64")
    found = cpu.host_cpu()
    assert (found.vector_bytes, found.registers, found.features) == (16, 32, ("asimd", "asimddp", "fp"))


def test_unreadable_figures_have_defaults(monkeypatch, tmp_path):
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "missing")
    monkeypatch.setattr(cpu, "_CACHES", tmp_path / "missing")
    monkeypatch.setattr(cpu, "cpu_features", cpu.cpu_features.__wrapped__)
    found = cpu.host_cpu()
    assert (found.features, found.l1_bytes, found.l2_bytes) == ((), 32 << 10, 512 << 10)


def test_caches_are_read(monkeypatch, tmp_path):
    for index, (level, kind, size) in enumerate([(1, "Instruction", "32K"), (1, "Data", "48K"), (2, "Unified", "2M")]):
        folder = tmp_path / f"index{index}"
        folder.mkdir()
        for name, value in (("level", level), ("type", kind), ("size", size)):
            (folder / name).write_text(f"{value}\n")
    monkeypatch.setattr(cpu, "_CACHES", tmp_path)
    found = cpu.host_cpu()
    assert (found.l1_bytes, found.l2_bytes) == (48 << 10, 2 << 20)


@pytest.mark.parametrize("name", list(targets()))
def test_every_target_has_a_legal_description(name):
    target = get_target(name, workers=3)
    assert target.name == name and target.summary == targets()[name]
    assert target.description["workers"] == 3
    with make_context():
        attribute = ir.Attribute.parse(target.description_text())
        assert isinstance(attribute, TargetAttribute)
        attribute.check()
        assert attribute.values() == target.description


def test_wrong_names_and_workers_are_refused():
    with pytest.raises(TargetError, match="no target 'host_cpu'; did you mean 'host-cpu'"):
        get_target("host_cpu")
    with pytest.raises(TargetError, match="at least 1 worker, found 0"):
        get_target("host-cpu", workers=0)
