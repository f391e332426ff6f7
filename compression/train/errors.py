"""The one error that training raises."""


class TrainError(Exception):
    """A model cannot be trained as asked, or training had to stop; the text is a sentence for the user."""
