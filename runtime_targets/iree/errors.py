"""Errors of loading and calling a module."""

from secateur.dialects.errors import SecateurError

IREE_ERRORS = (LookupError, MemoryError, OSError, RuntimeError, ValueError)
"""What IREE's bindings raise, by the code of its status (out of range: `IndexError`)."""


class SessionError(SecateurError):
    """A module cannot be loaded or called; the text is one sentence."""


def first_line(error: BaseException) -> str:
    """An IREE error without its trace."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].strip().rstrip(";")
