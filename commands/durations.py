"""Durations as they are given on the command line: one way of writing them for all commands."""

import re

import typer

# Units of one text go from long to short, so that `30m1h` is refused.
_UNITS = (
    ("days", r"d|days?", 86400.0),
    ("hours", r"h|hours?", 3600.0),
    ("minutes", r"m|min|minutes?", 60.0),
    ("seconds", r"s|sec|seconds?", 1.0),
    ("milliseconds", r"ms|milliseconds?", 0.001),
)
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile("".join(rf"(?:(?P<{name}>{_NUMBER})\s*(?:{units}))?\s*" for name, units, _ in _UNITS))


def seconds_of(text: str, option: str, plain: float = 1.0) -> float:
    """Seconds of a duration such as `500ms`, `90s`, `10min` or `1h30m`; a number alone counts units of `plain` seconds.

    Raises `typer.BadParameter`, which names the `option`, for anything else and for zero.
    """
    cleaned = text.strip().lower()
    seconds = 0.0
    if re.fullmatch(_NUMBER, cleaned):
        seconds = float(cleaned) * plain
    elif match := _DURATION.fullmatch(cleaned):
        seconds = sum(float(match[name] or 0) * unit for name, _, unit in _UNITS)
    if not 0 < seconds < float("inf"):
        unit = "milliseconds" if plain < 1 else "seconds"
        raise typer.BadParameter(
            f"found '{text}'; accepted are durations above 0 such as 500ms, 90s, 10min or 1h30m, or a number of {unit}",
            param_hint=option,
        )
    return seconds
