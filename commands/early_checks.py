"""What is checked before anything that takes long, in the order in which a user would mend it."""

import os
from collections.abc import Sequence
from pathlib import Path

import typer


def check_model(model: str) -> None:
    """Raises `FrontendError` where `model` is no folder with a config."""
    folder = Path(model)
    if not (folder / "config.json").is_file():
        from secateur.frontends.errors import FrontendError

        if folder.is_dir():
            raise FrontendError(f"'{folder}' has no config.json, so it is no Hugging Face folder")
        found = "is a file" if folder.exists() else "does not exist"
        raise FrontendError(f"'{folder}' {found}; expected a Hugging Face folder with config.json and weights")


def check_targets(names: Sequence[str], option: str = "--target") -> None:
    """Raises `typer.BadParameter` for a target that is not known."""
    from secateur.runtime_targets.targets import TargetError, get_target

    for name in names:
        try:
            get_target(name)
        except TargetError as error:
            raise typer.BadParameter(str(error), param_hint=option) from None


def check_bundle_out(out: Path) -> None:
    """Raises `BundleError` where a bundle cannot take the place of what stands at `out`, `OSError` where the folder
    around it is none or cannot be written to."""
    from secateur.runtime_targets.writing import check_replaceable

    check_replaceable(out)
    check_parent(out)


def check_parent(out: Path) -> None:
    """Raises `OSError` where `out` could not be made: a file stands where a folder is needed, or one is read-only."""
    around = out.absolute().parent
    while not os.path.lexists(around):
        around = around.parent
    if not around.is_dir():
        raise NotADirectoryError(f"'{out}' cannot be written: '{around}' is no folder")
    if not os.access(around, os.W_OK | os.X_OK):
        raise PermissionError(f"'{out}' cannot be written: the folder '{around}' is read-only")
