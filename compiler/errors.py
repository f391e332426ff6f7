"""What the driver tells a user who gave it something it cannot work with."""

from secateur.dialects.errors import SecateurError


class CompileError(SecateurError):
    """A model cannot be compiled as asked. The text is one sentence: what was found and what is accepted."""


class VerificationError(CompileError):
    """The compiled model and PyTorch differ by more than the tolerance; the text holds the figures."""
