"""State dicts as training programs leave them: inside of a checkpoint, under the names of a wrapper, or not finite."""

from collections.abc import Mapping
from typing import Any

import torch

from .errors import FrontendError

# Where training checkpoints have the state dict: PyTorch's tutorials, Lightning, fairseq and timm.
_KEYS = ("state_dict", "model_state_dict", "model", "module", "net", "state_dict_ema", "model_ema", "ema")
# What wrappers put before every name: DistributedDataParallel and DeepSpeed, torch.compile, FullyShardedDataParallel.
_WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.")
# Lightning modules and training loops keep the model in an attribute of one of these names.
_HOLDERS = ("model.", "net.", "network.", "encoder_model.")


def inner_state_dict(loaded: Any) -> Any:
    """The state dict within a training checkpoint, or `loaded` itself where it is none."""
    if not isinstance(loaded, dict) or any(isinstance(value, torch.Tensor) for value in loaded.values()):
        return loaded
    for key in _KEYS:
        inner = loaded.get(key)
        if isinstance(inner, dict) and any(isinstance(value, torch.Tensor) for value in inner.values()):
            return inner
    return loaded


def without_prefixes(state: Mapping[str, torch.Tensor], model_class: Any) -> dict[str, torch.Tensor]:
    """`state` with the names that the model itself gives its tensors: wrappers' names are left out.

    An attribute that held the model is left out too, unless the model has one of that name.
    """
    names = dict(zip(state, state, strict=True))
    changed = True
    while changed and names:
        changed = False
        for wrapper in _WRAPPERS:
            # torch.compile may wrap parts of a model, so its name may stand anywhere.
            shorter = {key: name.replace(wrapper, "") if wrapper != "module." else name for key, name in names.items()}
            if all(name.startswith("module.") for name in shorter.values()) and wrapper == "module.":
                shorter = {key: name.removeprefix("module.") for key, name in shorter.items()}
            if shorter != names and len(set(shorter.values())) == len(names):
                names, changed = shorter, True
    own = f"{getattr(model_class, 'base_model_prefix', '')}."
    for holder in _HOLDERS:
        if holder != own and all(name.startswith(holder) for name in names.values()):
            names = {key: name.removeprefix(holder) for key, name in names.items()}
            break
    return {name: state[key] for key, name in names.items()}


def check_finite(tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Raises `FrontendError` with the first tensor that holds a NaN or an infinity, and how many it has."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        # A sum is finite if all numbers are, overflow apart: the count is made where it is not.
        if torch.isfinite(tensor.sum(dtype=torch.float64)):
            continue
        wrong = int((~torch.isfinite(tensor)).sum())
        if wrong:
            nans = int(torch.isnan(tensor).sum())
            found = "NaN" if nans == wrong else "infinite" if not nans else "NaN or infinite"
            others = sum(1 for t in tensors.values() if t.is_floating_point() and not bool(torch.isfinite(t).all())) - 1
            more = f"; {others} more tensor(s) too" if others else ""
            raise FrontendError(f"{wrong} of {tensor.numel()} numbers of '{name}' in {where} are {found}{more}")
