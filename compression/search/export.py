"""A journal as a study of Optuna, for optuna-dashboard: `optuna-dashboard DIR/optuna.log`."""

import json
import warnings
from pathlib import Path

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from .search import open_search
from .trials import Trial

EXPORTED = "optuna.log"


def export_study(folder: Path | str) -> Path:
    """Writes the search in `folder` as a journal of Optuna beside its own, anew, and returns the file.

    Objectives are those of the first goal; a candidate that failed, or was given up before they were known, is a failed
    trial. All figures are attributes of the trial, and so is what its failure was. Raises `SearchError` where there is
    no search.
    """
    journal, trials = open_search(folder)
    assert journal.header is not None
    path = Path(folder) / EXPORTED
    path.unlink(missing_ok=True)
    goal = trials.goals[0]
    choices = {
        name: CategoricalDistribution([_plain(c) for c in some]) for name, some, *_ in journal.header["dimensions"]
    }
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))
            study = optuna.create_study(
                storage=storage,
                study_name=journal.header["space"],
                directions=["maximize" if objective.largest else "minimize" for objective in goal.objectives],
            )
            study.set_metric_names([objective.figure for objective in goal.objectives])
            for trial in trials.all():
                values = _values(trial, [objective.figure for objective in goal.objectives])
                study.add_trial(
                    create_trial(
                        state=TrialState.COMPLETE if values else TrialState.FAIL,
                        values=values,
                        params={name: _plain(choice) for name, choice in trial.candidate.items()},
                        distributions=choices,
                        user_attrs={**trial.figures, **({"failure": trial.failure} if trial.failure else {})},
                    )
                )
    finally:
        optuna.logging.set_verbosity(level)
    return path


def _plain(choice: object) -> str | int | float | bool | None:
    return choice if choice is None or isinstance(choice, str | int | float | bool) else json.dumps(choice)


def _values(trial: Trial, figures: list[str]) -> list[float] | None:
    known = not trial.failure and all(figure in trial.figures for figure in figures)
    return [trial.figures[figure] for figure in figures] if known else None
