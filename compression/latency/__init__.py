"""Latency decides: blocks and rates chosen by what layers cost on the target.

Names are imported when they are first used: measuring needs MLIR, and an unpruned model needs PyTorch.
"""

from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
