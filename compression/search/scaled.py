"""Candidates that are scaled evenly: what people try by hand, and where a search may start."""

from .space import Choice, Space


def scaled_evenly(space: Space, steps: int = 8) -> list[dict[str, Choice]]:
    """Up to `steps` candidates in which each dimension whose choices are numbers has the choice at the same part of its
    list, from the first choice of all to the last; other dimensions have their first. Those that rules refuse are left
    out.

    Rationale: in a space of architectures most candidates that are drawn at random are ruins; a controller that knows
    the evenly scaled ones begins near what is good.
    """
    found: list[dict[str, Choice]] = []
    for step in range(steps):
        places = [
            round(step / max(1, steps - 1) * (len(dimension.choices) - 1)) if _is_scale(dimension.choices) else 0
            for dimension in space.dimensions
        ]
        candidate = space.decode(places)
        if space.allows(candidate) and candidate not in found:
            found.append(candidate)
    return found


def _is_scale(choices: tuple[Choice, ...]) -> bool:
    return all(isinstance(choice, int | float) and not isinstance(choice, bool) for choice in choices)
