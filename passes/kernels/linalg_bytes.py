"""The lowerings of layers that multiply bytes to linalg, in panels: plain loops over integers, for any target."""

from torch_mlir import ir

from secateur.dialects.sparsity.byte_rows import LANES
from secateur.dialects.sparsity.ops.quantize_tokens import lanes_of
from secateur.dialects.sparsity.ops.quantized_linear import group_of
from secateur.dialects.sparsity.ops.token_scales import LARGEST
from secateur.dialects.sparsity.rules import activation_of

from .linalg_heads import INVERSE_LINES
from .linalg_text import Snippet, activation_lines, literal, tensor


def token_scales(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """The largest absolute feature of each token, and a division."""
    x, shape = list(op.x.type.shape), list(op.result.type.shape)
    body = ["%v = math.absf %a : f32", "%m = arith.maximumf %acc, %v : f32", "%m"]
    largest = snippet.generic("bpft", [(names["x"], tensor(x), "bpft")], "bpt", shape, body, start=0.0)
    body = [f"%c = arith.constant {literal(LARGEST)} : f32", "%s = arith.divf %a, %c : f32", "%s"]
    return snippet.generic("bpt", [(largest, tensor(shape), "bpt")], "bpt", shape, body)


def quantize_tokens(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Element by element, on features cut into groups."""
    batch, panels, features, panel = op.x.type.shape
    inner = op.layout.tile()[1]
    cut, shape = [batch, panels, features // inner, inner, panel], list(op.result.type.shape)
    text = f"tensor.expand_shape {names['x']} [[0], [1], [2, 3], [4]] output_shape {cut} : "
    x = snippet.line(f"{text}{tensor(op.x.type.shape)} into {tensor(cut)}")
    body = [
        *INVERSE_LINES,
        "%u = arith.mulf %a, %inverse : f32",
        # A NaN becomes a bound: no conversion to an integer is undefined.
        "%above = arith.maxnumf %u, %low : f32",
        "%units = arith.minnumf %above, %high : f32",
        "%even = math.roundeven %units : f32",
        "%whole = arith.fptosi %even : f32 to i32",
        f"%point = arith.constant {op.zero_point.value} : i32",
        "%moved = arith.addi %whole, %point : i32",
        "%byte = arith.trunci %moved : i32 to i8",
        "%byte",
    ]
    out = "bpkt" if inner == 1 else "bpktj"
    inputs = [(x, tensor(cut), "bpkjt"), (names["scales"], tensor([batch, panels, panel]), "bpt")]
    made = snippet.generic("bpktj", inputs, out, shape, body, element="i8")
    return _reordered(snippet, made, shape, lanes_of(op), to_rows=True) if inner == 1 else made


def _reordered(snippet: Snippet, value: str, shape: list[int], lanes: int, to_rows: bool) -> str:
    """Rows of bytes by token in the order for `lanes` (`byte_rows`), or back."""
    if lanes == LANES[0]:
        return value
    runs = [*shape[:3], shape[3] // (4 * lanes)]
    cuts = {"bpfglvk": [*runs, lanes // 4, 4, 4], "bpfgvlk": [*runs, 4, lanes // 4, 4]}
    source, target = reversed(cuts) if to_rows else cuts
    groups, whole = "[[0], [1], [2], [3, 4, 5, 6]]", tensor(shape, "i8")
    cut = tensor(cuts[source], "i8")
    value = snippet.line(f"tensor.expand_shape {value} {groups} output_shape {cuts[source]} : {whole} into {cut}")
    value = snippet.generic(target, [(value, cut, source)], target, cuts[target], ["%a"], element="i8")
    return snippet.line(f"tensor.collapse_shape {value} {groups} : {tensor(cuts[target], 'i8')} into {whole}")


def quantized_linear(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """A dense contraction in 32 bits; `names` has the weight as `dense` (`linalg_preparation.dense_bytes`)."""
    x, shape = list(op.x.type.shape), list(op.result.type.shape)
    widen = "extui" if op.zero_point.value else "extsi"
    quad, bytes_ = (
        ("j", names["x"]) if group_of(op) > 1 else ("", _reordered(snippet, names["x"], x, lanes_of(op), False))
    )
    sums = snippet.generic(
        f"bprtk{quad}",
        [
            (bytes_, tensor(x, "i8"), f"bpkt{quad}"),
            (names["dense"], tensor([shape[2], x[2], *x[4:]], "i8"), f"rk{quad}"),
        ],
        "bprt",
        shape,
        [
            f"%x = arith.{widen} %a : i8 to i32",
            "%w = arith.extsi %b : i8 to i32",
            "%p = arith.muli %x, %w : i32",
            "%s = arith.addi %acc, %p : i32",
            "%s",
        ],
        start=0,
        element="i32",
    )
    inputs = [
        (sums, tensor(shape, "i32"), "bprt"),
        (names["token_scales"], tensor([*shape[:2], shape[3]]), "bpt"),
        (names["scales"], tensor([shape[2]]), "r"),
        (names["starts"], tensor([shape[2]], "i32"), "r"),
    ]
    lines = [
        "%i = arith.addi %a, %d : i32",
        "%f = arith.sitofp %i : i32 to f32",
        "%byTokens = arith.mulf %f, %b : f32",
        "%scaled = arith.mulf %byTokens, %c : f32",
    ]
    total = "%scaled"
    if "bias" in names:
        inputs.append((names["bias"], tensor([shape[2]]), "r"))
        lines.append(f"%biased = arith.addf {total}, %e : f32")
        total = "%biased"
    # Names of an activation's lines are its own.
    product = snippet.generic("bprt", inputs, "bprt", shape, [*lines, total])
    *more, total = activation_lines(activation_of(op), "%a")
    inputs = [(product, tensor(shape), "bprt")]
    if "residual" in names:
        inputs.append((names["residual"], tensor(shape), "bprt"))
        more.append(f"%whole = arith.addf {total}, %b : f32")
        total = "%whole"
    return snippet.generic("bprt", inputs, "bprt", shape, [*more, total]) if more else product
