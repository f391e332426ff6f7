"""Latency decides: blocks and rates chosen by what layers cost on the target.

Names are imported when they are first used: measuring needs MLIR, and an unpruned model needs PyTorch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .choose import choose_block
    from .errors import LatencyError
    from .measure import measure_table
    from .plan import Plan
    from .rates import choose_rates
    from .table import LatencyTable

_HOMES = {
    "LatencyError": "errors",
    "LatencyTable": "table",
    "Plan": "plan",
    "choose_block": "choose",
    "choose_rates": "rates",
    "measure_table": "measure",
}

__all__ = ["LatencyError", "LatencyTable", "Plan", "choose_block", "choose_rates", "measure_table"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
