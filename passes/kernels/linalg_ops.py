"""One function per structural op: its lowering to linalg on token-major tensors, as text."""

from torch_mlir import ir

from secateur.dialects.sparsity.ops.attention import head_slices
from secateur.dialects.sparsity.rules import activation_of

from .linalg_byte_attention import quantized_attention
from .linalg_bytes import quantize_tokens, quantized_linear, token_scales
from .linalg_conv import conv
from .linalg_decoders import cached_attention, gated, rms_norm, rotary
from .linalg_heads import quantize_heads
from .linalg_planes import from_planes, to_planes
from .linalg_pool import max_pool
from .linalg_text import Snippet, activation_lines, as_f32, literal, tensor

# Dimension letters for leading dimensions; features are `n`, reduced features `k`.
_LEADING = "bcdefgh"


def epilogue(snippet: Snippet, op: ir.OpView, value: str, names: dict[str, str], shape: list[int]) -> str:
    """`activation(scales * value + bias) + residual` of `linear` and `packed_linear`."""
    lead = _LEADING[: len(shape) - 1]
    inputs, lines, total = [(value, tensor(shape), lead + "n")], [], "%a"
    for name, result, operation in (("scales", "%scaled", "mulf"), ("bias", "%biased", "addf")):
        if name in names:
            inputs.append((names[name], tensor(shape[-1:]), "n"))
            lines.append(f"{result} = arith.{operation} {total}, %{'abc'[len(inputs) - 1]} : f32")
            total = result
    *more, total = activation_lines(activation_of(op), total)
    lines += more
    if "residual" in names:
        inputs.append((names["residual"], tensor(shape), lead + "n"))
        letter = "abcd"[len(inputs) - 1]
        lines.append(f"%whole = arith.addf {total}, %{letter} : f32")
        total = "%whole"
    if len(inputs) == 1 and not lines:
        return value
    return snippet.generic(lead + "n", inputs, lead + "n", shape, [*lines, total])


def linear(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """A dense contraction over the weight's columns."""
    x, shape = list(op.x.type.shape), list(op.result.type.shape)
    lead = _LEADING[: len(shape) - 1]
    product = snippet.generic(
        lead + "nk",
        [(names["x"], tensor(x), lead + "k"), (names["weight"], tensor(op.weight.type.shape), "nk")],
        lead + "n",
        shape,
        ["%p = arith.mulf %a, %b : f32", "%s = arith.addf %acc, %p : f32", "%s"],
        start=0.0,
    )
    return epilogue(snippet, op, product, names, shape)


def layer_norm(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Distances to the first feature, their mean, variance about the mean, normalisation.

    Equal features have distances of exactly zero, whatever the order in which they are summed.
    """
    shape = list(op.x.type.shape)
    lead, rows = _LEADING[: len(shape) - 1], shape[:-1]
    full, each = lead + "n", tensor(shape)
    x = names["x"]
    if "residual" in names:
        both = [(x, each, full), (names["residual"], each, full)]
        x = snippet.generic(full, both, full, shape, ["%s = arith.addf %a, %b : f32", "%s"])
    fraction = f"%f = arith.constant {literal(1.0 / shape[-1])} : f32"
    starts, sizes, steps = [0] * len(shape), [*rows, 1], [1] * len(shape)
    first = snippet.line(f"tensor.extract_slice {x}{starts} {sizes} {steps} : {each} to {tensor(rows)}")
    distance = "%from = arith.subf %a, %b : f32"
    scaled = [distance, fraction, "%p = arith.mulf %from, %f : f32", "%s = arith.addf %acc, %p : f32", "%s"]
    shifted = [(x, each, full), (first, tensor(rows), lead)]
    mean = snippet.generic(full, shifted, lead, rows, scaled, start=0.0)
    centred = [*shifted, (mean, tensor(rows), lead)]
    deviation = [distance, "%x = arith.subf %from, %c : f32"]
    squared = [*deviation, "%q = arith.mulf %x, %x : f32", fraction]
    squared += ["%p = arith.mulf %q, %f : f32", "%s = arith.addf %acc, %p : f32", "%s"]
    variance = snippet.generic(full, centred, lead, rows, squared, start=0.0)
    feature = tensor(shape[-1:])
    return snippet.generic(
        full,
        [*centred, (variance, tensor(rows), lead), (names["weight"], feature, "n"), (names["bias"], feature, "n")],
        full,
        shape,
        [
            f"%eps = arith.constant {literal(op.epsilon.value)} : f32",
            "%v = arith.addf %d, %eps : f32",
            "%r = math.sqrt %v : f32",
            *deviation,
            "%y = arith.divf %x, %r : f32",
            "%z = arith.mulf %y, %e : f32",
            "%w = arith.addf %z, %f : f32",
            "%w",
        ],
    )


def activation(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Element by element."""
    shape = list(op.x.type.shape)
    dims = _LEADING[: len(shape)]
    return snippet.generic(
        dims, [(names["x"], tensor(shape), dims)], dims, shape, activation_lines(op.kind.value, "%a")
    )


def add(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Element by element."""
    shape = list(op.lhs.type.shape)
    dims = _LEADING[: len(shape)]
    both = [(names[n], tensor(shape), dims) for n in ("lhs", "rhs")]
    return snippet.generic(dims, both, dims, shape, ["%s = arith.addf %a, %b : f32", "%s"])


def embedding(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """A gather of rows."""
    table, shape = list(op.table.type.shape), list(op.result.type.shape)
    lead = _LEADING[: len(shape) - 1]
    integer, element = str(op.indices.type.element_type), str(op.table.type.element_type)
    body = [
        f"%row = arith.index_cast %a : {integer} to index",
        f"%column = linalg.index {len(shape) - 1} : index",
        f"%stored = tensor.extract {names['table']}[%row, %column] : {tensor(table, element)}",
        *as_f32("%value", "%stored", element),
    ]
    if "scales" in names:
        body.append(f"%scale = tensor.extract {names['scales']}[%row] : {tensor(table[:1])}")
        body.append("%scaled = arith.mulf %value, %scale : f32")
    body.append("%scaled" if "scales" in names else "%value" if element != "f32" else "%stored")
    return snippet.generic(lead + "n", [(names["indices"], tensor(shape[:-1], integer), lead)], lead + "n", shape, body)


def attention(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Scores, softmax over keys and context, head by head in one batch dimension.

    Fully masked queries: their maximum is raised to the lowest finite number, so all exponentials are zero, and a
    sum of zero is divided by one.
    """
    heads, kv_heads = op.heads.value, op.kv_heads.value
    starts, depth, out_depth = head_slices(op)
    batch, tokens, _ = op.query.type.shape
    keys = op.key.type.shape[1]

    def split(which: str, start: int, count: int, size: int) -> tuple[str, str]:
        """[batch, length, features] -> [batch, length, heads, size], cut out of a merged tensor where need be."""
        source = list(getattr(op, which).type.shape)
        wanted = [*source[:2], count * size]
        value = names[which]
        if source != wanted:
            sizes = ", ".join(map(str, wanted))
            value = snippet.line(
                f"tensor.extract_slice {value}[0, 0, {start}] [{sizes}] [1, 1, 1] : "
                f"{tensor(source)} to {tensor(wanted)}"
            )
        shape = [*source[:2], count, size]
        text = f"tensor.expand_shape {value} [[0], [1], [2, 3]] output_shape {shape} : {tensor(wanted)} into "
        value = snippet.line(text + tensor(shape))
        group = heads // count
        if group == 1:
            return value, tensor(shape)
        shape = [*source[:2], count, group, size]
        value = snippet.generic("bthgd", [(value, tensor([*source[:2], count, size]), "bthd")], "bthgd", shape, ["%a"])
        merged = [*source[:2], heads, size]
        text = f"tensor.collapse_shape {value} [[0], [1], [2, 3], [4]] : {tensor(shape)} into {tensor(merged)}"
        return snippet.line(text), tensor(merged)

    query = split("query", starts[0], heads, depth)
    key = split("key", starts[1], kv_heads, depth)
    value = split("value", starts[2], kv_heads, out_depth)
    full, kind = [batch, heads, tokens, keys], tensor([batch, heads, tokens, keys])
    multiply = ["%p = arith.mulf %a, %b : f32", "%s = arith.addf %acc, %p : f32", "%s"]
    raw = snippet.generic("bhtsd", [(*query, "bthd"), (*key, "bshd")], "bhts", full, multiply, start=0.0)
    inputs, lines, total = [(raw, kind, "bhts")], [f"%k = arith.constant {literal(op.scale.value)} : f32"], "%s0"
    lines.append("%s0 = arith.mulf %a, %k : f32")
    if "key_bias" in names:
        inputs.append((names["key_bias"], tensor([batch, keys]), "bs"))
        lines.append(f"%s1 = arith.addf {total}, %{'abc'[len(inputs) - 1]} : f32")
        total = "%s1"
    if "bias" in names:
        shape = list(op.bias.type.shape)
        dims = ("b" if shape[0] > 1 else "0") + ("h" if shape[1] > 1 else "0") + "ts"
        inputs.append((names["bias"], tensor(shape), dims))
        lines.append(f"%s2 = arith.addf {total}, %{'abc'[len(inputs) - 1]} : f32")
        total = "%s2"
    if op.causal.value:
        lines += [
            "%token = linalg.index 2 : index",
            "%key = linalg.index 3 : index",
            "%later = arith.cmpi ugt, %key, %token : index",
            f"%never = arith.constant {literal(float('-inf'))} : f32",
            f"%s3 = arith.select %later, %never, {total} : f32",
        ]
        total = "%s3"
    scores = snippet.generic("bhts", inputs, "bhts", full, [*lines, total])
    rows = full[:3]
    maximum = ["%m = arith.maximumf %a, %acc : f32", "%m"]
    peak = snippet.generic("bhts", [(scores, kind, "bhts")], "bht", rows, maximum, start=-3.4028234663852886e38)
    shifted = ["%d = arith.subf %a, %b : f32", "%e = math.exp %d : f32", "%e"]
    powers = snippet.generic("bhts", [(scores, kind, "bhts"), (peak, tensor(rows), "bht")], "bhts", full, shifted)
    summed = ["%s = arith.addf %a, %acc : f32", "%s"]
    sums = snippet.generic("bhts", [(powers, kind, "bhts")], "bht", rows, summed, start=0.0)
    # Heads first, as in the scores: IREE gives threads of a GPU the first dimensions of a batch of matrix products.
    mixed_shape = [batch, heads, tokens, out_depth]
    mixed = snippet.generic("bhtes", [(powers, kind, "bhts"), (*value, "bshe")], "bhte", mixed_shape, multiply, 0.0)
    divided = [
        "%zero = arith.constant 0.0 : f32",
        "%one = arith.constant 1.0 : f32",
        "%empty = arith.cmpf oeq, %b, %zero : f32",
        "%safe = arith.select %empty, %one, %b : f32",
        "%q = arith.divf %a, %safe : f32",
        "%q",
    ]
    merged, result = [batch, tokens, heads, out_depth], [batch, tokens, heads * out_depth]
    inputs = [(mixed, tensor(mixed_shape), "bhte"), (sums, tensor(rows), "bht")]
    context = snippet.generic("bthe", inputs, "bthe", merged, divided)
    return snippet.line(f"tensor.collapse_shape {context} [[0], [1], [2, 3]] : {tensor(merged)} into {tensor(result)}")


BYTES = {
    "sparsity.token_scales": token_scales,
    "sparsity.quantize_tokens": quantize_tokens,
    "sparsity.quantized_linear": quantized_linear,
    "sparsity.quantize_heads": quantize_heads,
    "sparsity.quantized_attention": quantized_attention,
}
"""Ops that are lowered in panels: their bytes have no token-major form."""

LOWERINGS = {
    "sparsity.linear": linear,
    "sparsity.conv": conv,
    "sparsity.max_pool": max_pool,
    "sparsity.to_planes": to_planes,
    "sparsity.from_planes": from_planes,
    "sparsity.layer_norm": layer_norm,
    "sparsity.activation": activation,
    "sparsity.add": add,
    "sparsity.embedding": embedding,
    "sparsity.attention": attention,
    "sparsity.cached_attention": cached_attention,
    "sparsity.rms_norm": rms_norm,
    "sparsity.rotary": rotary,
    "sparsity.gated": gated,
    **BYTES,
}
