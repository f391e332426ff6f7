"""The portable lowering of pooling, as text."""

from torch_mlir import ir

from secateur.dialects.sparsity.attributes import to_python
from secateur.dialects.sparsity.windows import windows_of

from .linalg_planes import image_of_planes, planes_of_image
from .linalg_text import Snippet, padded, tensor

_SPATIAL, _KERNEL = "pqr", "xyz"


def max_pool(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """A maximum over the kernel's positions; outside of x is minus infinity, and zero in planes."""
    windows, kernel = windows_of(op), to_python(op.kernel)
    value, x, shape, outside = names["x"], list(op.x.type.shape), list(op.result.type.shape), float("-inf")
    if "source" in op.attributes:
        source, result = op.attributes["source"], op.attributes["planes"]
        x, shape = [*x[:2], *source.values()["sizes"]], [*shape[:2], *result.values()["sizes"]]
        value, outside = image_of_planes(snippet, value, source, x), 0.0
    reached = [
        (count - 1) * stride + (length - 1) * dilation + 1
        for count, stride, length, dilation in zip(shape[2:], windows.strides, kernel, windows.dilation, strict=True)
    ]
    whole = [*x[:2], *(size + sum(sides) for size, sides in zip(x[2:], windows.padding, strict=True))]
    value = padded(snippet, value, x, [0, 0, *(before for before, _ in windows.padding)], whole, outside)
    cut = [*x[:2], *reached]
    if whole != cut:
        starts, steps = [0] * len(x), [1] * len(x)
        value = snippet.line(f"tensor.extract_slice {value}{starts} {cut} {steps} : {tensor(whole)} to {tensor(cut)}")
    spatial, taps = _SPATIAL[: len(kernel)], _KERNEL[: len(kernel)]
    loops = ["b", "c", *spatial, *taps]
    read = [
        f"{p} * {stride} + {k} * {dilation}"
        for p, k, stride, dilation in zip(spatial, taps, windows.strides, windows.dilation, strict=True)
    ]
    maps = ", ".join(
        f"affine_map<({', '.join(loops)}) -> ({', '.join(places)})>"
        for places in (["b", "c", *read], [*taps], ["b", "c", *spatial])
    )
    kinds = ", ".join(['"parallel"'] * (2 + len(kernel)) + ['"reduction"'] * len(kernel))
    kind, window = tensor(shape), tensor(kernel)
    # It has the kernel's sizes, which no other operand tells; it is not read.
    sizes = snippet.line(f"tensor.empty() : {window}")
    value = snippet.line(
        f"linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}}"
        f" ins({value}, {sizes} : {tensor(cut)}, {window}) outs({snippet.filled(shape, float('-inf'))} : {kind}) {{\n"
        "  ^bb0(%a: f32, %k: f32, %acc: f32):\n    %m = arith.maximumf %a, %acc : f32\n    linalg.yield %m : f32\n"
        f"  }} -> {kind}"
    )
    return value if "planes" not in op.attributes else planes_of_image(snippet, value, op.attributes["planes"], shape)
