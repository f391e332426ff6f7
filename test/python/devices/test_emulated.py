"""Arm CPUs under QEMU: what they can do, what is refused, and models that give PyTorch's numbers there."""

import dataclasses

import numpy as np
import pytest
import torch

from secateur.compiler.driver import compile_model
from secateur.runtime_targets.bundle import open_bundle
from secateur.runtime_targets.devices import DeviceError, RemoteSession, open_device
from secateur.runtime_targets.devices.emulated import cpu_models, emulator
from secateur.runtime_targets.devices.remote_session import check_fits
from secateur.runtime_targets.devices.runner_folder import runner_folder


@pytest.fixture(scope="module", autouse=True)
def _emulation():
    try:
        emulator()
        runner_folder()
    except DeviceError as error:
        pytest.skip(str(error))


class Layer(torch.nn.Module):
    """A transformer's layer, with bools and integers going in and out."""

    def __init__(self, features: int = 32) -> None:
        super().__init__()
        self.queries, self.keys, self.values, self.up, self.down = (
            torch.nn.Linear(i, o) for i, o in ((features, features),) * 3 + ((features, 48), (48, features))
        )
        self.norm = torch.nn.LayerNorm(features)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        heads = [f(x).unflatten(-1, (2, -1)).transpose(1, 2) for f in (self.queries, self.keys, self.values)]
        x = x + torch.nn.functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        x = self.norm(x + self.down(torch.nn.functional.gelu(self.up(x))))
        return x.masked_fill(hidden, 0.0), hidden.logical_not(), ids + 1


def _inputs(tokens: int) -> dict[str, torch.Tensor]:
    made = torch.Generator().manual_seed(1)
    return {
        "x": torch.randn(1, tokens, 32, generator=made),
        "hidden": torch.rand(1, tokens, 32, generator=made) < 0.5,
        "ids": torch.arange(5, dtype=torch.int64),
    }


def _keep_per_band(weight: torch.Tensor, rows: int, fraction: float) -> None:
    """Zeros all but some columns of every band of `rows` rows."""
    kept = torch.rand(-(-weight.shape[0] // rows), weight.shape[1], generator=torch.Generator().manual_seed(2))
    weight.mul_((kept < fraction).repeat_interleave(rows, dim=0)[: weight.shape[0]])


def _compiled(module: torch.nn.Module, inputs: dict[str, torch.Tensor], cpu: str, folder, **options):
    path = folder / f"{cpu}.bundle"
    options = {"target": f"linux-arm64:{cpu}", "verify": False, "cache": False, "records": False} | options
    compile_model(module, inputs, **options).save(path)
    return open_bundle(path, runnable=False)


@pytest.fixture(scope="module")
def layer_bundle(tmp_path_factory):
    """(module, inputs, bundle for cortex-a76) of a layer that is half zeros, in bands and unstructured."""
    torch.manual_seed(0)
    module = Layer().eval()
    with torch.no_grad():
        for linear, rows in ((module.queries, 16), (module.keys, 6), (module.up, 12), (module.down, 4)):
            _keep_per_band(linear.weight, rows, 0.5)
        module.values.weight[torch.rand(32, 32) < 0.5] = 0
    inputs = _inputs(40)
    return module, inputs, _compiled(module, inputs, "cortex-a76", tmp_path_factory.mktemp("layer"))


def _differences(module, inputs, bundle, device) -> list[float]:
    session = RemoteSession(device, bundle, bundle.manifest.targets[0].name)
    with torch.inference_mode():
        expected = [value.numpy() for value in module(**inputs)]
    found = session.run([value.numpy() for value in inputs.values()])
    assert [f.dtype for f in found] == [e.dtype for e in expected]
    return [float(np.abs(f.astype(float) - e.astype(float)).max()) for f, e in zip(found, expected, strict=True)]


def test_a_layer_gives_pytorchs_numbers(layer_bundle):
    """NEON kernels of all linear forms, attention, norm, GELU; bools and integers as they were."""
    with open_device("qemu:cortex-a76") as device:
        numbers, bools, integers = _differences(*layer_bundle, device)
    assert numbers < 5e-6
    assert (bools, integers) == (0, 0)


@pytest.mark.parametrize("tokens", [1, 3])
def test_few_tokens_on_a_cpu_of_the_first_generation(tokens, tmp_path):
    """Rows are the lanes; columns of x are gathered without a gather instruction."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(64, 44), torch.nn.GELU(), torch.nn.Linear(44, 30)).eval()
    with torch.no_grad():
        _keep_per_band(module[0].weight, 8, 0.3)
        module[2].weight[torch.rand(30, 44) < 0.8] = 0
    x = torch.randn(1, tokens, 64)
    bundle = _compiled(module, {"input": x}, "cortex-a72", tmp_path)
    with open_device("qemu:cortex-a72") as device, torch.inference_mode():
        found = RemoteSession(device, bundle, "linux-arm64:cortex-a72").run([x.numpy()])[0]
        assert np.abs(found - module(x).numpy()).max() < 5e-6


def test_code_is_copied_once_and_calls_leave_nothing(layer_bundle, monkeypatch):
    _, inputs, bundle = layer_bundle
    arrays = [value.numpy() for value in inputs.values()]
    with open_device("qemu:cortex-a76") as device:
        RemoteSession(device, bundle, "linux-arm64:cortex-a76").run(arrays)
        files = bundle.manifest.files
        code = {bundle.manifest.targets[0].module, *bundle.manifest.targets[0].parameters}
        assert device.hashes() == {name: files[name].sha256 for name in code}
        pushed = []
        monkeypatch.setattr(device, "push", lambda source, name: pushed.append(name))
        RemoteSession(device, bundle, "linux-arm64:cortex-a76")
        assert pushed == []


def test_benchmark_gives_one_latency_a_run(layer_bundle):
    _, inputs, bundle = layer_bundle
    with open_device("qemu:cortex-a76") as device:
        session = RemoteSession(device, bundle, "linux-arm64:cortex-a76", threads=2)
        latencies = session.benchmark([value.numpy() for value in inputs.values()], 3)
    assert len(latencies) == 3 and all(0 < latency < 60_000 for latency in latencies)


def test_code_for_a_missing_feature_is_not_loaded(layer_bundle):
    """cortex-a53 has no dot products: code that may use them would die with SIGILL somewhere in the middle."""
    bundle = layer_bundle[2]
    with open_device("qemu:cortex-a53") as device:
        with pytest.raises(DeviceError, match=r"cannot run on 'qemu:cortex-a53'.*asimddp.*which the device lacks"):
            RemoteSession(device, bundle, "linux-arm64:cortex-a76")
        assert device.hashes() == {}
        other = dataclasses.make_dataclass("Files", ["name", "architecture", "cpu_features"])("t", "x86_64", ())
        with pytest.raises(DeviceError, match="is made for x86_64, and the device is aarch64"):
            check_fits(device, other)


def test_features_are_what_the_emulated_cpu_says():
    has = {}
    for model in ("cortex-a53", "cortex-a76", "max"):
        with open_device(f"qemu:{model}") as device:
            assert device.properties().architecture == "aarch64"
            has[model] = device.properties().cpu_features
    assert {"asimd", "fp", "crc32"} <= has["cortex-a53"] <= has["cortex-a76"] <= has["max"]
    assert {"asimddp", "asimdhp", "fphp", "atomics"} <= has["cortex-a76"] - has["cortex-a53"]
    assert {"i8mm", "bf16", "sve2"} <= has["max"] - has["cortex-a76"]


def test_unknown_devices_get_the_nearest_name():
    assert "cortex-a76" in cpu_models()
    with pytest.raises(DeviceError, match=r"no CPU 'cortex-a77'; did you mean 'cortex-a7.'\?"):
        open_device("qemu:cortex-a77")
    with pytest.raises(DeviceError, match=r"no device 'qmu:cortex-a76'; did you mean 'qemu:cortex-a76'\?"):
        open_device("qmu:cortex-a76")


def test_wrong_inputs_are_sentences(layer_bundle):
    _, inputs, bundle = layer_bundle
    arrays = [value.numpy() for value in inputs.values()]
    with open_device("qemu:cortex-a76") as device:
        session = RemoteSession(device, bundle, "linux-arm64:cortex-a76")
        with pytest.raises(DeviceError, match="takes 3 inputs, found 1"):
            session.run(arrays[:1])
        with pytest.raises(DeviceError, match=r"input 0 is float64 of shape \[1, 40, 32\]; accepted is float32"):
            session.run([arrays[0].astype(np.float64), *arrays[1:]])
        with pytest.raises(DeviceError, match=r"input 2 is int64 of shape \[4\]; accepted is int64 of shape \[5\]"):
            session.run([*arrays[:2], arrays[2][:4]])


def test_without_qemu_a_sentence_says_what_to_install(monkeypatch):
    emulator.cache_clear()
    monkeypatch.setenv("PATH", "")
    try:
        with pytest.raises(DeviceError, match="not installed; Debian and Ubuntu have it in 'qemu-user'"):
            emulator()
    finally:
        emulator.cache_clear()


@pytest.mark.parametrize("script", ["exit 0", "echo broken >&2; exit 3", "kill -9 $$"])
def test_a_broken_qemu_is_a_sentence(script, monkeypatch, tmp_path):
    program = tmp_path / "qemu-aarch64"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    emulator.cache_clear()
    cpu_models.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    try:
        with pytest.raises(DeviceError, match=r"qemu-aarch64' lists no CPU models"):
            open_device("qemu:cortex-a76")
    finally:
        emulator.cache_clear()
        cpu_models.cache_clear()
