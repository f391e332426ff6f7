"""How far a candidate's outputs are from the dense model's."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from secateur.compression.train.distillation import logits_loss, logits_of


@torch.no_grad()
def output_error(module: nn.Module, dense: nn.Module, batches: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """`error`: KL(dense, candidate) of the distributions that the logits stand for, in nats, mean over windows and over
    the named logits. `relative_error`: squared difference of the logits of tokens that count over the variance of the
    dense model's."""
    device = next(dense.parameters()).device
    divergence, windows = 0.0, 0
    total, squares, change, count = 0.0, 0.0, 0.0, 0
    for batch in batches:
        inputs = {name: torch.as_tensor(value).to(device) for name, value in batch.items()}
        mask = inputs.get("attention_mask", torch.ones_like(inputs["input_ids"]))
        theirs, ours = logits_of(dense(**inputs)), logits_of(module(**inputs))
        divergence += float(logits_loss(ours, theirs, mask, 1.0)) * len(mask)
        windows += len(mask)
        for name, one in theirs.items():
            kept = mask != 0 if one.shape[:2] == mask.shape else torch.ones_like(one, dtype=torch.bool)
            before, after = one[kept].double(), ours[name][kept].double()
            total, squares, count = (
                total + float(before.sum()),
                squares + float(before.square().sum()),
                count + len(before),
            )
            change += float((after - before).square().sum())
    variance = squares - total**2 / max(1, count)
    return {"error": divergence / max(1, windows), "relative_error": change / variance if variance > 0 else 0.0}
