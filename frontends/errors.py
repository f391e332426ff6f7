"""The one error that the frontend raises."""


class FrontendError(Exception):
    """A model or its files cannot be taken; the text is a sentence that names what is at fault."""
