"""What goes wrong in tuning and in keeping what was found."""


class TuneError(Exception):
    """Tuning cannot go on. The text is one sentence: what was found and what is accepted."""
