"""The portable lowering of convolutions: x with its border of zeros, one `linalg.generic`, an epilogue, as text."""

from torch_mlir import ir

from secateur.dialects.sparsity.ops.conv import residual_first
from secateur.dialects.sparsity.rules import activation_of
from secateur.dialects.sparsity.windows import windows_of

from .linalg_text import Snippet, activation_lines, padded, tensor

_SPATIAL, _KERNEL = "pqr", "xyz"


def conv(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Sums over channels and kernel positions, filters and channels cut into groups."""
    x, weight, shape = (list(value.type.shape) for value in (op.x, op.weight, op.result))
    windows, groups = windows_of(op), op.groups.value
    spatial, kernel = _SPATIAL[: len(x) - 2], _KERNEL[: len(x) - 2]
    whole = [*x[:2], *(size + sum(sides) for size, sides in zip(x[2:], windows.padding, strict=True))]
    value = padded(snippet, names["x"], x, [0, 0, *(before for before, _ in windows.padding)], whole)
    # What no window reaches is cut off: a single window would else read a dimension that is longer than its kernel.
    reached = [
        (count - 1) * stride + (length - 1) * dilation + 1
        for count, stride, length, dilation in zip(
            shape[2:], windows.strides, weight[2:], windows.dilation, strict=True
        )
    ]
    cut = [*x[:2], *reached]
    if whole != cut:
        starts, steps = [0] * len(x), [1] * len(x)
        value = snippet.line(f"tensor.extract_slice {value}{starts} {cut} {steps} : {tensor(whole)} to {tensor(cut)}")
    cut_x, value = _cut(snippet, value, cut, 1, groups)
    cut_weight, filters = _cut(snippet, names["weight"], weight, 0, groups)
    cut_shape = [shape[0], groups, shape[1] // groups, *shape[2:]]
    loops = ["b", "g", "f", *spatial, "c", *kernel]
    read = [
        f"{p} * {stride} + {k} * {dilation}"
        for p, k, stride, dilation in zip(spatial, kernel, windows.strides, windows.dilation, strict=True)
    ]
    maps = ", ".join(
        f"affine_map<({', '.join(loops)}) -> ({', '.join(places)})>"
        for places in (["b", "g", "c", *read], ["g", "f", "c", *kernel], ["b", "g", "f", *spatial])
    )
    kinds = ", ".join(['"parallel"'] * (3 + len(spatial)) + ['"reduction"'] * (1 + len(kernel)))
    kind = tensor(cut_shape)
    sums = snippet.line(
        f"linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}}"
        f" ins({value}, {filters} : {tensor(cut_x)}, {tensor(cut_weight)})"
        f" outs({snippet.filled(cut_shape, 0.0)} : {kind}) {{\n  ^bb0(%a: f32, %b: f32, %acc: f32):\n"
        "    %p = arith.mulf %a, %b : f32\n    %s = arith.addf %acc, %p : f32\n    linalg.yield %s : f32\n"
        f"  }} -> {kind}"
    )
    merged = f"[[0], [1, 2], {', '.join(f'[{axis + 3}]' for axis in range(len(spatial)))}]"
    sums = snippet.line(f"tensor.collapse_shape {sums} {merged} : {kind} into {tensor(shape)}")
    return epilogue_of_filters(snippet, op, sums, names, shape, "bf" + spatial)


def _cut(snippet: Snippet, value: str, shape: list[int], axis: int, groups: int) -> tuple[list[int], str]:
    """`value` with an axis for the groups in front of `axis`."""
    cut = [*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :]]
    pieces = [[n] for n in range(axis)] + [[axis, axis + 1]] + [[n + 1] for n in range(axis + 1, len(shape))]
    return cut, snippet.line(
        f"tensor.expand_shape {value} {pieces} output_shape {cut} : {tensor(shape)} into {tensor(cut)}"
    )


def epilogue_of_filters(
    snippet: Snippet, op: ir.OpView, value: str, names: dict[str, str], shape: list[int], dims: str
) -> str:
    """Bias, activation and residual of sums `value` of `shape`, in the order that the op says; filters are `f`."""
    inputs, lines, total = [(value, tensor(shape), dims)], [], "%a"

    def add(name: str, kind: str, letters: str, result: str) -> None:
        nonlocal total
        inputs.append((names[name], kind, letters))
        lines.append(f"{result} = arith.addf {total}, %{'abc'[len(inputs) - 1]} : f32")
        total = result

    if "bias" in names:
        add("bias", tensor(shape[1:2]), "f", "%biased")
    if "residual" in names and residual_first(op):
        add("residual", tensor(shape), dims, "%whole")
    *more, total = activation_lines(activation_of(op), total)
    lines += more
    if "residual" in names and not residual_first(op):
        add("residual", tensor(shape), dims, "%whole")
    return snippet.generic(dims, inputs, dims, shape, [*lines, total]) if lines else value
