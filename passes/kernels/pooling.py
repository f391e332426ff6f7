"""The kernel of `sparsity.max_pool` in planes: a channel a workgroup, row by row, some neighbours of a row at once.

Of a stride of two, neighbours of the result read every second pixel: two vectors are loaded and every second lane of
them kept. Rows that are shorter than a vector, and larger strides, are computed one pixel at a time.
"""

import itertools
from collections.abc import Callable

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, vector

from secateur.dialects.sparsity.attributes import to_python
from secateur.dialects.sparsity.windows import windows_of

from .build import Lanes, Value, add, index, loop, mul
from .plan import Plan


def plan_max_pool(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel of a pooling in planes; None for one of images."""
    if "planes" not in op.attributes:
        return None
    batch, channels, _ = op.result.type.shape
    sizes = "x".join(map(str, op.attributes["planes"].values()["sizes"]))
    name = f"max_pool_{'x'.join(map(str, to_python(op.kernel)))}_{channels}_{sizes}"
    return Plan(build_max_pool, name, [channels, 1, batch], 1)


def build_max_pool(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, _: int) -> None:
    """Adds the kernel's body. `place` is (channel, 0, image)."""
    channel, _, batch = place
    source, planes = (op.attributes[name].values() for name in ("source", "planes"))
    windows, kernel = windows_of(op), to_python(op.kernel)
    *_, width = planes["sizes"]
    stride = windows.strides[-1]
    # By tap, how far it is from where the window's first pixel would be without padding.
    taps = [
        sum(
            (k * dilation - before) * pitch
            for k, dilation, (before, _), pitch in zip(
                position, windows.dilation, windows.padding, source["pitches"], strict=True
            )
        )
        for position in itertools.product(*map(range, kernel))
    ]

    def clear(position: Value, _: list[Value]) -> list[Value]:
        lanes.store(lanes.constant(0.0), arguments["result"], [batch, channel, position])
        return []

    loop(0, planes["length"], lanes.width, [], clear)

    def several(read: Value, write: Value, column: Value) -> None:
        first = add(read, mul(column, stride))
        lanes.store(
            _maximum([_every(lanes, arguments["x"], [batch, channel], add(first, tap), stride) for tap in taps]),
            arguments["result"],
            [batch, channel, add(write, column)],
        )

    def one(read: Value, write: Value, column: Value) -> None:
        first = add(read, mul(column, stride))
        found = _maximum([memref.load(arguments["x"], [batch, channel, add(first, tap)]) for tap in taps])
        memref.store(found, arguments["result"], [batch, channel, add(write, column)])

    def row(read: Value, write: Value) -> None:
        if width < lanes.width or stride > 2:
            _each(0, width, 1, lambda column: one(read, write, column))
            return
        _each(0, width - lanes.width + 1, lanes.width, lambda column: several(read, write, column))
        if width % lanes.width:
            # The last vector of a row repeats some pixels.
            several(read, write, index(width - lanes.width))

    def rows(axis: int, read: Value, write: Value) -> None:
        if axis == len(kernel) - 1:
            row(read, write)
            return
        step = windows.strides[axis] * source["pitches"][axis]

        def body(at: Value) -> None:
            rows(axis + 1, arith.addi(read, mul(at, step)), arith.addi(write, mul(at, planes["pitches"][axis])))

        _each(0, planes["sizes"][axis], 1, body)

    rows(0, index(source["origin"]), index(planes["origin"]))


def _each(start: int, stop: int, step: int, body: Callable[[Value], None]) -> None:
    def carried(at: Value, _: list[Value]) -> list[Value]:
        body(at)
        return []

    loop(start, stop, step, [], carried)


def _every(lanes: Lanes, source: Value, place: list[Value], first: Value, stride: int) -> Value:
    """A vector of every `stride`-th number from `first` on, of one or two."""
    if stride == 1:
        return lanes.load(source, [*place, first])
    both = [lanes.load(source, [*place, add(first, part * lanes.width)]) for part in range(2)]
    return vector.shuffle(*both, list(range(0, 2 * lanes.width, 2)))


def _maximum(values: list[Value]) -> Value:
    found = values[0]
    for value in values[1:]:
        found = arith.maximumf(found, value)
    return found
