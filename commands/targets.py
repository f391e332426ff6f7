"""`secateur targets`: what can be compiled for."""

from typing import TYPE_CHECKING, Annotated

import typer

from .early_checks import check_targets
from .output import Debug, Json, Output, Quiet

if TYPE_CHECKING:
    from rich.console import Console

    from secateur.runtime_targets.targets import Family, Target

EXAMPLE = "Example: secateur targets android-arm64. For programs: secateur targets --json"


def command(
    family: Annotated[
        str | None, typer.Argument(metavar="TARGET", help="List the models of this one, with their sizes.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the targets: what each assumes of the machine, and on what its code was run."""
    from secateur.runtime_targets.targets import families, get_target

    shown = families()
    if family is not None:
        check_targets([family], "TARGET")
        name = get_target(family).name
        shown = [f for f in shown if f.name == name.partition(":")[0]]
    found = {f.name: [get_target(name) for name in f.names()] for f in shown}
    value = [
        {
            "name": target.name,
            "family": f.name,
            "default": target.name == get_target(f.name).name,
            "summary": target.summary,
            "assumes": f.assumes,
            "note": target.note,
            "backend": target.backend,
            "lowering": target.lowering,
            "architecture": target.architecture,
            "cpu_features": list(target.cpu_features),
            "subgroup": target.subgroup,
            "f16": target.f16,
            "emulator": target.emulator,
            "description": target.description,
        }
        for f in shown
        for target in found[f.name]
    ]

    def show(console: "Console") -> None:
        for f in shown:
            _show_family(console, f, found[f.name], get_target(f.name).name)
        if family is None:
            console.print("`secateur targets TARGET` shows the models of one.", markup=False, highlight=False)

    def show_models(console: "Console") -> None:
        show(console)
        _show_models(console, [target for targets in found.values() for target in targets])

    Output(as_json, quiet).result({"targets": value}, show if family is None else show_models)


def _show_family(console: "Console", family: "Family", targets: "list[Target]", default: str) -> None:
    def line(text: str, indent: int = 2) -> None:
        # Rich folds long lines at the width of the terminal.
        from rich.padding import Padding

        console.print(Padding(text, (0, 0, 0, indent)), markup=False, highlight=False)

    line(f"{family.name}: {family.summary}", 0)
    line(f"assumes: {family.assumes}")
    if family.models:
        line(f"models: {', '.join(family.models)} (default: {default.partition(':')[2]})")
    notes: dict[str, list[str]] = {}
    for target in targets:
        notes.setdefault(target.note, []).append(target.name.partition(":")[2])
    for note, models in notes.items():
        line((f"{', '.join(models)}: " if len(notes) > 1 else "verified: ") + note)
    console.print()


def _show_models(console: "Console", targets: "list[Target]") -> None:
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("target", "vector", "registers", "L1", "L2", "lanes", "f16", "CPU features"):
        made.add_column(column, overflow="fold")
    for target in targets:
        d = target.description
        caches = [f"{d[name] >> 10} KiB" for name in ("l1_bytes", "l2_bytes")]
        lanes = "" if target.backend != "vulkan" else str(target.subgroup or "any")
        half = "yes" if target.f16 else "no"
        features = " ".join(target.cpu_features)
        made.add_row(target.name, f"{d['vector_bytes']} B", str(d["registers"]), *caches, lanes, half, features)
    console.print(made, markup=False, highlight=False)
