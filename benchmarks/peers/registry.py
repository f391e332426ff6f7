"""The engines that can take part, and where their interpreters are."""

import dataclasses
import os
import sys
from pathlib import Path

ADAPTERS = Path(__file__).with_name("adapters")
REQUIREMENTS = {
    "main": "requirements-main.txt",
    "tvm": "requirements-tvm.txt",
    "deepsparse": "requirements-deepsparse.txt",
}
"""Environment -> its file of requirements, beside this one. An environment is a folder of `environments_folder`."""


@dataclasses.dataclass(frozen=True)
class Peer:
    """An engine: `adapter` is the name of its file in `adapters/`, `environment` the one that it is installed in.

    `environment` is empty for what runs in Secateur's own. `onnx`: it reads the files of the adapter `onnx_files`.
    `precision`: what the adapter is asked for, `f32`, `int8` or the engine's own choice (`default`).
    """

    title: str
    adapter: str
    environment: str = "main"
    onnx: bool = False
    precision: str = "f32"


PEERS = {
    peer.title: peer
    for peer in (
        Peer("PyTorch", "pytorch"),
        Peer("torch.compile", "torch_compile"),
        Peer("ONNX Runtime", "onnxruntime", onnx=True),
        Peer("OpenVINO", "openvino", onnx=True),
        Peer("LiteRT", "litert"),
        Peer("ExecuTorch", "executorch"),
        Peer("MNN", "mnn", onnx=True),
        Peer("stock IREE", "stock_iree", environment=""),
        Peer("TVM", "tvm", "tvm", onnx=True),
        Peer("DeepSparse", "deepsparse", "deepsparse", onnx=True),
    )
}
"""What can run any model in f32, by title."""

ROUNDED = {
    peer.title: peer
    for peer in (
        Peer("LiteRT int8", "litert", precision="int8"),
        Peer("ONNX Runtime int8", "onnxruntime", onnx=True, precision="int8"),
        Peer("OpenVINO default", "openvino", onnx=True, precision="default"),
        Peer("OpenVINO int8", "openvino", onnx=True, precision="int8"),
        Peer("DeepSparse int8", "deepsparse", "deepsparse", onnx=True, precision="int8"),
    )
}
"""What users deploy: engines that round weights or activations, by title."""

SECATEUR = Peer("Secateur", "secateur", environment="")
ONNX_FILES = Peer("the ONNX exporter", "onnx_files")


def environments_folder() -> Path:
    """`$SECATEUR_PEERS`, else `.venv-peers` in the working folder."""
    return Path(os.environ.get("SECATEUR_PEERS") or ".venv-peers")


def interpreter(peer: Peer, environments: Path) -> Path | None:
    """The Python that runs `peer`; None where its environment was not made."""
    if not peer.environment:
        return Path(sys.executable)
    found = environments / peer.environment / "bin" / "python"
    # Not resolved: the link itself tells Python which environment it is in.
    return found.absolute() if found.exists() else None
