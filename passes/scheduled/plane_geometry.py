"""How images lie in planes so that convolutions read and write them without copies in between.

A convolution with strides of one reads and writes planes of the same pitches: a pixel of the result is as far from its
neighbour as their windows are. So do convolutions that share a tensor, and one that adds a residual reads it where it
writes. Tensors that are tied together in this way have the smallest pitches that leave each of them a gap of zeros wide
enough. A convolution with larger strides reads a copy of its operand in phases: the pixels that one position of the
kernel meets are neighbours in one phase, with the pitches of the result.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

from torch_mlir import ir

from secateur.dialects.sparsity.attributes import Planes, to_python
from secateur.dialects.sparsity.windows import windows_of

# Origins and lengths are multiples of this many positions: whole vectors on every CPU.
_ALIGNED = 16


@dataclasses.dataclass(frozen=True)
class Tap:
    """A position of a kernel: the phase of x that it reads, and how far from the place of the result's pixel."""

    phases: tuple[int, ...]
    shifts: tuple[int, ...]


def taps_of(op: ir.OpView) -> list[Tap]:
    """The positions of a convolution's kernel, in the order of the weight."""
    windows, kernel = windows_of(op), op.weight.type.shape[2:]
    found = []
    for position in itertools.product(*map(range, kernel)):
        places = [
            k * dilation - before
            for k, dilation, (before, _) in zip(position, windows.dilation, windows.padding, strict=True)
        ]
        pairs = [(place % stride, place // stride) for place, stride in zip(places, windows.strides, strict=True)]
        found.append(Tap(tuple(phase for phase, _ in pairs), tuple(shift for _, shift in pairs)))
    return found


def meets_pixels(op: ir.OpView, tap: Tap) -> bool:
    """Whether a position of the kernel meets a pixel of x for any pixel of the result; else it meets zeros alone."""
    sizes = zip(windows_of(op).strides, op.x.type.shape[2:], op.result.type.shape[2:], strict=True)
    return all(
        shift < -(-(size - phase) // stride) and shift + made > 0
        for (stride, size, made), phase, shift in zip(sizes, tap.phases, tap.shifts, strict=True)
    )


class _Classes:
    """Values that were said to be alike, by the first of them."""

    def __init__(self) -> None:
        self._parent: dict[ir.Value, ir.Value] = {}

    def first(self, value: ir.Value) -> ir.Value:
        while self._parent.get(value, value) != value:
            value = self._parent[value]
        return value

    def join(self, one: ir.Value, other: ir.Value) -> None:
        self._parent[self.first(one)] = self.first(other)


@dataclasses.dataclass
class _Need:
    """What planes of one tensor have to have room for, as positions relative to the first pixel."""

    before: int = 0
    behind: int = 0

    def take(self, before: int, behind: int) -> None:
        self.before, self.behind = max(self.before, before), max(self.behind, behind)

    def planes(self, sizes: Sequence[int], pitches: Sequence[int], phases: Sequence[int]) -> Planes:
        origin = _aligned(self.before)
        values = {"sizes": [*sizes], "pitches": [*pitches], "phases": [*phases]}
        return Planes.of(**values, origin=max(origin, _ALIGNED), length=_aligned(max(origin, _ALIGNED) + self.behind))


def _aligned(positions: int) -> int:
    return -(-positions // _ALIGNED) * _ALIGNED


def _strided(op: ir.OpView) -> bool:
    return any(stride != 1 for stride in windows_of(op).strides)


def _rows(op: ir.OpView) -> list[int]:
    """By dimension, the positions that a row of pixels takes in what the convolution reads: pixels and gap."""
    strides = windows_of(op).strides
    taps, found = taps_of(op), []
    for axis, (stride, size, made) in enumerate(
        zip(strides, op.x.type.shape[2:], op.result.type.shape[2:], strict=True)
    ):
        rows = [made]
        for tap in taps:
            pixels = -(-(size - tap.phases[axis]) // stride)
            last = made - 1 + tap.shifts[axis]
            rows.append(pixels + max(-tap.shifts[axis], last - (pixels - 1), 0))
        found.append(max(rows))
    return found


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The planes of what convolutions read and write.

    `counts`: by convolution (its place in the list given), how many positions of its result are computed; `pools`: by
    pooling, the planes of its operand and of its result.
    """

    reads: list[Planes]
    writes: list[Planes]
    counts: list[int]
    pools: list[tuple[Planes, Planes]]


def plan_planes(ops: Sequence[ir.OpView], blocks: Sequence[int], pools: Sequence[ir.OpView] = ()) -> Geometry:
    """The planes of all convolutions of a module, and of `pools` of what they make. `blocks`: the positions that a
    kernel computes at once, by convolution."""
    alike, pitched = _Classes(), _Classes()
    for op in ops:
        if op.residual is not None:
            alike.join(op.residual, op.result)
            pitched.join(op.residual, op.result)
        if not _strided(op):
            pitched.join(op.x, op.result)
    rows = _row_lengths(ops, pools, pitched)
    pitches = {value: _pitches(length) for value, length in rows.items()}
    counts, needs = [], {}
    for op, block in zip(ops, blocks, strict=True):
        steps = pitches[pitched.first(op.result)]
        count = 1 + sum((size - 1) * step for size, step in zip(op.result.type.shape[2:], steps, strict=True))
        counts.append(-(-count // block) * block)
        offsets = [sum(a * b for a, b in zip(tap.shifts, steps, strict=True)) for tap in taps_of(op)]
        strides = windows_of(op).strides
        pixels = 1 + sum(
            (-(-size // stride) - 1) * step
            for size, stride, step in zip(op.x.type.shape[2:], strides, steps, strict=True)
        )
        read = needs.setdefault(_read_key(op, alike, pitched), _Need())
        read.take(-min(offsets), max(max(offsets) + counts[-1], pixels))
        needs.setdefault((alike.first(op.result),), _Need()).take(0, counts[-1])
    for pool in pools:
        for value, behind in ((pool.x, _last_read(pool)), (pool.result, pool.result.type.shape[2:])):
            steps = pitches[pitched.first(value)]
            before = windows_of(pool).padding if value == pool.x else ()
            front = sum(side * step for (side, _), step in zip(before, steps, strict=False))
            last = sum((length - 1) * step for length, step in zip(behind, steps, strict=True))
            # Vectors of every n-th pixel are loaded with what is between them.
            needs.setdefault((alike.first(value),), _Need()).take(front, last + max(windows_of(pool).strides))
    reads = [
        needs[_read_key(op, alike, pitched)].planes(
            op.x.type.shape[2:], pitches[pitched.first(op.result)], windows_of(op).strides
        )
        for op in ops
    ]
    writes = [
        needs[alike.first(op.result),].planes(
            op.result.type.shape[2:], pitches[pitched.first(op.result)], [1] * (op.x.type.rank - 2)
        )
        for op in ops
    ]
    pooled = [
        tuple(
            needs[alike.first(v),].planes(v.type.shape[2:], pitches[pitched.first(v)], [1] * (v.type.rank - 2))
            for v in (pool.x, pool.result)
        )
        for pool in pools
    ]
    return Geometry(reads, writes, counts, pooled)


def _last_read(pool: ir.OpView) -> list[int]:
    """By dimension, how many pixels and zeros from the first pixel on windows reach."""
    windows, kernel = windows_of(pool), to_python(pool.kernel)
    return [
        max(size, (made - 1) * stride + (length - 1) * dilation - before + 1)
        for size, made, stride, length, dilation, (before, _) in zip(
            pool.x.type.shape[2:],
            pool.result.type.shape[2:],
            windows.strides,
            kernel,
            windows.dilation,
            windows.padding,
            strict=True,
        )
    ]


def _read_key(op: ir.OpView, alike: _Classes, pitched: _Classes) -> tuple[object, ...]:
    """Equal for convolutions that read the same planes."""
    if not _strided(op):
        return (alike.first(op.x),)
    return op.x, windows_of(op).strides, pitched.first(op.result)


def _row_lengths(
    ops: Iterable[ir.OpView], pools: Iterable[ir.OpView], pitched: _Classes
) -> Mapping[ir.Value, list[int]]:
    found: dict[ir.Value, list[int]] = {}

    def take(value: ir.Value, lengths: Sequence[int]) -> None:
        first = pitched.first(value)
        known = found.get(first, [0] * len(lengths))
        found[first] = [max(pair) for pair in zip(known, lengths, strict=True)]

    for op in ops:
        take(op.result, _rows(op))
    for pool in pools:
        sizes = zip(pool.x.type.shape[2:], _last_read(pool), windows_of(pool).padding, strict=True)
        take(pool.x, [size + max(before, last - size) for size, last, (before, _) in sizes])
        take(pool.result, list(pool.result.type.shape[2:]))
    return found


def _pitches(rows: Sequence[int]) -> list[int]:
    return [math.prod(rows[axis + 1 :]) for axis in range(len(rows))]
