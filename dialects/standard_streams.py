"""Standard streams as a user may leave them: closed, full, or in an encoding that lacks characters."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from .errors import SecateurError


def open_streams() -> None:
    """Streams that are closed read and write nothing; characters that a stream cannot write become escapes."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 (as long as the process)
        elif mode == "w" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def writing_output() -> Iterator[None]:
    """Around what is printed on standard output, to its last byte.

    Raises `SecateurError` where it cannot be written; `BrokenPipeError` where whoever read it has gone.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
        raise
    except OSError as error:
        if error.filename is not None:
            raise
        drop_output()
        raise SecateurError(f"standard output cannot be written: {error.strerror or error}") from None


def drop_output() -> None:
    """What is left of standard output goes nowhere: the interpreter would try, and complain, at its end."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
