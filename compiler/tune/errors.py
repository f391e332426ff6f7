"""What goes wrong with a candidate."""


class CandidateError(Exception):
    """A candidate failed: `kind` is `crashed`, `timeout`, `memory`, `wrong` or `refused`; the text says how."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
