"""Where candidates are evaluated: processes of this machine, or of a Ray cluster."""

from .pool import Pool, Task

__all__ = ["Pool", "Task"]
