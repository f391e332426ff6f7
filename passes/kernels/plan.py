"""What the file of a kernel says of an op before it is built: whether it can, and the kernel's name and grid."""

import dataclasses
from collections.abc import Callable

from torch_mlir import ir

from secateur.dialects.sparsity.attributes import SCHEDULE
from secateur.dialects.sparsity.rules import layout_of


@dataclasses.dataclass(frozen=True)
class Plan:
    """A kernel to be.

    `build(op, arguments, place, lanes, vectors)` adds its body. `grid`: workgroups in x, y and z. `vectors` of tokens
    are in registers at once.
    """

    build: Callable[..., None]
    name: str
    grid: list[int]
    vectors: int


def schedule_of(op: ir.OpView) -> dict[str, int]:
    """The fields of the op's `sparsity.schedule`; none where it has no schedule."""
    return op.attributes[SCHEDULE].values() if SCHEDULE in op.attributes else {}


def fits_panels(op: ir.OpView, width: int) -> bool:
    """Whether `op` works on panels of whole vectors of `width` tokens, a feature in each row."""
    layout = layout_of(op)
    return layout is not None and layout.tile()[0] % width == 0 and layout.tile()[1] == 1


def stored_as(op: ir.OpView) -> str:
    """What a linear layer's weights are stored as, as the end of its kernel's name: `_f16`, `_int8`, or nothing."""
    return {"f16": "_f16", "i8": "_int8"}.get(str(op.values.type.element_type), "")
