"""`secateur deploy`: a bundle onto a phone, an emulated CPU or this machine."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from secateur.compiler.measure.tables import size

from .early_checks import check_bundle, check_device, check_targets
from .output import Debug, Json, Output, Quiet

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.compiler.measure.deploy import Deployment

EXAMPLE = "Example: secateur deploy bert.bundle --device adb:R5CT30ABCDE"

DEVICE_HELP = "adb:SERIAL (adb: the one phone that is attached), qemu:CPU, or local."


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a .zip.")],
    device: Annotated[str, typer.Option(metavar="DEVICE", help=DEVICE_HELP)] = "adb",
    target: Annotated[
        str | None,
        typer.Option(metavar="T", help="Whose code (default: the most specific that the device can run)."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Put a bundle onto a device: what changed since the last time, checked there by a self-test.

    Space, CPU features and Vulkan are checked before anything is pushed. When something goes wrong, what was there
    before stays and nothing of the new version does.
    """
    check_bundle(bundle)
    check_device(device)
    check_targets([target] if target is not None else ())
    output = Output(as_json, quiet)
    with output.progress(f"deploying {bundle}") as progress:
        from secateur.compiler.measure.deploy import deploy

        done = deploy(bundle, device, target=target, progress=progress)
    for note in done.notes:
        output.note(f"note: {note}")
    output.result(dataclasses.asdict(done), lambda console: show(console, done))


def show(console: "Console", done: "Deployment") -> None:
    """The result for a person: a line for every file of the bundle, then the self-test."""
    from secateur.compiler.measure.deploy import RUNNER

    for word, files in (("pushed", done.pushed), ("copied there", done.copied), ("unchanged", done.skipped)):
        programs = [count for name, count in files.items() if name.startswith(RUNNER)]
        shown = {name: size(count) for name, count in files.items() if not name.startswith(RUNNER)}
        if programs:
            shown["the programs that run it"] = f"{len(programs)} files, {size(sum(programs))}"
        for name, count in shown.items():
            console.print(f"{word:<13}{name} ({count})", markup=False, highlight=False)
    pushed = f"{len(done.pushed)} files, {size(sum(done.pushed.values()))}" if done.pushed else "nothing"
    console.print(f"pushed {pushed} to {done.device}:{done.folder}", markup=False, highlight=False)
    for folder in done.removed:
        console.print(f"removed an older version, {folder}", markup=False, highlight=False)
    told = f"self-test of {done.target} passed: {done.self_test}" if done.self_test else "self-test: not run"
    console.print(told, markup=False, highlight=False)
