"""The root of every error that speaks to a user."""


class SecateurError(Exception):
    """Something cannot be done as asked. The text is one sentence: what was found and what is accepted.

    Every error of Secateur that a user can meet is one, so a program catches this class, and the command line prints
    its text without a traceback.
    """
