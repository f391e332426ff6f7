"""The one error that training raises."""

from secateur.dialects.errors import SecateurError


class TrainError(SecateurError):
    """A model cannot be trained as asked, or training had to stop; the text is a sentence for the user."""
