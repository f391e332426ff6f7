"""The schedules that an op can have: what a tuner searches and what a record may ask for.

A knob is one entry of `KNOBS`: a field of `#sparsity.schedule` and the values worth trying for a layer. A new field of
the schedule becomes tunable with one more entry; `LEGAL` lists what combinations of values must fulfil.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

from torch_mlir import ir

from secateur.dialects.sparsity.ops.weight import encoding_of, weight_behind

from ..target import TargetDescription
from .sparsity_layout import choose_panel

Schedule = dict[str, int]


@dataclasses.dataclass(frozen=True)
class Layer:
    """A linear layer as its schedule sees it.

    `rows` and `columns` of the weight; `tokens` in the longest sequence, `batch` of them; `panel`, the tokens that one
    panel holds; `mixed`: rows of one band may keep different columns; `target`: the machine.
    """

    rows: int
    columns: int
    batch: int
    tokens: int
    panel: int
    mixed: bool
    target: TargetDescription

    @property
    def vectors(self) -> int:
        """Vectors of tokens in a panel; 0 where a panel is shorter than a vector."""
        return self.panel // (self.target.vector_bytes // 4)

    @property
    def all_tokens(self) -> int:
        """Tokens of all sequences."""
        return self.batch * self.tokens


@dataclasses.dataclass(frozen=True)
class Knob:
    """A field of the schedule: its values for a layer, in their natural order, so that neighbours behave alike."""

    name: str
    values: Callable[[Layer], Sequence[int]]


# With at most so many tokens, rows may be the lanes (`row_vectors`): fewer tokens than lanes leave lanes idle.
FEW_TOKENS = 16


def _row_tiles(layer: Layer) -> list[int]:
    # Where rows differ, each subset of a tile's rows has a loop of its own: tall tiles are mostly code.
    tallest = 8 if layer.mixed else 16
    return [n for n in (1, 2, 3, 4, 5, 6, 8, 12, 16) if n <= min(tallest, layer.rows)]


def _token_vectors(layer: Layer) -> list[int]:
    most = max(layer.vectors, layer.all_tokens if layer.all_tokens <= FEW_TOKENS else 1)
    return [n for n in (1, 2, 4, 8) if n <= most]


def _workgroups(layer: Layer) -> list[int]:
    return sorted({min(n * layer.target.workers, layer.rows) for n in (1, 2, 4, 8, 16, 32)})


def _row_vectors(layer: Layer) -> list[int]:
    return [0, 1, 2, 4, 8] if layer.all_tokens <= FEW_TOKENS else [0]


def _unroll(layer: Layer) -> list[int]:
    # 0 is one column an iteration where tokens are the lanes, and a number of the kernel's choice where rows are.
    return [0, 1, 2, 4] if layer.all_tokens <= FEW_TOKENS else [0, 2, 4]


def _tile_group(layer: Layer) -> list[int]:
    return [0, 2, 8, 32] if layer.vectors > 1 else [0]


# A value of 0 leaves the field out of the schedule.
KNOBS: tuple[Knob, ...] = (
    Knob("row_tile", _row_tiles),
    Knob("token_vectors", _token_vectors),
    Knob("workgroups", _workgroups),
    Knob("row_vectors", _row_vectors),
    Knob("unroll", _unroll),
    Knob("tile_group", _tile_group),
)


def _fits_registers(layer: Layer, schedule: Mapping[str, int]) -> bool:
    """Sums, vectors of x and one weight have to fit the registers."""
    vectors, rows = schedule["token_vectors"], schedule["row_vectors"] or schedule["row_tile"]
    return (rows + 1) * vectors + 1 <= layer.target.registers


def _divides_panel(layer: Layer, schedule: Mapping[str, int]) -> bool:
    """Vectors of tokens divide the panel; where rows are the lanes, `token_vectors` counts tokens."""
    if schedule["row_vectors"]:
        return schedule["token_vectors"] <= layer.all_tokens
    return schedule["token_vectors"] <= max(layer.vectors, 1) and layer.vectors % schedule["token_vectors"] == 0


def _whole_tiles(layer: Layer, schedule: Mapping[str, int]) -> bool:
    """A workgroup has at least one tile of rows."""
    lanes = layer.target.vector_bytes // 4
    tile = schedule["row_vectors"] * lanes or schedule["row_tile"]
    return schedule["workgroups"] <= max(math.ceil(layer.rows / tile), layer.target.workers)


def _says_it_once(layer: Layer, schedule: Mapping[str, int]) -> bool:
    """Of the fields that only one of the two kernels reads, the other's have one value; equal loops have one name."""
    if schedule["row_vectors"]:
        return schedule["row_tile"] == 1 and schedule["tile_group"] == 0
    return schedule["unroll"] != 1


def _groups_matter(layer: Layer, schedule: Mapping[str, int]) -> bool:
    """Tiles take turns only where a workgroup has that many and a tile does not do the whole panel at once."""
    group = schedule["tile_group"]
    tiles = math.ceil(layer.rows / schedule["row_tile"] / schedule["workgroups"])
    return group == 0 or (group <= tiles and schedule["token_vectors"] < layer.vectors)


def _little_code(layer: Layer, schedule: Mapping[str, int]) -> bool:
    """Where rows differ, a loop for each subset of a tall tile's rows is much code already: it is not unrolled too."""
    return not (layer.mixed and schedule["unroll"] and schedule["row_tile"] > 4)


LEGAL: tuple[Callable[[Layer, Mapping[str, int]], bool], ...] = (
    _fits_registers,
    _divides_panel,
    _whole_tiles,
    _says_it_once,
    _groups_matter,
    _little_code,
)


def layer_of(op: ir.OpView, target: TargetDescription, panel: int = 0) -> Layer | None:
    """What the space of a `sparsity.linear` depends on; None where the sizes of x are not known.

    `panel`: tokens in a panel, 0 for those that `sparsity-layout` would choose.
    """
    shape = list(op.x.type.shape)
    if len(shape) not in (2, 3) or any(size < 1 for size in shape):
        return None
    batch, tokens, columns = ([1, *shape])[-3:]
    weight = weight_behind(op.weight)
    encoding = encoding_of(weight) if weight is not None else None
    rows = op.weight.type.shape[0]
    return Layer(rows, columns, batch, tokens, panel or choose_panel(tokens), is_mixed(encoding), target)


def is_mixed(encoding: ir.Attribute | None) -> bool:
    """Whether neighbouring rows may keep different columns."""
    return encoding is not None and encoding.encoding().band(2) is None


def knob_values(layer: Layer) -> dict[str, list[int]]:
    """The values of every knob for `layer`, before combinations are ruled out."""
    return {knob.name: list(knob.values(layer)) for knob in KNOBS}


def is_legal(layer: Layer, schedule: Mapping[str, int]) -> bool:
    """Whether `schedule` has exactly the fields of the space, with values of it that go together."""
    values = knob_values(layer)
    if set(schedule) != set(values) or any(schedule[name] not in values[name] for name in values):
        return False
    return all(rule(layer, schedule) for rule in LEGAL)


def whole_schedule(schedule: Mapping[str, int], layer: Layer) -> Schedule:
    """`schedule` with a value for every knob: 0, or the first there is, for what it leaves out."""
    values = knob_values(layer)
    return {name: schedule.get(name, 0 if 0 in values[name] else values[name][0]) for name in values}


def schedule_space(layer: Layer) -> list[Schedule]:
    """All legal schedules of `layer`, in a fixed order."""
    values = knob_values(layer)
    every = (dict(zip(values, combination, strict=True)) for combination in itertools.product(*values.values()))
    return [schedule for schedule in every if all(rule(layer, schedule) for rule in LEGAL)]
