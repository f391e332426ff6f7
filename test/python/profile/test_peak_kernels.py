"""The kernels that measure a machine compute what they say: no operation is left out by an optimiser."""

import platform
import shutil
from pathlib import Path

import numpy as np
import pytest

from secateur.compiler.measure.machine_peak import PeakSizes
from secateur.compiler.measure.peak_kernels import peak_module
from secateur.compiler.pipeline.context import make_context
from secateur.runtime_targets import iree
from secateur.runtime_targets.devices.module_on_device import run_module
from secateur.runtime_targets.targets import get_target

needs_qemu = pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="needs qemu-aarch64 (Debian: qemu-user)")
needs_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="an instruction of x86")


def expected_sums(dot: str, sums: np.ndarray, weights: np.ndarray, steps: int) -> np.ndarray:
    """`sums` [chains, lanes] i32 after `steps`, added up: each time the bytes of the sums are multiplied with the bytes
    `weights` [lanes, 4]."""
    for _ in range(steps):
        if dot in ("vpdpbusd", "sdot"):
            kind = np.uint8 if dot == "vpdpbusd" else np.int8
            sums = sums + (sums.view(kind).reshape(*sums.shape, 4).astype(np.int32) * weights).sum(-1, dtype=np.int32)
            continue
        # Bytes 0 and 2, and 1 and 3, as 16 bits, with the 16 bits of these sums and of the next ones.
        pairs = [np.roll(sums, -n, axis=0).view(np.int16).reshape(*sums.shape, 2) for n in range(2)]
        factors = [weights[:, n::2].astype(np.int16) for n in range(2)]
        wide = np.int32 if dot == "vpmaddwd" else np.int16
        products = sum(x.astype(wide) * w.astype(wide) for x, w in zip(pairs, factors, strict=True))
        sums = sums + products.sum(-1, dtype=np.int32)
    return sums.sum(axis=0, dtype=np.int32)


@pytest.mark.parametrize(
    ("name", "dot"),
    [
        ("host-cpu", None),
        ("host-cpu", ""),
        pytest.param("host-cpu", "vpmaddwd", marks=needs_x86),
        pytest.param("linux-arm64:cortex-a76", "sdot", marks=needs_qemu),
        pytest.param("linux-arm64:cortex-a53", "saddlp", marks=needs_qemu),
    ],
)
def test_each_element_follows_from_the_input(name, dot, tmp_path):
    target = get_target(name)
    dot = target.description["dot"] if dot is None else dot
    read = {"l2_bytes": 4096, "l3_bytes": 8192, "memory_bytes": 1 << 16}
    sizes = PeakSizes(target.description["vector_bytes"] // 4, groups=4, chains=12, steps=100, **read)
    with make_context():
        assembly = iree.assemble(peak_module(sizes, dot), {})
    code = iree.compile_assembly(assembly, target)
    rng = np.random.default_rng(0)
    inputs = [
        np.ones((sizes.chains, sizes.lanes), np.float32),
        rng.integers(-(2**31), 2**31, (sizes.chains + 1, sizes.lanes)).astype(np.int32),
        np.ones(1024, np.float32),
        np.ones(2048, np.float32),
        np.ones(1 << 14, np.float32),
    ]
    assert sizes.inputs == ["x".join([*map(str, a.shape), {"f": "f32", "i": "i32"}[a.dtype.kind]]) for a in inputs]
    if target.emulator is None:
        found = iree.Session(code).run(inputs)
    else:
        module, archive = tmp_path / "peak.vmfb", tmp_path / "none.irpa"
        module.write_bytes(code)
        iree.write_parameters(Path(archive), assembly.parameters)
        found = run_module(module, archive, inputs, 5, target.emulator)
    groups, lanes, shape = sizes.groups, sizes.lanes, (sizes.groups, sizes.lanes)
    np.testing.assert_array_equal(found[0], np.full(shape, sizes.chains * 101, np.float32))
    weights = inputs[1][-1:].view(np.int8).reshape(lanes, 4)
    with np.errstate(over="ignore"):
        sums = expected_sums(dot, inputs[1][:-1], weights, sizes.steps)
    np.testing.assert_array_equal(found[1], np.broadcast_to(sums, shape))
    np.testing.assert_array_equal(found[2], np.full(shape, 16 * 1024 / lanes, np.float32))
    np.testing.assert_array_equal(found[3], np.full(shape, 2 * 2048 / lanes, np.float32))
    np.testing.assert_array_equal(found[4], np.full(shape, (1 << 14) / groups / lanes, np.float32))
