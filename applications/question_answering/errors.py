"""What the application tells its users."""

from secateur.dialects.errors import SecateurError


class AnswerError(SecateurError):
    """A question cannot be answered as asked; the text is one sentence: what was found and what is accepted."""


class BusyError(SecateurError):
    """Too many questions wait already. `retry_after_seconds`: when it is worth asking again."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many questions are waiting; ask again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class TimeLimitError(SecateurError):
    """A question took longer than it may; the text is one sentence."""
