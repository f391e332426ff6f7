"""A layer's input as the rows that its weight, seen as a matrix, is multiplied with."""

from typing import Any

import torch


def input_rows(layer: torch.nn.Module, x: torch.Tensor, mask: torch.Tensor | None) -> list[torch.Tensor]:
    """[rows, columns] per group of the layer (one for a linear layer).

    Of a linear layer's input [..., columns] the tokens that `mask` [batch, tokens] leaves out are dropped where its
    leading dimensions are those of the mask, flat or not. A convolution's columns are [channels of the group, *kernel].
    """
    if isinstance(layer, torch.nn.Linear):
        rows = x.reshape(-1, x.shape[-1])
        if mask is not None and mask.dim() == 2 and x.shape[:-1] in (mask.shape, (mask.numel(),)):
            rows = rows[mask.reshape(-1) != 0]
        return [rows]
    return _patches(layer, x)


def _patches(layer: Any, x: torch.Tensor) -> list[torch.Tensor]:
    dims = len(layer.kernel_size)
    if x.dim() == dims + 1:
        x = x[None]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    x = torch.nn.functional.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
    for dim in range(dims):
        reach = layer.dilation[dim] * (layer.kernel_size[dim] - 1) + 1
        x = x.unfold(2 + dim, reach, layer.stride[dim])[..., :: layer.dilation[dim]]
    # [batch, channels, *positions, *kernel] -> [batch, *positions, channels, *kernel]
    x = x.movedim(1, 1 + dims)
    parts = x.flatten(1 + dims).flatten(0, dims).chunk(layer.groups, dim=1)
    return list(parts)
