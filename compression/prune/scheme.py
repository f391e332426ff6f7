"""What a weight is pruned to: a scheme and the size of its blocks, from what a user types."""

import dataclasses
import functools

from secateur.dialects.errors import SecateurError
from secateur.dialects.schemes import PRUNINGS, Pruning, SchemeError, pruning_of

SCHEMES = tuple(PRUNINGS)
"""The names of the schemes."""


class PruneError(SecateurError):
    """A weight or a model cannot be pruned as asked; the text is one sentence."""


@dataclasses.dataclass(frozen=True)
class Scheme:
    """A scheme's name and sizes; what both mean stands in `dialects/schemes`.

    Raises `PruneError` for an unknown name and for sizes that the scheme does not have.
    """

    name: str
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        try:
            _ = self.rule
        except SchemeError as error:
            raise PruneError(str(error), usage=True) from None

    @functools.cached_property
    def rule(self) -> Pruning:
        """What is known of the scheme with these sizes."""
        return pruning_of(self.name)(self.sizes)

    @property
    def fixed_sparsity(self) -> float | None:
        """The only sparsity that the scheme has, or None."""
        return self.rule.fixed_sparsity

    def __str__(self) -> str:
        return str(self.rule)


def parse_scheme(name: str, block: str | None = None) -> Scheme:
    """The scheme for `--scheme name --block text`, such as `4x16` (bcr, punched, kgs), `64` (block), `4x4` or `4`
    (pattern), `2:4` (nm); None for the default of the scheme. Raises `PruneError`.
    """
    try:
        rule = pruning_of(name)
        return Scheme(name, rule.default if block is None else rule.parse(block))
    except SchemeError as error:
        raise PruneError(str(error), usage=True) from None
