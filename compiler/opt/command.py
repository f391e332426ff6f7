"""`sparsity-opt`: runs passes on MLIR text, as `mlir-opt` does.

Everything that loads MLIR is imported inside `main`, so that a usage error is told at once and an interrupt
while loading is an interrupt.
"""

import sys
import traceback
from collections.abc import Sequence

from secateur.dialects.errors import SecateurError
from secateur.dialects.standard_streams import open_streams, writing_output

from .flags import Arguments, UsageError, help_text, parse_arguments

FAILURE, USAGE_ERROR, INTERRUPTED = 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the tool and returns its exit code: 0; 1 for IR or pass failure; 2 for usage; 130 where interrupted."""
    arguments = None
    open_streams()
    try:
        arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
        with writing_output():
            return _run(arguments)
    except UsageError as error:
        _trace(arguments)
        print(f"sparsity-opt: {error}", file=sys.stderr)
        return USAGE_ERROR
    except SecateurError as error:
        _trace(arguments)
        print(f"sparsity-opt: {error}", file=sys.stderr)
        return FAILURE
    except KeyboardInterrupt:
        _trace(arguments)
        print("sparsity-opt: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does.
        return FAILURE
    except Exception as error:
        _trace(arguments)
        print(f"sparsity-opt: internal error: {type(error).__name__}: {error}", file=sys.stderr)
        if arguments is None or not arguments["debug"]:
            print("sparsity-opt: --debug shows where", file=sys.stderr)
        return FAILURE


def _run(arguments: Arguments) -> int:
    if arguments["help"]:
        print(help_text(), end="")
        return 0
    if arguments["version"]:
        from importlib.metadata import version

        print(f"sparsity-opt {version('secateur')} (torch-mlir {version('torch-mlir')})")
        return 0
    from .run import run

    return run(arguments)


def _trace(arguments: Arguments | None) -> None:
    if arguments is not None and arguments["debug"]:
        traceback.print_exc()
