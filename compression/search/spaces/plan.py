"""What a candidate says: an architecture, how each linear layer is pruned, and the numbers it is compiled with.

    layer.3           true, or false: the layer is left out; or `layers`: "0,2,5", all that stay
    heads.3  ffn.3    heads and FFN neurons of layer 3 of the dense model; `heads.*`: of each layer without its own
    hidden            features of the stream between layers
    embedding         features of the table of words, factored where they are fewer than those of the stream
    rate.WHERE        fraction of zeros, 0: the layer stays dense
    scheme.WHERE      scheme and block of the zeros, such as "bcr 4x1"
    numbers           "f32", "f16", "int8": the weights; "int8 x int8": weights and arithmetic
    numbers.WHERE     the same of some layers; what is outside of layers has `numbers`

WHERE is, the first that is there: `3.ffn_in` (of layer 3), `ffn_in` (of every layer), `3` (all of layer 3), `*`. What
is not said is as in the dense model. This needs no PyTorch.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping

from secateur.compression.prune.scheme import PruneError, Scheme, parse_scheme
from secateur.dialects.number_formats import F32, NumberFormat, NumberFormatError, parse_format

from ..errors import SearchError
from ..space import Candidate, Choice

KINDS = ("qkv", "output", "ffn_in", "ffn_out")
"""The linear layers of a layer: query, key and value; what reads the heads; the two of the FFN."""

_WHERE = rf"(?:\*|\d+|(?:\d+\.)?(?:{'|'.join(KINDS)}))"
_NAMES = re.compile(
    rf"layers|hidden|embedding|numbers|layer\.\d+|(?:heads|ffn)\.(?:\d+|\*)|(?:rate|scheme|numbers)\.{_WHERE}"
)


@dataclasses.dataclass(frozen=True)
class LayerPlan:
    """A layer that stays: its `number` in the dense model, its heads and neurons, and by kind what its linear layers
    are pruned to (a kind that stays dense is not there) and their `numbers` (where they are not the model's)."""

    number: int
    heads: int
    ffn: int
    pruning: Mapping[str, tuple[Scheme, float]]
    numbers: Mapping[str, NumberFormat] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Plan:
    """The layers that stay, in order, the format that the model is compiled in, its hidden width, and the features of
    its table of words (None: as they are)."""

    layers: tuple[LayerPlan, ...]
    numbers: NumberFormat = F32
    hidden: int | None = None
    embedding: int | None = None


def plan_of(candidate: Candidate, heads: tuple[int, ...], ffn: tuple[int, ...]) -> Plan:
    """The plan of a candidate for a dense model whose layers have these heads and FFN neurons.

    Raises `SearchError` for a name or a value that says nothing. Whether the sizes are in the model is for
    `Architecture.check` to say.
    """
    for name in candidate:
        if not _NAMES.fullmatch(name):
            raise SearchError(
                f"a candidate says nothing with '{name}'; accepted are layers, layer.N, heads.N, heads.*, ffn.N, ffn.*,"
                f" hidden, embedding, numbers, numbers.WHERE, rate.WHERE and scheme.WHERE (a layer, one of"
                f" {', '.join(KINDS)}, or both: 0.qkv)"
            )
    layers = []
    numbers = numbers_named(candidate.get("numbers", "f32"))
    for number in _kept(candidate, len(heads)):
        if not 0 <= number < len(heads):
            raise SearchError(f"the model has {len(heads)} layers, from 0; the candidate names layer {number}")
        pruning, own = {}, {}
        for kind in KINDS:
            where = (f"{number}.{kind}", kind, f"{number}", "*")
            rate = _first(candidate, "rate", where, 0.0)
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
                raise SearchError(f"a rate is a number from 0 to below 1, found {rate!r} for '{where[0]}'")
            if rate:
                scheme = scheme_named(_first(candidate, "scheme", where, None), where[0])
                pruning[kind] = (scheme, float(scheme.fixed_sparsity or rate))
            found = _first(candidate, "numbers", where, None)
            if found is not None and numbers_named(found) != numbers:
                own[kind] = numbers_named(found)
        places = (f"{number}", "*")
        sizes = [_first(candidate, "heads", places, heads[number]), _first(candidate, "ffn", places, ffn[number])]
        if any(isinstance(size, bool) or not isinstance(size, int) for size in sizes):
            raise SearchError(f"heads and FFN neurons of layer {number} are whole numbers, found {sizes}")
        layers.append(LayerPlan(number, *sizes, pruning, own))  # type: ignore[arg-type]
    if not layers:
        raise SearchError("the candidate leaves out all layers; at least one stays")
    return Plan(tuple(layers), numbers, _width(candidate, "hidden"), _width(candidate, "embedding"))


def _width(candidate: Candidate, name: str) -> int | None:
    found = candidate.get(name)
    if found is not None and (isinstance(found, bool) or not isinstance(found, int)):
        raise SearchError(f"'{name}' is a whole number, found {found!r}")
    return found


def _first(candidate: Candidate, what: str, places: tuple[str, ...], otherwise: Choice) -> Choice:
    return next((candidate[f"{what}.{place}"] for place in places if f"{what}.{place}" in candidate), otherwise)


def _kept(candidate: Candidate, count: int) -> list[int]:
    if "layers" in candidate:
        text = str(candidate["layers"])
        if not re.fullmatch(r"\d+(,\d+)*", text) or any(name.startswith("layer.") for name in candidate):
            raise SearchError(f"'layers' are numbers such as \"0,2,5\", without 'layer.N' beside them; found {text!r}")
        return [int(part) for part in text.split(",")]
    beyond = [name for name in candidate if name.startswith("layer.") and int(name[6:]) >= count]
    if beyond:
        raise SearchError(f"the model has {count} layers, from 0; the candidate names '{beyond[0]}'")
    return [number for number in range(count) if candidate.get(f"layer.{number}", True)]


@functools.cache
def scheme_named(text: Choice, where: str = "*") -> Scheme:
    """The scheme of a text such as `bcr 4x1`, which `str(scheme)` gives. Raises `SearchError`."""
    if not isinstance(text, str):
        raise SearchError(f"what is pruned has a scheme such as 'bcr 4x1', found {text!r} for '{where}'")
    name, _, block = text.partition(" ")
    try:
        return parse_scheme(name, block or None)
    except PruneError as error:
        raise SearchError(f"'{text}' for '{where}' is no scheme: {error}") from None


@functools.cache
def numbers_named(text: Choice) -> NumberFormat:
    """The format of `f16`, or of `int8 x int8`, which `str(numbers)` gives. Raises `SearchError`."""
    try:
        return parse_format(str(text))
    except NumberFormatError as error:
        raise SearchError(f"'numbers' are '{text}': {error}") from None
