"""Windows that slide over the spatial dimensions of images: strides, padding, dilation. Convolutions have them."""

import dataclasses
from collections.abc import Sequence

from torch_mlir import ir

from .attributes import to_python
from .dialect import expect


@dataclasses.dataclass(frozen=True)
class Windows:
    """By spatial dimension: the `strides` of the windows, the `padding` before and behind x, the `dilation`."""

    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]

    def sizes(self, x: Sequence[int], kernel: Sequence[int]) -> list[int]:
        """How many windows of `kernel` there are in `x`; zero or less where none fits."""
        return [
            (size + sum(padding) - (length - 1) * dilation - 1) // stride + 1
            for size, length, stride, padding, dilation in zip(
                x, kernel, self.strides, self.padding, self.dilation, strict=True
            )
        ]


def windows_of(op: ir.OpView) -> Windows:
    """The windows of an op with the attributes `strides`, `padding` and `dilation`."""
    strides, padding, dilation = (to_python(getattr(op, name)) for name in ("strides", "padding", "dilation"))
    return Windows(tuple(strides), tuple(zip(padding[::2], padding[1::2], strict=True)), tuple(dilation))  # type: ignore[arg-type,index,call-overload]


def check_windows(op: ir.OpView, dimensions: int) -> None:
    """The attributes that say how windows lie, for so many spatial dimensions."""
    for name, count, least in (("strides", 1, 1), ("padding", 2, 0), ("dilation", 1, 1)):
        found = getattr(op, name)
        numbers = [value.value for value in found if isinstance(value, ir.IntegerAttr)]
        fits = len(numbers) == len(found) == count * dimensions and all(n >= least for n in numbers)
        expect(fits, f"expected '{name}' of {count * dimensions} integers of {least} or more, found {found}")
