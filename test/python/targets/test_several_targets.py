"""One model for several targets: compared with PyTorch wherever the code runs, what targets share stored once."""

import json
import re

import numpy as np
import pytest
import torch

from secateur.compiler import compile_model
from secateur.compiler.build.parameter_archives import parameter_archives
from secateur.compiler.build.target_build import TargetBuild, TargetCode
from secateur.compiler.errors import CompileError, VerificationError
from secateur.compiler.records.records import RecordsFile, machine_of
from secateur.compiler.verify import verification_place
from secateur.runtime_targets import iree
from secateur.runtime_targets.bundle import BundleError, open_bundle, write_bundle
from secateur.runtime_targets.devices import DeviceError
from secateur.runtime_targets.devices.emulated import emulator
from secateur.runtime_targets.devices.runner_folder import runner_folder
from secateur.runtime_targets.iree.archive_table import read_table
from secateur.runtime_targets.iree.lavapipe import lavapipe_driver
from secateur.runtime_targets.iree.module_file import read_signatures
from secateur.runtime_targets.targets import get_target

TARGETS = ["host-cpu", "android-arm64:cortex-a76", "linux-arm64:cortex-a76"]


@pytest.fixture(scope="module")
def compiled(model, inputs):
    return compile_model(model, inputs, target=TARGETS, verify=False)


@pytest.fixture(scope="module")
def emulated():
    try:
        emulator()
        runner_folder()
    except DeviceError as error:
        pytest.skip(str(error))


def test_every_target_has_its_entry_and_the_host_runs_its_own(compiled, model, inputs):
    assert [t.name for t in compiled.manifest.targets] == TARGETS
    assert [t.name for t in compiled.report.targets] == TARGETS
    found = compiled(**inputs)
    with torch.no_grad():
        np.testing.assert_allclose(found, model.eval()(**inputs), rtol=0, atol=1e-5)


def test_equal_modules_and_arrays_are_stored_once(compiled):
    host, android, linux = compiled.manifest.targets
    assert android.module == linux.module != host.module
    assert android.parameters == linux.parameters
    common = set(host.parameters) & set(android.parameters)
    assert common, "the table is the same for all"
    names = [name for name in compiled.manifest.files if name.endswith(".irpa")]
    assert sorted({*host.parameters, *android.parameters}) == sorted(names)
    figures = {t.name: t for t in compiled.report.targets}
    assert figures["host-cpu"].parameter_bytes > figures["host-cpu"].own_parameter_bytes
    assert figures["linux-arm64:cortex-a76"].own_parameter_bytes == 0
    assert compiled.report.weights_bytes < sum(t.parameter_bytes for t in compiled.report.targets)
    assert compiled.report.csr_bytes < compiled.report.dense_bytes


def test_a_target_reads_the_same_arrays_as_when_it_is_compiled_alone(compiled, model, inputs):
    alone = compile_model(model, inputs, target="android-arm64:cortex-a76", verify=False)
    (one,), together = alone.manifest.targets, compiled.manifest.targets[1]
    assert one.parameters == ("weights.irpa",) and one.module == "model.vmfb"
    modules = [c._opened().file(t.module).read_bytes() for c, t in ((alone, one), (compiled, together))]
    assert modules[0] == modules[1]
    assert alone.report.targets[0].parameter_bytes == compiled.report.targets[1].parameter_bytes
    with pytest.raises(BundleError, match="needs a CPU of architecture aarch64"):
        alone(**inputs)


def test_emulated_targets_are_compared_with_pytorch(model, inputs, emulated):
    made = compile_model(model, inputs, target="android-arm64:cortex-x4")
    (report,) = made.report.targets
    assert report.verification and all(d.passed for d in report.verification)
    assert report.verified_on == "under emulation (qemu:max)"
    assert made.manifest.targets[0].note.endswith("under emulation (qemu:max)")


def test_wrong_code_for_an_emulated_target_is_found(model, inputs, emulated, monkeypatch):
    write = iree.write_parameters

    def damaged(path, arrays):
        write(path, {name: array * 1.01 if array.dtype.kind == "f" else array for name, array in arrays.items()})

    monkeypatch.setattr(iree, "write_parameters", damaged)
    with pytest.raises(VerificationError, match=r"relative L2 .*; for target 'linux-arm64:cortex-a55'"):
        compile_model(model, inputs, target="linux-arm64:cortex-a55", cache=False)


def test_gpu_targets_are_compared_with_pytorch(model, inputs):
    if lavapipe_driver() is None:
        pytest.skip("lavapipe is not installed (Debian: mesa-vulkan-drivers)")
    made = compile_model(model, inputs, target="vulkan-llvmpipe")
    (report,), (files,) = made.report.targets, made.manifest.targets
    assert report.verification and all(d.passed for d in report.verification)
    assert "lavapipe" in report.verified_on and "8 lanes" in report.verified_on
    assert (files.architecture, files.backend, files.subgroup) == ("vulkan", "vulkan", 8)


def test_every_module_tells_how_it_is_called_and_what_it_needs(compiled):
    bundle = compiled._opened()
    for target in compiled.manifest.targets:
        told = read_signatures(bundle.file(target.module))["main"]
        for side in ("inputs", "outputs"):
            specs = getattr(compiled.manifest.function(), side)
            assert list(getattr(told, side)) == [spec.model_dump(mode="json") for spec in specs]
        assert told.output_form == compiled.manifest.function().output_form
        machine = {"architecture": target.architecture, "backend": target.backend}
        assert told.target == {**machine, "cpu_features": list(target.cpu_features)}
        tables = [read_table(archive) for archive in bundle.parameters(target)]
        held = {name: place.length for table in tables for name, place in table.items()}
        assert {name: stored.size_bytes for name, stored in told.parameters.items()} == held


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("module", "the architecture \"x86_64\", and the module 'modules/android-arm64-cortex-a76.vmfb'"),
        ("parameters", "the archives of target 'host-cpu' hold "),
    ],
)
def test_code_of_another_target_is_refused(compiled, tmp_path, field, message):
    """Each file has the hash that the manifest states; only the modules tell whose they are."""
    bundle = compiled._opened()
    host, android, linux = compiled.manifest.targets
    changed = host.model_copy(update={field: getattr(android, field)})
    manifest = compiled.manifest.model_copy(update={"targets": (changed, android, linux)})
    write_bundle(tmp_path / "model.bundle", manifest, {name: bundle.file(name) for name in compiled.manifest.files})
    with pytest.raises(BundleError) as error:
        open_bundle(tmp_path / "model.bundle")
    assert message in str(error.value)


def test_what_cannot_be_compared_says_why_and_is_compared_once_it_can(model, inputs, monkeypatch):
    def missing(target):
        return None, "'qemu-aarch64' is not installed"

    with monkeypatch.context() as patch:
        for module in ("compilation", "verified_build"):
            patch.setattr(f"secateur.compiler.build.{module}.verification_place", missing)
        first = compile_model(model, inputs)
        assert compile_model(model, inputs).report.cached
    assert first.report.unverified_reason == "'qemu-aarch64' is not installed"
    assert first.manifest.targets[0].note == "unverified: 'qemu-aarch64' is not installed"
    again = compile_model(model, inputs)
    assert not again.report.cached and again.report.verification


def test_places(monkeypatch):
    assert verification_place.verification_place(get_target("host-cpu")) == (
        verification_place.Place("on this machine"), "",
    )  # fmt: skip
    place, reason = verification_place.verification_place(get_target("android-vulkan:adreno-740"))
    assert place is None and "64 lanes" in reason
    monkeypatch.setattr("secateur.runtime_targets.iree.lavapipe.lavapipe_driver", lambda: None)
    place, reason = verification_place.verification_place(get_target("android-vulkan"))
    assert place is None and "mesa-vulkan-drivers" in reason


def test_the_self_test_holds_what_pytorch_computes(compiled, model):
    test, bundle = compiled.manifest.self_test, compiled._opened()
    (ids,) = [np.load(bundle.file(name)) for name in test.inputs]
    (expected,) = [np.load(bundle.file(name)) for name in test.outputs]
    with torch.no_grad():
        np.testing.assert_array_equal(model.eval()(torch.from_numpy(ids)).numpy(), expected)
    found = bundle.session("host-cpu").run([ids])[0]
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error <= test.tolerances["host-cpu"].relative_l2
    assert set(test.tolerances) == set(TARGETS)


def test_a_self_test_that_is_too_large_is_left_out(model, inputs, monkeypatch):
    monkeypatch.setattr("secateur.compiler.verify.reference_outputs._SELF_TEST_LIMIT_BYTES", 100)
    made = compile_model(model, inputs, verify=False, cache=False)
    assert made.manifest.self_test is None
    assert not [name for name in made.manifest.files if name.startswith("self-test")]


def test_wrong_choices_of_targets_are_refused(model, inputs):
    with pytest.raises(CompileError, match="the target 'android-arm64:cortex-a76' is given twice"):
        compile_model(model, inputs, target=["android-arm64", "android-arm64:cortex-a76"])
    with pytest.raises(CompileError, match="at least one 'target'"):
        compile_model(model, inputs, target=[])
    with pytest.raises(CompileError, match="level 'kernels' takes one target, found host-cpu, vulkan-llvmpipe"):
        compile_model(model, inputs, target=["host-cpu", "vulkan-llvmpipe"], compile_to="kernels")


def _without(name, stage, monkeypatch):
    """One target fails at a stage, with a sentence."""
    from secateur.compiler.build import compilation

    def failing(work):
        def run(build, *arguments, **more):
            if build.report.name == name:
                raise CompileError(f"{name} has no {stage}")
            return work(build, *arguments, **more)

        return run

    if stage == "code":
        monkeypatch.setattr(TargetBuild, "compile", failing(TargetBuild.compile))
    else:
        monkeypatch.setattr(compilation, "verify_build", failing(compilation.verify_build))


@pytest.mark.parametrize("stage", ["code", "verification"])
def test_a_target_that_fails_does_not_keep_the_others_from_their_code(model, inputs, tmp_path, stage, monkeypatch):
    names = ["host-cpu", "linux-arm64:cortex-a55", "linux-arm64:cortex-a72"]
    monkeypatch.setenv("SECATEUR_CACHE", str(tmp_path / "cache"))
    with monkeypatch.context() as patch:
        _without(names[1], stage, patch)
        made = compile_model(model, inputs, target=names, verify=False)
        assert made.report.failed == {names[1]: f"{names[1]} has no {stage}"}
    made.save(tmp_path / "model.bundle")
    with open_bundle(tmp_path / "model.bundle") as bundle:
        assert [target.name for target in bundle.manifest.targets] == [names[0], names[2]]
        assert set(bundle.manifest.self_test.tolerances) == {names[0], names[2]}
        assert not [name for name in bundle.manifest.files if "a55" in name]
    with torch.no_grad():
        np.testing.assert_allclose(made(**inputs), model.eval()(**inputs), rtol=0, atol=1e-5)
    # It is tried again, and not taken from the cache.
    again = compile_model(model, inputs, target=names, verify=False)
    assert not again.report.failed and len(again.manifest.targets) == 3 and not again.report.cached


def test_where_all_fail_each_is_named(model, inputs, monkeypatch):
    def failing(build, _):
        raise CompileError(f"{build.report.name} has no code")

    monkeypatch.setattr(TargetBuild, "compile", failing)
    with pytest.raises(CompileError, match=r"no target could be compiled: 'host-cpu': .*; 'linux-arm64:cortex-a72': "):
        compile_model(model, inputs, target=["host-cpu", "linux-arm64:cortex-a72"], cache=False)


def test_a_dump_of_several_targets_has_a_folder_for_each(model, inputs, tmp_path, monkeypatch):
    # What comes after the levels that are looked at is left out.
    monkeypatch.setattr(TargetBuild, "compile", lambda self, _: TargetCode(self.report.name.encode(), {}, ()))
    monkeypatch.setattr("secateur.runtime_targets.bundle.check_code", lambda *_: None)
    compile_model(model, inputs, target=TARGETS[:2], verify=False, dump_ir=tmp_path)
    assert {"01-torch.mlir", "02-structural.mlir", "host-cpu", "android-arm64-cortex-a76"} == {
        p.name for p in tmp_path.iterdir()
    }
    for name, width in (("host-cpu", None), ("android-arm64-cortex-a76", 16)):
        text = (tmp_path / name / "03-scheduled.mlir").read_text()
        found = int(re.search(r"#sparsity.target<\{.*?vector_bytes = (\d+)", text).group(1))
        assert found == (width or get_target("host-cpu").description["vector_bytes"])


def test_equal_symbols_with_other_contents_are_kept_apart():
    a, b, c = np.arange(8, dtype=np.float32), np.arange(8, dtype=np.float32) + 1, np.zeros(4, np.int32)
    given = {"x": {"w": a, "t": c}, "y:1": {"w": b, "t": c.copy()}, "z": {"w": a.copy(), "t": c, "own": b}}
    archives = parameter_archives(given)
    names = {archive.name: archive.targets for archive in archives}
    assert names == {
        "weights/shared.irpa": ("x", "z"),
        "weights/shared-2.irpa": ("x", "y:1", "z"),
        "weights/y-1.irpa": ("y:1",),
        "weights/z.irpa": ("z",),
    }
    for target, arrays in given.items():
        read = [archive.arrays for archive in archives if target in archive.targets]
        symbols = [symbol for found in read for symbol in found]
        assert sorted(symbols) == sorted(arrays)
        for found in read:
            for symbol, array in found.items():
                np.testing.assert_array_equal(array, arrays[symbol])
    # Of another type, the same bytes are another array.
    apart = parameter_archives({"x": {"w": np.zeros(4, np.int32)}, "y": {"w": np.zeros(4, np.float32)}})
    assert len(apart) == 2


def test_records_of_a_target_with_a_model_have_a_file(tmp_path):
    target = get_target("android-arm64:cortex-a76")
    assert ":" not in machine_of(target)
    record = {"machine": machine_of(target), "key": "k", "kind": "trial"}
    RecordsFile.of(target, tmp_path).add([record])
    assert json.loads(next(tmp_path.glob("android-arm64.cortex-a76-*.jsonl")).read_text()) == record


def test_a_bundle_of_several_targets_is_checked_whole(compiled, tmp_path):
    compiled.save(tmp_path / "m.bundle")
    files = sorted(p for p in (tmp_path / "m.bundle").rglob("*") if p.is_file())
    assert len(files) > 6
    for file in files:
        data = file.read_bytes()
        for changed in (data[:-1], data[:5] + bytes([data[5] ^ 1]) + data[6:], data[:-1] + bytes([data[-1] ^ 1])):
            file.write_bytes(changed)
            with pytest.raises(BundleError):
                open_bundle(tmp_path / "m.bundle")
        file.write_bytes(data)
    open_bundle(tmp_path / "m.bundle")
