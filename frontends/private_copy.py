"""A copy of a caller's module that may be changed freely: same parameter storage, own structure.

Only the copy is switched to evaluation, loses its pruning hooks and parametrizations, and is set up for
export, so the caller's module stays as it was.
"""

import contextlib
import copy
import sys
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.weight_norm import WeightNorm

from .errors import FrontendError

_HALF = (torch.float16, torch.bfloat16)


def private_copy(module: nn.Module) -> nn.Module:
    """A copy of `module` in evaluation mode that shares its tensors.

    16-bit floating-point tensors become new f32 ones; every other tensor shares its storage with the original.
    Masks of `torch.nn.utils.prune`, weight normalisation and parametrizations become plain parameters (new tensors).
    Layers of transformers that hold a linear layer's weight transposed (`Conv1D`, as in GPT-2) become linear layers.
    Raises `FrontendError` where the module holds something that cannot be copied.
    """
    memo: dict[int, object] = {}
    kept_alive: list[object] = []
    for part in module.modules():
        for tensor in _tensors_of(part):
            if id(tensor) not in memo:
                memo[id(tensor)] = _shared(tensor)
                kept_alive.append(tensor)
    try:
        duplicate = copy.deepcopy(module, memo)
    except Exception as error:
        raise FrontendError(f"'{type(module).__name__}' cannot be copied: {error}") from error
    duplicate.eval()
    _fold_pruning(duplicate)
    _fold_parametrizations(duplicate)
    _make_linears(duplicate)
    _prepare_transformers(duplicate)
    return duplicate


def evaluation_copy(module: nn.Module) -> nn.Module:
    """A copy of the module's structure in evaluation mode: what PyTorch computes and others are compared with.

    Tensors share their storage with the module's, but for 16-bit floats, which become f32.
    """
    shared: dict[int, object] = {id(t): _shared(t) for part in module.modules() for t in _tensors_of(part)}
    return copy.deepcopy(module, shared).eval()


def _tensors_of(part: nn.Module) -> list[torch.Tensor]:
    # Pruning leaves the masked weight as a plain attribute, which `parameters()` does not list.
    own = [*part._parameters.values(), *part._buffers.values(), *vars(part).values()]
    return [value for value in own if isinstance(value, torch.Tensor)]


def _shared(tensor: torch.Tensor) -> torch.Tensor:
    data = tensor.detach()
    if data.dtype in _HALF:
        data = data.float()
    return nn.Parameter(data, requires_grad=False) if isinstance(tensor, nn.Parameter) else data


def _fold_pruning(module: nn.Module) -> None:
    for part in module.modules():
        for key, hook in list(part._forward_pre_hooks.items()):
            if isinstance(hook, (prune.BasePruningMethod, WeightNorm)):
                del part._forward_pre_hooks[key]
            if isinstance(hook, WeightNorm):
                with torch.no_grad():
                    hook.remove(part)
        for masked in [name for name in part._buffers if name.endswith("_mask")]:
            name = masked.removesuffix("_mask")
            original = part._parameters.get(f"{name}_orig")
            mask = part._buffers[masked]
            if original is None or mask is None:
                continue
            del part._parameters[f"{name}_orig"], part._buffers[masked]
            vars(part).pop(name, None)
            value = original.detach() * mask.to(original.dtype)
            part.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _fold_parametrizations(module: nn.Module) -> None:
    for part in list(module.modules()):
        if not parametrize.is_parametrized(part):
            continue
        names = list(part.get_submodule("parametrizations")._modules)
        with torch.no_grad():
            values = {name: getattr(part, name).detach().clone() for name in names}
        # PyTorch's own removal edits the class made for the layer, which the caller's layer has as well.
        del part._modules["parametrizations"]
        part.__class__ = type(part).__bases__[0]
        for name, value in values.items():
            part.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _make_linears(module: nn.Module) -> None:
    # Nobody has such a layer in a model without having imported this.
    conv1d = getattr(sys.modules.get("transformers.pytorch_utils"), "Conv1D", None)
    for part in list(module.modules()) if conv1d is not None else []:
        for name, child in part.named_children():
            if isinstance(child, conv1d):
                linear = nn.Linear(child.nx, child.nf, device="meta")
                linear.weight = nn.Parameter(child.weight.detach().T, requires_grad=False)
                linear.bias = child.bias
                setattr(part, name, linear.eval())


def _prepare_transformers(module: Any) -> None:
    """Sets what Hugging Face models need to be captured well: fused attention, no key-value cache."""
    config = getattr(module, "config", None)
    if config is None or not hasattr(module, "set_attn_implementation"):
        return
    if getattr(module, "_supports_sdpa", False) and not getattr(config, "output_attentions", False):
        # A part of a model may have attention of its own kind only, as the backbones of detectors do.
        with contextlib.suppress(ValueError, ImportError):
            module.set_attn_implementation("sdpa")
    if getattr(config, "use_cache", None):
        config.use_cache = False
