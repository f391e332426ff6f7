"""The one error that searching raises."""

from secateur.dialects.errors import SecateurError


class SearchError(SecateurError):
    """A search cannot be made as asked; the text is a sentence for the user."""
