"""Spaces of architectures and of compressions, what a candidate of them says, and the model that it is.

The names of the dimensions are the language: `layer.3`, `heads.3`, `ffn.*`, `rate.ffn_in`, `scheme.3.qkv`, `numbers`
(see `plan`). A space of one's own has dimensions with these names and is a `Space` like any other:

    Space("wide", (Dimension("heads.*", (12, 8, 4)), Dimension("ffn.*", (1536, 768, 384))))
"""

from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

from .plan import KINDS, Plan, plan_of

if TYPE_CHECKING:
    from .building import build
    from .made import (
        SPACES,
        architecture_space,
        compression_space,
        embeddings_space,
        hidden_space,
        space_named,
        uniform_space,
    )

__all__ = [
    "KINDS",
    "SPACES",
    "Plan",
    "architecture_space",
    "build",
    "compression_space",
    "embeddings_space",
    "hidden_space",
    "plan_of",
    "space_named",
    "uniform_space",
]

_HOMES = {
    "build": "building",
    **dict.fromkeys(("SPACES", "architecture_space", "compression_space", "embeddings_space"), "made"),
    **dict.fromkeys(("hidden_space", "space_named", "uniform_space"), "made"),
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
