"""Tables of figures for a person."""

from collections.abc import Sequence
from typing import Any

_UNITS = ("B", "kB", "MB", "GB")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Any:
    """A Rich table: the first column to the left, the others, being figures, to the right."""
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        made.add_column(column, justify="right" if i else "left", overflow="fold", no_wrap=i > 0)
    for row in rows:
        made.add_row(*row)
    return made


def size(count: float) -> str:
    """Bytes as a person reads them: `12.3 MB` (powers of 1000)."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit takes every size")


def percent(fraction: float) -> str:
    """A fraction 0..1 as `90.0 %`."""
    return f"{100 * fraction:.1f} %"
