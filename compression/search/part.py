"""An evaluator with some of its stages left out."""

import dataclasses

from .errors import SearchError
from .measurement import Evaluator, Measurement, Stage
from .space import Candidate


@dataclasses.dataclass(frozen=True)
class Without:
    """`whole` without the stages named in `left_out`. Raises `SearchError` where it has not got one of them."""

    whole: Evaluator
    left_out: tuple[str, ...]

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.whole.stages]
        for name in self.left_out:
            if name not in names:
                raise SearchError(f"there is no stage '{name}' to leave out; the stages are {', '.join(names)}")

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that are left."""
        return tuple(stage for stage in self.whole.stages if stage.name not in self.left_out)

    def evaluate(self, candidate: Candidate, stage: str) -> Measurement:
        """As `whole` does."""
        return self.whole.evaluate(candidate, stage)
