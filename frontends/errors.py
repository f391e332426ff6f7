"""The one error that the frontend raises."""

from secateur.dialects.errors import SecateurError


class FrontendError(SecateurError):
    """A model or its files cannot be taken; the text is a sentence that names what is at fault."""
