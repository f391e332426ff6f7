"""What a controller is."""

from typing import Protocol

from ..outcome import Outcome
from ..space import Candidate


class Controller(Protocol):
    """Proposes candidates of a space and learns from what comes of them.

    A class of controllers is made as `Class(space, goal, seed)`. What it proposes follows from these and from the calls
    that were made, in their order, alone: a search that was stopped is brought back by making the same calls again.
    """

    def propose(self) -> Candidate:
        """A candidate that the rules of the space allow. One that was proposed before is allowed: the search tells
        what came of it, where that is known, and asks again."""

    def observe(self, candidate: Candidate, outcome: Outcome) -> None:
        """What came of a candidate, also of one that this controller did not propose."""
