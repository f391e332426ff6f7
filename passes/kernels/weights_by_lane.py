"""Numbers that lie side by side, each as a vector of one number: weights of a column of a tile, keys, values.

On x86 a multiply-add takes one number of memory for all its lanes, so such a number costs no load of its own. On Arm it
takes one lane of a register instead (`fmla v0.4s, v1.4s, v2.s[1]`): neighbours (the weights of a column are, in a tile)
are loaded as whole vectors, and a quarter of the loads is left.
"""

from collections.abc import Iterator, Sequence

from torch_mlir.dialects import vector

from .build import Lanes, Value, add


def spread_run(source: Value, at: Sequence[Value], count: int, lanes: Lanes) -> Iterator[Value]:
    """The `count` elements of `source` from `at` on in its last dimension, f32 or stored weights, each in all `lanes`.

    Ops are added when an element is asked for. No load reaches past the last one: `source` may end there.
    """
    *outer, first = at
    if not lanes.by_lane:
        for n in range(count):
            yield lanes.spread_load(source, [*outer, add(first, n)])
        return
    done = 0
    while done < count:
        size = min(lanes.width, 1 << ((count - done).bit_length() - 1))
        loaded = lanes.load_weights(source, [*outer, add(first, done)], size)
        for n in range(size):
            yield lanes.spread(vector.extract(loaded, [], [n]))
        done += size
