"""What a search chooses from: named dimensions with choices, and rules for which of them go together."""

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from .errors import SearchError

Choice = str | int | float | bool | None
Candidate = Mapping[str, Choice]
"""One choice for each dimension of a space, by name: what a line of the journal holds."""

_ATTEMPTS = 1000


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One thing to choose, such as the heads of a layer.

    `choices` are values that JSON has, in an order where neighbours are alike (a mutation goes to them). `phase`:
    controllers that search in phases choose all dimensions of a phase before they go to the next one (CANAO: first the
    structure of blocks, then sizes). `when`: the name of an earlier dimension and choices of it; with any other choice
    (the layer is left out, say) this dimension means nothing, and has its first choice in every candidate.
    """

    name: str
    choices: tuple[Choice, ...]
    phase: int = 0
    when: tuple[str, tuple[Choice, ...]] | None = None

    def __post_init__(self) -> None:
        if not self.choices or len(set(map(repr, self.choices))) != len(self.choices):
            raise SearchError(
                f"the choices of '{self.name}' are different values, at least one, found {list(self.choices)}"
            )


@dataclasses.dataclass(frozen=True)
class Space:
    """The candidates of a search: each choice of each of `dimensions` that all of `rules` allow.

    A rule is a function of a candidate. Candidates are dicts in the order of the dimensions; those that differ only in
    what means nothing (`Dimension.when`) are one. A condition on a dimension that the space lacks always holds.
    Raises `SearchError` for a space without dimensions, for two of one name, and for a condition on a later dimension.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    rules: tuple[Callable[[Candidate], bool], ...] = ()

    def __post_init__(self) -> None:
        names = [dimension.name for dimension in self.dimensions]
        if not names:
            raise SearchError(f"the space '{self.name}' is empty: it has no dimension to choose")
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise SearchError(f"the space '{self.name}' has two dimensions named '{twice[0]}'")
        for place, dimension in enumerate(self.dimensions):
            if dimension.when is not None and dimension.when[0] in names[place:]:
                raise SearchError(f"'{dimension.name}' depends on '{dimension.when[0]}', which stands behind it")

    def __add__(self, other: "Space") -> "Space":
        """Both spaces together."""
        return Space(f"{self.name},{other.name}", self.dimensions + other.dimensions, self.rules + other.rules)

    @property
    def size(self) -> int:
        """How many candidates there are before rules and conditions."""
        return math.prod(len(dimension.choices) for dimension in self.dimensions)

    @property
    def key(self) -> str:
        """The same for spaces with the same dimensions and choices. Rules are code, and no part of it."""
        said = [[d.name, list(d.choices), d.phase, d.when] for d in self.dimensions]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

    def canonical(self, candidate: Candidate) -> dict[str, Choice]:
        """The candidate with the first choice wherever a choice means nothing."""
        found: dict[str, Choice] = {}
        for dimension in self.dimensions:
            other, choices = dimension.when or ("", ())
            means = other not in found or found[other] in choices
            found[dimension.name] = candidate[dimension.name] if means else dimension.choices[0]
        return found

    def allows(self, candidate: Candidate) -> bool:
        """Whether all rules allow a candidate of this space."""
        return all(rule(candidate) for rule in self.rules)

    def enumerate(self) -> Iterator[dict[str, Choice]]:
        """All candidates that the rules allow, the last dimension changing fastest."""
        for choices in itertools.product(*(dimension.choices for dimension in self.dimensions)):
            candidate = {d.name: choice for d, choice in zip(self.dimensions, choices, strict=True)}
            if candidate == self.canonical(candidate) and self.allows(candidate):
                yield candidate

    def sample(self, generator: np.random.Generator) -> dict[str, Choice]:
        """A candidate: each choice that means something is as likely as the dimension's others, as far as the rules
        allow. Raises `SearchError` where a thousand draws find none."""
        for _ in range(_ATTEMPTS):
            places = [int(generator.integers(len(d.choices))) for d in self.dimensions]
            candidate = self.decode(places)
            if self.allows(candidate):
                return candidate
        raise SearchError(f"the rules of the space '{self.name}' refused {_ATTEMPTS} candidates, one after another")

    def mutate(self, candidate: Candidate, generator: np.random.Generator, changes: int = 1) -> dict[str, Choice]:
        """A neighbour: `changes` dimensions, drawn at random, go one choice up or down (or, as often, to any other).

        Gives a copy of the candidate where no neighbour is found that the rules allow.
        """
        free = [number for number, dimension in enumerate(self.dimensions) if len(dimension.choices) > 1]
        for _ in range(_ATTEMPTS if free else 0):
            places = self.encode(candidate)
            for number in generator.choice(free, size=min(changes, len(free)), replace=False):
                count, place = len(self.dimensions[number].choices), places[number]
                if generator.random() < 0.5:
                    near = [p for p in (place - 1, place + 1) if 0 <= p < count]
                    places[number] = int(generator.choice(near))
                else:
                    places[number] = int((place + generator.integers(1, count)) % count)
            changed = self.decode(places)
            if changed != dict(candidate) and self.allows(changed):
                return changed
        return dict(candidate)

    def encode(self, candidate: Candidate) -> list[int]:
        """The place of each choice among its dimension's. Raises `SearchError`: a candidate of another space."""
        if set(candidate) != {dimension.name for dimension in self.dimensions}:
            odd = sorted(set(candidate) ^ {dimension.name for dimension in self.dimensions})
            raise SearchError(f"the candidate is none of the space '{self.name}': '{odd[0]}' is in one of them only")
        places = []
        for dimension in self.dimensions:
            found = [n for n, choice in enumerate(dimension.choices) if choice == candidate[dimension.name]]
            if not found:
                raise SearchError(
                    f"the candidate is none of the space '{self.name}': '{dimension.name}' is one of"
                    f" {list(dimension.choices)}, found {candidate[dimension.name]!r}"
                )
            places.append(found[0])
        return places

    def decode(self, places: Sequence[int]) -> dict[str, Choice]:
        """The candidate of these places (`canonical`)."""
        return self.canonical({d.name: d.choices[place] for d, place in zip(self.dimensions, places, strict=True)})


def candidate_line(candidate: Candidate) -> str:
    """The candidate as a line of JSON: the same text for the same choices."""
    return json.dumps(dict(sorted(candidate.items())), separators=(",", ":"))
