"""The `secateur` command line. Commands import what they need when they run, so that `--help` answers at once."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code (`app.main`). An interrupt is one from here on."""
    try:
        from .app import main as run

        return run(arguments)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
