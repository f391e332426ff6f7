"""What is checked before anything that takes long, in the order in which a user would mend it. Each check raises
`typer.BadParameter`, which names the option, and so ends the command with exit code 2."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

from secateur.dialects.errors import SecateurError
from secateur.dialects.output_places import check_around, check_file_place, check_folder_place


@contextlib.contextmanager
def told_of(option: str) -> Iterator[None]:
    """What is wrong inside the block is a fault of the option's value."""
    try:
        yield
    except (SecateurError, OSError) as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def check_model(model: str, option: str = "MODEL") -> None:
    """`model` is a Hugging Face folder, or may be the name of a model of the hub, which is looked up later."""
    from secateur.frontends.hub import is_name
    from secateur.runtime_targets.found_instead import is_bundle

    if is_name(model):
        return
    folder = Path(model)
    if is_bundle(folder):
        raise typer.BadParameter(
            f"'{folder}' is a bundle, which holds finished code; expected the Hugging Face folder that it was made of",
            param_hint=option,
        )
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise typer.BadParameter(f"'{folder}' {found}; expected a Hugging Face folder", param_hint=option)
    if not any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise typer.BadParameter(f"'{folder}' has no config.json, so it is no Hugging Face folder", param_hint=option)


def check_bundle(bundle: Path, option: str = "BUNDLE") -> None:
    """`bundle` is a folder with a manifest, or a zip archive; what it holds is checked where it is opened."""
    from secateur.runtime_targets.found_instead import no_bundle

    other = no_bundle(bundle)
    if other is not None:
        raise typer.BadParameter(other, param_hint=option)


def opens_as_bundle(path: str | Path) -> bool:
    """Whether a command that takes models and bundles opens `path` as a bundle; no model is a file."""
    from secateur.runtime_targets.found_instead import is_bundle

    return Path(path).is_file() or is_bundle(path)


def check_targets(names: Sequence[str], option: str = "--target") -> None:
    """Each name is that of a target."""
    from secateur.runtime_targets.targets import get_target

    for name in names:
        with told_of(option):
            get_target(name)


def check_device(name: str, option: str = "--device") -> None:
    """`name` is that of a kind of device; whether there is such a device is asked later."""
    from secateur.runtime_targets.devices import check_kind

    with told_of(option):
        check_kind(name)


def check_task(name: str, data: Path | None, split: str | None = None, option: str = "--task") -> None:
    """The task is known and has the split, and something stands at `data`."""
    from secateur.tasks import get_task

    if data is not None and not data.exists():
        raise typer.BadParameter(f"there is no file '{data}'", param_hint="--data")
    with told_of(option):
        task = get_task(name, data)
    if split is not None:
        with told_of("--split"):
            task.check_split(split)


def check_file(path: Path | None, option: str) -> None:
    """Where `path` is given, a file stands there."""
    if path is not None and not path.is_file():
        found = f"'{path}' is a folder; expected a file" if path.is_dir() else f"there is no file '{path}'"
        raise typer.BadParameter(found, param_hint=option)


def check_bundle_out(out: Path, option: str = "--out") -> None:
    """A bundle can take the place of what stands at `out`."""
    from secateur.runtime_targets.writing import check_replaceable

    with told_of(option):
        check_replaceable(out)
        check_around(out)


def check_file_out(out: Path | None, option: str = "--out") -> None:
    """Where `out` is given, a file can be written there."""
    if out is not None:
        with told_of(option):
            check_file_place(out)


def check_new_folder(out: Path, option: str = "--out") -> None:
    """A folder can be made at `out`, where nothing stands but an empty one."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise typer.BadParameter(f"'{out}' exists; name a new folder", param_hint=option)
    with told_of(option):
        check_around(out)


def check_folder_out(out: Path, option: str = "--out") -> None:
    """Files can be written into the folder `out`, which may be there."""
    with told_of(option):
        check_folder_place(out)
