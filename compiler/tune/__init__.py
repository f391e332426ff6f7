"""Tuning: schedules found by search on the machine they are for, and the records of what was found.

Names are imported when they are first used, so that `secateur --help` starts without Optuna.
"""

from typing import TYPE_CHECKING

from secateur.dialects.lazy_names import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
