"""What is checked before anything that takes long, in the order in which a user would mend it."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from secateur.dialects.errors import SecateurError


@contextlib.contextmanager
def after_model(model: str) -> Iterator[None]:
    """Where the block finds a fault, one of `model` itself is told first. A sound model is not touched, for a name of
    the hub might be downloaded."""
    try:
        yield
    except (SecateurError, OSError):
        from secateur.frontends.errors import FrontendError
        from secateur.frontends.hub import model_folder

        folder = model_folder(model)
        if not folder.is_dir():
            found = "is a file" if folder.exists() else "does not exist"
            raise FrontendError(f"'{folder}' {found}; expected a Hugging Face folder") from None
        raise


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
    _check_parent(out)


def check_file_out(out: Path) -> None:
    """Raises `OSError` where no file can be written at `out`."""
    if out.is_dir():
        raise IsADirectoryError(f"'{out}' is a folder; expected a file")
    _check_parent(out)


def _check_parent(out: Path) -> None:
    """Raises `OSError` where `out` could not be made: a file stands where a folder is needed, or one is read-only."""
    around = out.absolute().parent
    while not os.path.lexists(around):
        around = around.parent
    if not around.is_dir():
        raise NotADirectoryError(f"'{out}' cannot be written: '{around}' is no folder")
    if not os.access(around, os.W_OK | os.X_OK):
        raise PermissionError(f"'{out}' cannot be written: the folder '{around}' is read-only")
