"""What goes wrong in tuning and in keeping what was found."""

from secateur.dialects.errors import SecateurError


class TuneError(SecateurError):
    """Tuning cannot go on. The text is one sentence: what was found and what is accepted."""
