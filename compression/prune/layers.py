"""Which layers of a PyTorch model are pruned: by kind and by name, each weight once."""

import fnmatch
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .scheme import PruneError, Scheme

if TYPE_CHECKING:
    import torch

# What stands before and behind the encoder: few weights, and the most sensitive ones.
HEADS = (
    "*embedding*",
    "*pooler*",
    "*classif*",
    "*qa_outputs*",
    "*lm_head*",
    "*predictions*",
    "*vocab_*",
    "*score*",
    "*seq_relationship*",
    "cls.*",
)


def prunable_layers(
    module: "torch.nn.Module",
    scheme: Scheme | None = None,
    include: Sequence[str] | None = None,
    skip: Sequence[str] | None = None,
) -> "tuple[dict[str, torch.nn.Module], list[str]]":
    """The layers to prune, by module name and in the model's order, and the names of those that are left out.

    Those whose weights have the dimensions that the scheme is for; without a scheme linear layers and convolutions.
    `include` and `skip` are glob patterns of module names. A layer is taken where a pattern of `include` matches and
    none of `skip` does. By default all but `HEADS` (embeddings, pooler, task heads); where `include` is given, only
    the `skip` that is given holds; where only `skip` is given, it is added to `HEADS`. A weight that several layers
    share is taken with the first of them. Raises `PruneError` where no layer is left.
    """
    import torch

    by_dimensions = {2: torch.nn.Linear, 3: torch.nn.Conv1d, 4: torch.nn.Conv2d, 5: torch.nn.Conv3d}
    dimensions = tuple(by_dimensions) if scheme is None else scheme.rule.dimensions
    kinds = tuple(by_dimensions[n] for n in dimensions)
    skipping = tuple(skip or ()) + (() if include is not None else HEADS)
    chosen: dict[str, torch.nn.Module] = {}
    skipped: list[str] = []
    seen: set[int] = set()
    for name, layer in module.named_modules():
        if isinstance(layer, kinds):
            included = name_matches(name, include if include is not None else ("*",))
            if not included or name_matches(name, skipping):
                skipped.append(name)
            elif id(weight_parameter(layer)) not in seen:
                seen.add(id(weight_parameter(layer)))
                chosen[name] = layer
    if not chosen:
        what = "linear layer" if 2 in dimensions else "convolution"
        if len(dimensions) == 1 and 2 not in dimensions:
            what = f"{dimensions[0] - 2}-D convolution"
        if not skipped:
            raise PruneError(
                f"the model has no {what}s" + (f", which scheme '{scheme}' is for" if scheme else ""), usage=True
            )
        raise PruneError(f"no {what} of the model is to be pruned: {len(skipped)} are left out by name", usage=True)
    return chosen, skipped


def name_matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether one of the glob patterns matches the module name."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def weight_parameter(layer: "torch.nn.Module") -> "torch.Tensor":
    """The layer's weight, or what `torch.nn.utils.prune` computes it from."""
    original = getattr(layer, "weight_orig", None)
    return layer.weight if original is None else original  # type: ignore[return-value]
