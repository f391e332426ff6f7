"""The spaces that are there, made from a model. Imports torch."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from ..cut import Architecture
from ..cut.embedding import embedding_rank
from ..errors import SearchError
from ..space import Candidate, Dimension, Space
from .plan import KINDS

RATES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9)
SCHEMES = ("bcr 4x1", "bcr 8x1", "bcr 16x1")
NUMBERS = ("f32", "f16", "int8", "int8 x int8")
_STEPS = {"heads": 6, "ffn": 8, "embedding": 4}


@dataclasses.dataclass(frozen=True)
class FewestLayers:
    """The rule that so many layers stay."""

    fewest: int

    def __call__(self, candidate: Candidate) -> bool:
        kept = [choice for name, choice in candidate.items() if name.startswith("layer.")]
        return sum(map(bool, kept)) >= self.fewest


def architecture_space(
    module: Any, *, heads: Sequence[int] | None = None, ffn: Sequence[int] | None = None, fewest_layers: int = 2
) -> Space:
    """Which layers stay (phase 0), and the heads and FFN neurons of each (phase 1), as CANAO searches BERT.

    By default heads in sixths and neurons in eighths of what a layer has, those as multiples of 64 (16 in a narrow one:
    kernels take tiles of rows). All heads of models whose layers share a bias for each.
    """
    dense = Architecture.of(module)
    dimensions = [Dimension(f"layer.{n}", (True, False)) for n in dense.layers]
    for number in dense.layers:
        kept = (f"layer.{number}", (True,))
        sizes = _heads(module, heads, dense.heads[number])
        dimensions.append(Dimension(f"heads.{number}", sizes, 1, kept))
        sizes = tuple(ffn) if ffn is not None else _widths(dense.ffn[number])
        dimensions.append(Dimension(f"ffn.{number}", sizes, 1, kept))
    return Space("architecture", tuple(dimensions), (FewestLayers(min(fewest_layers, len(dense.layers))),))


def hidden_space(module: Any, *, hidden: Sequence[int] | None = None) -> Space:
    """The hidden width of the whole model: by default down to half of it, as multiples of two heads' features."""
    from ..cut.encoder import Encoder

    full, size = Encoder(module).hidden, Encoder(module).head_size(0)
    given = tuple(hidden) if hidden is not None else tuple(range(full, full // 2 - 1, -2 * size))
    return Space("hidden", (Dimension("hidden", given),))


@dataclasses.dataclass(frozen=True)
class NarrowerTable:
    """The rule that a table of words which is factored (it has fewer features than `full`) has fewer than the stream:
    other choices would be the same model."""

    full: int

    def __call__(self, candidate: Candidate) -> bool:
        features: Any = candidate["embedding"]
        hidden: Any = candidate.get("hidden") or self.full
        return features >= self.full or features < hidden


def embeddings_space(module: Any, *, features: Sequence[int] | None = None) -> Space:
    """Whether the embedding of words is two arrays, by the features of its table: by default quarters of them."""
    full = embedding_rank(module)
    given = tuple(features) if features is not None else _parts(full, _STEPS["embedding"], 16)
    return Space("embeddings", (Dimension("embedding", given),), (NarrowerTable(full),))


def uniform_space(
    module: Any,
    *,
    layers: Sequence[Sequence[int]] | None = None,
    heads: Sequence[int] | None = None,
    ffn: Sequence[int] | None = None,
) -> Space:
    """One number of heads and of neurons for all layers, as people scale models by hand: what a search has to beat.

    `layers`: the sets of layers to choose from; by default as many sets as there are layers, each evenly spaced.
    """
    dense = Architecture.of(module)
    count = len(dense.layers)
    sets = layers if layers is not None else [_spaced(count, kept) for kept in range(count, 0, -1)]
    return Space(
        "uniform",
        (
            Dimension("layers", tuple(",".join(map(str, kept)) for kept in sets)),
            Dimension("heads.*", _heads(module, heads, min(dense.heads)), 1),
            Dimension("ffn.*", tuple(ffn) if ffn is not None else _widths(min(dense.ffn)), 1),
        ),
    )


def compression_space(
    module: Any,
    *,
    per: str = "kind",
    schemes: Sequence[str] = SCHEMES,
    rates: Sequence[float] = RATES,
    numbers: Sequence[str] = NUMBERS,
) -> Space:
    """The scheme with its block (phase 0) and the rate (phase 1) of linear layers, as NPAS and GRIM search them, and
    the numbers of the whole model.

    `per`: one choice for a `kind` of linear layer in all layers, or for each of a `layer`, which then has numbers of
    its own, too. Raises `SearchError`.
    """
    if per not in ("kind", "layer"):
        raise SearchError(f"compression is chosen per 'kind' or per 'layer', found '{per}'", usage=True)
    dimensions = [Dimension("numbers", tuple(numbers))] if numbers else []
    zeros = tuple(rate for rate in rates if rate)
    if per == "layer" and numbers:
        own = Architecture.of(module).layers
        dimensions += [Dimension(f"numbers.{n}", tuple(numbers), 0, (f"layer.{n}", (True,))) for n in own]
    for number in Architecture.of(module).layers if per == "layer" else (None,):
        for kind in KINDS:
            where, kept = (kind, None) if number is None else (f"{number}.{kind}", (f"layer.{number}", (True,)))
            dimensions.append(Dimension(f"rate.{where}", tuple(rates), 1, kept))
            dimensions.append(Dimension(f"scheme.{where}", tuple(schemes), 0, (f"rate.{where}", zeros)))
    return Space("compression", tuple(dimensions))


SPACES: dict[str, Callable[[Any], Space]] = {
    "architecture": architecture_space,
    "hidden": hidden_space,
    "embeddings": embeddings_space,
    "uniform": uniform_space,
    "compression": compression_space,
    "layers": lambda module: dataclasses.replace(compression_space(module, per="layer"), name="layers"),
}
"""By name; `layers` is the compression of each layer by itself."""


def space_named(names: str, module: Any) -> Space:
    """The space of a text such as `architecture,compression`. Raises `SearchError` for a name that is none."""
    parts = []
    for name in names.split(","):
        if name not in SPACES:
            raise SearchError(f"unknown space '{name}'; accepted: {', '.join(SPACES)}", usage=True)
        parts.append(SPACES[name](module))
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    return found


def _heads(module: Any, given: Sequence[int] | None, full: int) -> tuple[int, ...]:
    from ..cut.encoder import Encoder

    if given is not None:
        return tuple(given)
    if Encoder(module).family.bias_of_heads:
        return (full,)
    return _parts(full, _STEPS["heads"], 1)


def _widths(full: int) -> tuple[int, ...]:
    return _parts(full, _STEPS["ffn"], 64 if full >= 512 else 16)


def _parts(full: int, steps: int, multiple: int) -> tuple[int, ...]:
    """`full` and what is about as many equal steps smaller, largest first."""
    found = [full]
    for part in range(steps - 1, 0, -1):
        size = max(1, round(full * part / steps / multiple)) * multiple
        if size < found[-1]:
            found.append(size)
    return tuple(found)


def _spaced(count: int, kept: int) -> list[int]:
    """`kept` of the numbers below `count`, evenly spaced, with the first and the last where there are two."""
    if kept == 1:
        return [0]
    return [round(place * (count - 1) / (kept - 1)) for place in range(kept)]
