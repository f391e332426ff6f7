"""State dicts of pruned and reparametrized layers as those of plain layers."""

from pathlib import Path

import torch

from .errors import FrontendError

_ORIGINAL, _MASK = "_orig", "_mask"
_PARAMETRIZED = ".parametrizations."


def fold_masks(state: dict[str, torch.Tensor], folder: Path) -> dict[str, torch.Tensor]:
    """`state` with `w_orig` times `w_mask` as `w`, and weight normalisation as the weight it gives.

    Other tensors are passed on. Raises `FrontendError` for a mask of another shape, and for a parametrization whose
    function the checkpoint does not tell.
    """
    folded: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        plain = name.removesuffix(_ORIGINAL)
        if plain != name and plain + _MASK in state:
            mask = state[plain + _MASK]
            if mask.shape != tensor.shape:
                raise FrontendError(
                    f"'{plain}{_MASK}' in '{folder}' has shape {list(mask.shape)}, expected {list(tensor.shape)}"
                )
            folded[plain] = tensor * mask.to(tensor.dtype)
        elif name.endswith(_MASK) and name.removesuffix(_MASK) + _ORIGINAL in state:
            continue
        elif _PARAMETRIZED in name:
            _fold_parametrization(name, state, folder, folded)
        else:
            folded[name] = tensor
    return folded


def _fold_parametrization(
    name: str, state: dict[str, torch.Tensor], folder: Path, folded: dict[str, torch.Tensor]
) -> None:
    layer, _, rest = name.partition(_PARAMETRIZED)
    weight, _, part = rest.partition(".")
    stem = f"{layer}{_PARAMETRIZED}{weight}."
    if part == "original1":
        return
    if part == "original0" and f"{stem}original1" in state:
        folded[f"{layer}.{weight}"] = torch._weight_norm(state[f"{stem}original1"], state[name], 0)
        return
    raise FrontendError(
        f"'{name}' in '{folder}' belongs to a parametrization that the checkpoint does not describe; remove it"
        " (torch.nn.utils.parametrize.remove_parametrizations) and save again"
    )
