"""The limits of `secateur search`: latencies, or instructions where a CPU is emulated."""

import re

import typer

from .durations import seconds_of
from .early_checks import check_targets, told_of

_EMULATED = "qemu:"
_COUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([kMG]?)(?: *instructions)")
_TIMES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


def limits_of(text: str | None, target: str) -> tuple[str, list[float]]:
    """The figure that is limited on a target, and the limits of `--latency`: milliseconds of `3ms,4ms`, instructions of
    `300Minstructions`. Raises `BadParameter` for a unit that is not the target's."""
    parts = text.split(",") if text else []
    if not target.startswith(_EMULATED):
        if any("instruction" in part for part in parts):
            raise typer.BadParameter(
                f"what runs on '{target}' is timed: a limit is a duration such as 3ms, found '{text}'",
                param_hint="--latency",
            )
        return "latency_ms", [seconds_of(part, "--latency", plain=1e-3) * 1e3 for part in parts]
    counts = [_COUNT.fullmatch(part.strip()) for part in parts]
    found = [float(match[1]) * _TIMES[match[2]] for match in counts if match]
    if len(found) < len(parts) or not all(found):
        raise typer.BadParameter(
            f"what runs on '{target}' is counted, and no time is known: a limit is a number of instructions such as"
            f" 300Minstructions, found '{text}'",
            param_hint="--latency",
        )
    return "instructions", found


def check_measured_target(target: str, threads: int) -> None:
    """The target is one that can be timed or counted here."""
    if not target.startswith(_EMULATED):
        return check_targets([target])
    from secateur.compression.latency.place import place_of

    with told_of("--target"):
        place_of(target, threads, "counts")
