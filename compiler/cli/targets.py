"""`secateur targets`: what can be compiled for."""

from typing import TYPE_CHECKING

from .output import Debug, Json, Output, Quiet

if TYPE_CHECKING:
    from rich.console import Console

EXAMPLE = "Example: secateur targets --json"


def command(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the targets, and what is known of each."""
    from secateur.runtime_targets.targets import get_target, targets

    found = [get_target(name) for name in targets()]
    value = [
        {
            "name": target.name,
            "summary": target.summary,
            "note": target.note,
            "architecture": target.architecture,
            "cpu_features": list(target.cpu_features),
            "description": target.description,
        }
        for target in found
    ]

    def show(console: "Console") -> None:
        for target in found:
            console.print(f"{target.name}: {target.summary} ({target.architecture}); {target.note}", highlight=False)
            console.print("  " + ", ".join(f"{k} {v}" for k, v in target.description.items()), highlight=False)

    Output(as_json, quiet).result({"targets": value}, show)
