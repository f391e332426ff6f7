"""Who is told how far a job is."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from secateur.compression.train.job import TrainingStep


class Watcher(Protocol):
    """Is told what is being done; a command shows it as a bar."""

    def stage(self, text: str) -> None:
        """What is being done, such as "loading" or "layer 3 of 12"."""

    def step(self, step: "TrainingStep") -> None:
        """Where a training is."""
