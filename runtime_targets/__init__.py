"""Targets, compilation by IREE, bundles and the run-time API. Never imports torch.

from secateur.runtime_targets import load
model = load("bert.bundle", threads=2)
outputs = model(input_ids=ids, attention_mask=mask)
"""

from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

if TYPE_CHECKING:
    from .bundle import Bundle, BundleError, open_bundle, write_bundle
    from .generation import GenerationError, Generator
    from .runner import InputError, Runner, load
    from .targets import Target, TargetError, get_target

_HOMES = {
    "Bundle": "bundle",
    "BundleError": "bundle",
    "GenerationError": "generation",
    "Generator": "generation",
    "InputError": "runner",
    "Runner": "runner",
    "Target": "targets",
    "TargetError": "targets",
    "get_target": "targets",
    "load": "bundle",
    "open_bundle": "bundle",
    "write_bundle": "bundle",
}

__all__ = [
    "Bundle",
    "BundleError",
    "GenerationError",
    "Generator",
    "InputError",
    "Runner",
    "Target",
    "TargetError",
    "get_target",
    "load",
    "open_bundle",
    "write_bundle",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
