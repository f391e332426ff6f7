"""A phone that is not there: the stand-in adb server, with an emulated Arm CPU, and a bundle with code for it."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from secateur.runtime_targets.bundle import write_bundle
from secateur.runtime_targets.devices import DeviceError
from secateur.runtime_targets.devices.runner_folder import runner_folder
from secateur.runtime_targets.interface import Signature
from secateur.runtime_targets.iree.module_file import SIGNATURE
from secateur.runtime_targets.manifest import (
    AcceptedDifference,
    Function,
    Manifest,
    ModelInfo,
    SelfTest,
    TargetFiles,
    TensorSpec,
)
from secateur.runtime_targets.targets import get_target

HERE = Path(__file__).parent
TOKENS, FEATURES = 4, 64

TENSOR = {"dtype": "float32", "shape": (TOKENS, FEATURES)}
TOLD = Signature((TENSOR,), (TENSOR,)).dumps().replace('"', "\\22")
MODULE = f"""
module {{
  util.global private @weight = #flow.parameter.named<"model"::"weight"> : tensor<{FEATURES}x{FEATURES}xf32>
  func.func @main(%x: tensor<{TOKENS}x{FEATURES}xf32>) -> tensor<{TOKENS}x{FEATURES}xf32>
      attributes {{iree.reflection = {{{SIGNATURE} = "{TOLD}"}}}} {{
    %weight = util.global.load @weight : tensor<{FEATURES}x{FEATURES}xf32>
    %zero = arith.constant 0.0 : f32
    %empty = tensor.empty() : tensor<{TOKENS}x{FEATURES}xf32>
    %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<{TOKENS}x{FEATURES}xf32>)
        -> tensor<{TOKENS}x{FEATURES}xf32>
    %y = linalg.matmul
        ins(%x, %weight : tensor<{TOKENS}x{FEATURES}xf32>, tensor<{FEATURES}x{FEATURES}xf32>)
        outs(%init : tensor<{TOKENS}x{FEATURES}xf32>) -> tensor<{TOKENS}x{FEATURES}xf32>
    return %y : tensor<{TOKENS}x{FEATURES}xf32>
  }}
}}
"""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """Nothing of the user's own is read or written."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    monkeypatch.syspath_prepend(str(HERE))
    yield
    sys.modules.pop("adb_server", None)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """A function that starts the stand-in server with phones of these serials, and returns the phones."""
    if shutil.which("adb") is None:
        pytest.skip("adb is not installed (Debian: adb)")
    from adb_server import AdbServer, Phone

    servers = []

    def start(*serials, **faults):
        server = AdbServer({s: Phone(tmp_path / f"phone{n}", **faults) for n, s in enumerate(serials)})
        servers.append(server.__enter__())
        monkeypatch.setenv("ADB_SERVER_SOCKET", server.address)
        return list(server.phones.values())

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def phone(serve):
    """One phone, ready."""
    return serve("PHONE1")[0]


@pytest.fixture(scope="session")
def emulated():
    """Skips where Arm code cannot run here."""
    if shutil.which("qemu-aarch64") is None and shutil.which("qemu-aarch64-static") is None:
        pytest.skip("qemu-aarch64 is not installed (Debian: qemu-user)")
    try:
        return runner_folder()
    except DeviceError as error:
        pytest.skip(f"the runner folder cannot be had: {error}")


@pytest.fixture(scope="session")
def code(tmp_path_factory):
    """Target name -> its compiled module."""
    from iree.compiler.tools import compile_str

    return {
        name: compile_str(MODULE, input_type="none", extra_args=list(get_target(name).iree_flags))
        for name in ("android-arm64:cortex-a76", "android-arm64:generic", "host-cpu")
    }


@pytest.fixture
def make_bundle(tmp_path, code):
    """A function that writes a bundle and returns its path: `seed` makes the weights; its self-test expects `error`
    more than the right output."""
    from secateur.runtime_targets.iree import write_parameters

    def make(name="model", seed=0, error=0.0, targets=tuple(code), self_test=True, weights=None):
        rng = np.random.default_rng(seed)
        weight = rng.standard_normal((FEATURES, FEATURES)).astype(np.float32) if weights is None else weights
        x = np.random.default_rng(1).standard_normal((TOKENS, FEATURES)).astype(np.float32)
        folder = tmp_path / f"files-{name}-{seed}-{error}"
        folder.mkdir(exist_ok=True)
        write_parameters(folder / "weights.irpa", {"weight": weight})
        np.save(folder / "x.npy", x)
        np.save(folder / "y.npy", (x.astype(np.float64) @ weight + error).astype(np.float32))
        spec = {"shape": (TOKENS, FEATURES), "dtype": "float32", "axes": (None, None)}
        accepted = AcceptedDifference(relative_l2=1e-5, scaled_max=1e-4)
        made = [get_target(target) for target in targets]
        manifest = Manifest(
            model=ModelInfo(name=name, sha256="0" * 64),
            functions={
                "main": Function(
                    inputs=(TensorSpec(name="x", **spec),),
                    outputs=(TensorSpec(name="y", **spec),),
                    output_form="tensor",
                )
            },
            targets=tuple(
                TargetFiles(
                    name=t.name,
                    module=f"{t.name.replace(':', '-')}/model.vmfb",
                    parameters=("weights/shared.irpa",),
                    architecture=t.architecture,
                    cpu_features=t.cpu_features,
                    note="unverified: made by a test",
                )
                for t in made
            ),
            self_test=SelfTest(
                inputs=("self-test/x.npy",),
                outputs=("self-test/y.npy",),
                tolerances={t.name: accepted for t in made},
            )
            if self_test
            else None,
        )
        files = {f"{t.name.replace(':', '-')}/model.vmfb": code[t.name] for t in made}
        files["weights/shared.irpa"] = folder / "weights.irpa"
        files |= {f"self-test/{n}.npy": folder / f"{n}.npy" for n in "xy"} if self_test else {}
        write_bundle(tmp_path / f"{name}.bundle", manifest, files)
        return tmp_path / f"{name}.bundle"

    return make
