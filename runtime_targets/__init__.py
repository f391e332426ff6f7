"""Targets, compilation by IREE, bundles and the run-time API. Never imports torch.

from secateur.runtime_targets import load
model = load("bert.bundle", threads=2)
outputs = model(input_ids=ids, attention_mask=mask)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .bundle import Bundle, BundleError, open_bundle, write_bundle
    from .runner import InputError, Runner, load
    from .targets import Target, TargetError, get_target

_HOMES = {
    "Bundle": "bundle",
    "BundleError": "bundle",
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
    "InputError",
    "Runner",
    "Target",
    "TargetError",
    "get_target",
    "load",
    "open_bundle",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
