"""What a command prints: results on standard output, everything else on standard error."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from secateur.dialects.standard_streams import writing_output

if TYPE_CHECKING:
    from rich.console import Console

Json = Annotated[
    bool, typer.Option("--json", rich_help_panel="Messages", help="Print the result as JSON on standard output.")
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", rich_help_panel="Messages", help="Print results only: no progress and no remarks."),
]
Debug = Annotated[
    bool, typer.Option("--debug", rich_help_panel="Messages", help="Show a traceback when something fails.")
]


class Output:
    """Where a command's words go. With `as_json` standard output gets one JSON value and nothing else."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet

    def result(self, value: Any, show: "Callable[[Console], None]") -> None:
        """The result of the command: `value` as JSON, or what `show` prints for a person."""
        with writing_output():
            if self._as_json:
                json.dump(value, sys.stdout, indent=2, allow_nan=False, default=str)
                sys.stdout.write("\n")
            else:
                show(_console(stderr=False))

    def note(self, text: str) -> None:
        """A remark for a person, on standard error."""
        if not self._quiet:
            _console(stderr=True).print(text, markup=False, highlight=False)

    @contextlib.contextmanager
    def progress(self, title: str) -> Iterator[Callable[[str], None]]:
        """Shows `title`, the current stage and the time that has passed; yields the function that names the stage.

        Where standard error is no terminal each stage is one line, so that a log shows how far it came; steps within
        a stage (what follows a comma) are told every two seconds.
        """
        if self._quiet:
            yield lambda stage: None
            return
        console = _console(stderr=True)
        if not console.is_terminal:
            told, when = "", 0.0

            def tell(stage: str) -> None:
                nonlocal told, when
                now, head = time.monotonic(), stage.partition(",")[0]
                if head != told or now - when >= 2:
                    console.print(f"{title}: {stage}", markup=False, highlight=False)
                    told, when = head, now

            yield tell
            return
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(title, total=None)
            yield lambda stage: bar.update(task, description=f"{title}: {stage}")


def _console(stderr: bool) -> "Console":
    from rich.console import Console

    # A file or pipe has no width of its own; a table cut at 80 columns would lose figures.
    stream = sys.stderr if stderr else sys.stdout
    plain = is_plain()
    return Console(stderr=stderr, width=None if stream.isatty() else 160, force_terminal=False if plain else None)


def is_plain() -> bool:
    """Whether nothing but text may be printed: no colours, no moving of the cursor."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
