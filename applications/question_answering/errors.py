"""What the application tells its users."""


class AnswerError(Exception):
    """A question cannot be answered as asked; the text is one sentence: what was found and what is accepted."""


class BusyError(Exception):
    """Too many questions wait already. `retry_after_seconds`: when it is worth asking again."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many questions are waiting; ask again in {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


class TimeLimitError(Exception):
    """A question took longer than it may; the text is one sentence."""
