"""The root of every error that speaks to a user."""


class SecateurError(Exception):
    """Something cannot be done as asked. The text is one sentence: what was found and what is accepted.

    Every error of Secateur that a user can meet is one, so a program catches this class, and the command line prints
    its text without a traceback.

    `usage`: whether what was asked for is at fault: a name that is not known, a value that is not accepted, a path at
    which nothing or something else stands. The command line then ends with exit code 2, else with 1.
    """

    usage = False

    def __init__(self, *words: object, usage: bool | None = None) -> None:
        super().__init__(*words)
        if usage is not None:
            self.usage = usage
