"""Slices of rows: the ways to cut a layer for `sparsity.sliced_linear`, what each costs, and the packed arrays.

A slice has a fixed number of vectors of rows. Its lists of columns are one per slice, one per vector, or one per row;
shorter lists are padded to the longest of the slice, so slices are made of lists of about one length where that pads
less (SELL-C-sigma with sigma = all rows: Kreutzer et al., SIAM J. Sci. Comput. 36(5), 2014).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from secateur.dialects.sparsity.kernel_ops import SCRATCH_BYTES

from ..target import TargetDescription
from .row_windows import Windows, column_orders, windowed
from .sparsity_reorder import row_patterns


@dataclasses.dataclass(frozen=True)
class Core:
    """What a core does: bytes it reads per cycle from beyond its first caches, lanes that it multiplies and adds per
    cycle, cycles in which a lane of a vector gets a number of `x` at a column of its own (a gather's, over its lanes,
    or one by one), and cycles of a vector of rows in a step with windows, once for the weights and once for each token;
    None where there is no lookup in registers.
    """

    bytes_per_cycle: float
    lanes_per_cycle: float
    per_lane: float
    per_window_step: float | None


# Measured on a Xeon with AVX-512 and on an EPYC with Zen 4; lane by lane as llvm-mca has it for a Neoverse N1
# (Cortex-A76).
_GATHERS, _LOOKS_UP, _NEON = Core(10, 32, 0.65, 2), Core(22, 16, 1, 2), Core(5, 8, 2.2, None)
_LOADS_PER_CYCLE = 2.5
_MULTIPLY_ADDS_PER_CYCLE = 2
_STORE_PER_LANE = 1.5
_PER_SLICE = 30.0
# Narrower vectors than this gain nothing on any target.
NARROWEST = 4
# Lists that are filled at once: bounds the memory that packing takes beside the arrays themselves.
_AT_ONCE = 1 << 12


@dataclasses.dataclass
class Form:
    """One way to cut a layer into slices: output features [slices, height], lists of columns per slice, rows of a
    vector, whether those are neighbours, the steps of each slice, and the windows in which columns are written, if so.
    """

    rows: np.ndarray
    lists: int
    vector_rows: int
    consecutive: bool
    steps: np.ndarray
    windows: Windows | None = None

    def cost(self, tokens: int, core: Core) -> float:
        """Modelled cycles: the slower of reading bytes and of instructions, and what a slice costs by itself."""
        slices, height = self.rows.shape
        vectors = height // self.vector_rows
        total = int(self.steps.sum())
        memory = total * (4 * height + (2 if self.windows is None else 1) * self.lists) / core.bytes_per_cycle
        if self.windows is not None:
            work = total * (1 + tokens) * core.per_window_step
            if self.windows.order is not None:
                work += tokens * len(self.windows.order)
        elif self.lists == height:
            work = total * height * tokens * core.per_lane
        else:
            work = total * (vectors + self.lists * (1 + tokens)) / _LOADS_PER_CYCLE
        together = min(_MULTIPLY_ADDS_PER_CYCLE, core.lanes_per_cycle / self.vector_rows)
        work = max(work, total * vectors * tokens / together)
        stores = slices * tokens * (vectors if self.consecutive else height * _STORE_PER_LANE)
        return max(memory, work) + stores + slices * _PER_SLICE


def _vectors(order: np.ndarray, width: int) -> np.ndarray:
    """Cuts rows in `order` into vectors [n, width]; the last one repeats its last row."""
    at = np.arange(len(order) + -len(order) % width)
    return order[np.minimum(at, len(order) - 1)].reshape(-1, width)


def _slices(vectors: np.ndarray, lengths: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors of rows [n, width] whose lists have `lengths` [n, lists of a vector], `number` of them a slice: rows
    [slices, number * width] and the length of each slice's longest list.

    The order by length is taken where it is better than the one given. The last slice repeats its last vector.
    """

    def cut(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order = np.concatenate([order, np.repeat(order[-1:], -len(order) % number)])
        slices = len(order) // number
        return vectors[order].reshape(slices, -1), lengths[order].reshape(slices, -1).max(axis=1)

    given = cut(np.arange(len(vectors)))
    by_length = cut(np.argsort(-lengths.max(axis=1), kind="stable"))
    return by_length if by_length[1].sum() < given[1].sum() else given


def forms(keep: np.ndarray, number: int, lanes: int) -> Iterator[Form]:
    """The ways to cut a layer that keeps `keep` [rows, columns] into slices of at most `number` vectors."""
    count = len(keep)
    natural = np.arange(count)
    equal = np.argsort(row_patterns(keep), kind="stable")
    orders = [natural] if np.array_equal(equal, natural) else [natural, equal]
    width = lanes
    while width >= min(lanes, NARROWEST):
        for order in orders:
            vectors = _vectors(order, width)
            used = keep[vectors].any(axis=1)
            height = min(number, len(vectors))
            rows, steps = _slices(vectors, used.sum(axis=1)[:, None], height)
            yield Form(rows, height, width, order is natural, steps)
            # One list for the whole slice: the vectors stay in order, and those past the end repeat the last one.
            at = np.minimum(np.arange(len(vectors) + -len(vectors) % height), len(vectors) - 1).reshape(-1, height)
            if height > 1:
                steps = used[at].any(axis=1).sum(axis=1)
                yield Form(vectors[at].reshape(len(at), -1), 1, width, order is natural, steps)
        width //= 2
    lengths = keep.sum(axis=1)
    for order in (natural, np.argsort(-lengths, kind="stable")):
        vectors = _vectors(order, lanes)
        rows, steps = _slices(vectors, lengths[vectors], min(number, len(vectors)))
        yield Form(rows, rows.shape[1], lanes, order is natural, steps)


def window_forms(keep: np.ndarray, lanes: int, tokens: int) -> Iterator[Form]:
    """The ways to cut a layer that keeps any of `keep` into slices of a vector of rows, with columns in windows."""
    for order in column_orders(keep.shape[1], lanes):
        if order is None or 4 * tokens * len(order) <= SCRATCH_BYTES:
            rows, steps, windows = windowed(keep, lanes, order)
            yield Form(rows, lanes, lanes, False, steps, windows)


def core_of(target: TargetDescription) -> Core:
    """The core that is nearest to a target."""
    if target.vector_bytes <= 4 * NARROWEST:
        return _NEON
    core = _GATHERS if target.gather else _LOOKS_UP
    return core if target.lookup else dataclasses.replace(core, per_window_step=None)


def cheapest_form(keep: np.ndarray, number: int, tokens: int, target: TargetDescription) -> Form:
    """Of the forms of a layer, the one with the least modelled cost. Windows are made only where they could be it."""
    core, lanes = core_of(target), target.vector_bytes // 4
    best = min(forms(keep, number, lanes), key=lambda form: form.cost(tokens, core))
    kept = int(np.count_nonzero(keep))
    if core.per_window_step is None or kept == 0:
        return best
    if best.cost(tokens, core) <= kept / lanes * max(
        5 * lanes / core.bytes_per_cycle, (1 + tokens) * core.per_window_step
    ):
        return best
    return min([best, *window_forms(keep, lanes, tokens)], key=lambda form: form.cost(tokens, core))


@dataclasses.dataclass
class Slices:
    """The arrays of a sliced op; see `sparsity.sliced_linear`."""

    values: np.ndarray
    columns: np.ndarray
    offsets: np.ndarray
    rows: np.ndarray
    starts: np.ndarray | None = None
    order: np.ndarray | None = None


def fill(weight: np.ndarray, form: Form) -> Slices:
    """Packs `weight` [rows, columns] in a form of `forms` or `window_forms`."""
    slices, height = form.rows.shape
    offsets = np.concatenate(([0], np.cumsum(form.steps)))
    narrow = np.int16 if weight.shape[1] <= 1 << 15 else np.int32
    if form.windows is not None:
        return _fill_windows(weight, form, form.windows, offsets, narrow)
    # Executables take no empty buffers: a layer without weights has one step that no slice reads.
    total = max(1, int(offsets[-1]))
    values = np.zeros((total, form.lists, height // form.lists), weight.dtype)
    columns = np.zeros((total, form.lists), narrow)
    members = form.rows.reshape(slices * form.lists, -1)
    for begin in range(0, len(members), _AT_ONCE):
        rows = members[begin : begin + _AT_ONCE]
        entry, column = np.nonzero((weight[rows] != 0).any(axis=1))
        lengths = np.bincount(entry, minlength=len(rows))
        first = np.cumsum(lengths) - lengths
        list_ = begin + entry
        step = offsets[list_ // form.lists] + np.arange(len(entry)) - first[entry]
        columns[step, list_ % form.lists] = column
        values[step, list_ % form.lists] = weight[rows[entry], column[:, None]]
    _pad_columns(columns, offsets, values)
    return Slices(
        values.reshape(total, height), columns, offsets.astype(np.int32), np.ascontiguousarray(form.rows, np.int32)
    )


def _fill_windows(
    weight: np.ndarray, form: Form, windows: Windows, offsets: np.ndarray, narrow: type[np.signedinteger]
) -> Slices:
    rows = np.repeat(form.rows, form.steps, axis=0)
    return Slices(
        np.where(windows.places >= 0, weight[rows, windows.columns()], 0).astype(weight.dtype),
        np.maximum(windows.places, 0).astype(np.int8),
        offsets.astype(np.int32),
        np.ascontiguousarray(form.rows, np.int32),
        windows.starts.astype(narrow),
        None if windows.order is None else windows.order.astype(narrow),
    )


def _pad_columns(columns: np.ndarray, offsets: np.ndarray, values: np.ndarray) -> None:
    """Padded steps name the first column of their list, so that they read nothing that the list does not."""
    padding = ~values.any(axis=2)
    starts = np.repeat(offsets[:-1], np.diff(offsets))
    if len(starts):
        columns[padding] = columns[starts][padding]
