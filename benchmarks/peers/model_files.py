"""What workers read: a folder with a model, its inputs, and what PyTorch makes of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def write_model(
    folder: Path,
    module: "torch.nn.Module",
    inputs: Mapping[str, "torch.Tensor"],
    *,
    for_peers: bool = True,
    calibration: Mapping[str, "torch.Tensor"] | None = None,
) -> None:
    """Writes `inputs.npz`, `expected.npz` and, with `for_peers`, the model into `folder`, which is made.

    The model is `model.pt2`, an exported program that takes the inputs by position and returns a flat tuple of tensors
    (so that a peer's environment needs no library of models), and `module.pt`, the module itself. `calibration`, rows
    of inputs, is `calibration.npz`. The module is not changed.
    """
    import torch

    from secateur.frontends import evaluation_copy
    from secateur.frontends.flattening import FlatModule

    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "inputs.npz", **{name: tensor.numpy() for name, tensor in inputs.items()})
    if calibration is not None:
        np.savez(folder / "calibration.npz", **{name: tensor.numpy() for name, tensor in calibration.items()})
    copy = evaluation_copy(module)
    flat = FlatModule(copy, list(inputs)).eval()
    with torch.no_grad():
        expected = flat(*inputs.values())
        np.savez(folder / "expected.npz", *(tensor.numpy() for tensor in expected))
        if for_peers:
            torch.save(copy, folder / "module.pt")
            torch.export.save(torch.export.export(flat, tuple(inputs.values()), strict=False), folder / "model.pt2")


def read_arrays(path: Path) -> list[np.ndarray]:
    """The arrays of a `.npz` file in the order in which they were written."""
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]
