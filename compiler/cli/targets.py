"""`secateur targets`: what can be compiled for."""

from .output import Debug, Json, Output, Quiet, table

EXAMPLE = "Example: secateur targets --json"


def command(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the targets, and what is known of each."""
    from secateur.runtime_targets import targets

    found = targets()
    value = [{"name": t.name, "description": dict(t.description), "verified": t.verified} for t in found]
    rows = [(t["name"], t["verified"]) for t in value]
    Output(as_json, quiet).result(value, lambda console: console.print(table(("target", "verified"), rows)))
