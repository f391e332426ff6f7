"""Tuning: schedules found by search on the machine they are for, and the records of what was found.

Names are imported when they are first used, so that `secateur --help` starts without Optuna.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from secateur.compiler.records.errors import TuneError
    from secateur.compiler.records.records import RecordsFile, records_folder

    from .tuner import TuneOptions, TuneReport, tune_model

_HOMES = {
    "RecordsFile": "secateur.compiler.records.records",
    "TuneError": "secateur.compiler.records.errors",
    "TuneOptions": "secateur.compiler.tune.options",
    "TuneReport": "secateur.compiler.tune.report",
    "records_folder": "secateur.compiler.records.records",
    "tune_model": "secateur.compiler.tune.tuner",
}

__all__ = ["RecordsFile", "TuneError", "TuneOptions", "TuneReport", "records_folder", "tune_model"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
