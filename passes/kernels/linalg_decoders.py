"""Ops of decoders as linalg on token-major tensors: norms, gates, rotations, attention on a cache."""

from torch_mlir import ir

from secateur.dialects.sparsity.ops.cached_attention import window_of

from .linalg_text import Snippet, activation_lines, as_f32, literal, tensor

# Dimension letters for leading dimensions; features are `n`.
_LEADING = "bcdefgh"


def rms_norm(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """The mean of the squares of each token, then every feature on its own."""
    shape = list(op.x.type.shape)
    full, rows, each = _LEADING[: len(shape) - 1] + "n", shape[:-1], tensor(shape)
    x = (names["x"], each, full)
    squared = [
        f"%f = arith.constant {literal(1.0 / shape[-1])} : f32",
        "%q = arith.mulf %a, %a : f32",
        "%p = arith.mulf %q, %f : f32",
        "%s = arith.addf %acc, %p : f32",
        "%s",
    ]
    mean = snippet.generic(full, [x], full[:-1], rows, squared, start=0.0)
    inputs = [x, (mean, tensor(rows), full[:-1]), (names["weight"], tensor(shape[-1:]), "n")]
    scaled = [
        f"%eps = arith.constant {literal(op.epsilon.value)} : f32",
        "%v = arith.addf %b, %eps : f32",
        "%r = math.sqrt %v : f32",
        "%y = arith.divf %a, %r : f32",
        "%z = arith.mulf %y, %c : f32",
        "%z",
    ]
    return snippet.generic(full, inputs, full, shape, scaled)


def gated(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Element by element."""
    shape = list(op.gate.type.shape)
    dims = _LEADING[: len(shape)]
    both = [(names[name], tensor(shape), dims) for name in ("gate", "up")]
    *lines, active = activation_lines(op.kind.value, "%a")
    return snippet.generic(dims, both, dims, shape, [*lines, f"%product = arith.mulf {active}, %b : f32", "%product"])


def rotary(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Element by element of the result, which reads the other of its pair from x."""
    batch, tokens, features = op.x.type.shape
    heads, turned = op.heads.value, op.cos.type.shape[2]
    depth, kind = features // heads, tensor([batch, tokens, features])
    angles = tensor(op.cos.type.shape)
    sequence = "%sequence" if op.cos.type.shape[0] > 1 else "%c0"
    body = [
        *(f"%{name} = linalg.index {i} : index" for i, name in enumerate(("sequence", "token", "feature"))),
        *(f"%c{n} = arith.constant {n} : index" for n in sorted({0, depth, turned, turned // 2})),
        f"%j = arith.remui %feature, %c{depth} : index",
        f"%low = arith.cmpi ult, %j, %c{turned // 2} : index",
        f"%turns = arith.cmpi ult, %j, %c{turned} : index",
        # What stays as it is reads itself, and some angle that is not used.
        f"%after = arith.addi %feature, %c{turned // 2} : index",
        f"%before = arith.subi %feature, %c{turned // 2} : index",
        "%other = arith.select %low, %after, %before : index",
        "%partner = arith.select %turns, %other, %feature : index",
        "%angle = arith.select %turns, %j, %c0 : index",
        f"%p = tensor.extract {names['x']}[%sequence, %token, %partner] : {kind}",
        f"%cos = tensor.extract {names['cos']}[{sequence}, %token, %angle] : {angles}",
        f"%sin = tensor.extract {names['sin']}[{sequence}, %token, %angle] : {angles}",
        "%n = arith.negf %p : f32",
        "%signed = arith.select %low, %n, %p : f32",
        "%x0 = arith.mulf %a, %cos : f32",
        "%x1 = arith.mulf %signed, %sin : f32",
        "%sum = arith.addf %x0, %x1 : f32",
        "%y = arith.select %turns, %sum, %a : f32",
        "%y",
    ]
    shape = [batch, tokens, features]
    return snippet.generic("btn", [(names["x"], kind, "btn")], "btn", shape, body)


def cached_attention(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Scores of all rows of the cache, those that a query does not see at minus infinity, softmax, mean of the values.

    Groups of heads that share keys have a dimension of their own: no key is copied. The time is that of a full cache.
    """
    batch, tokens, _ = op.query.type.shape
    capacity, element = op.keys.type.shape[1], str(op.keys.type.element_type)
    heads, kv_heads = op.heads.value, op.kv_heads.value
    group = heads // kv_heads
    depth, out_depth = op.query.type.shape[2] // heads, op.values.type.shape[2] // kv_heads

    def split(name: str, *sizes: int, of: str = "f32") -> tuple[str, str]:
        """[batch, length, features] with the features split into `sizes`."""
        shape = list(getattr(op, name).type.shape)
        wanted = [*shape[:2], *sizes]
        groups = f"[[0], [1], [{', '.join(str(2 + i) for i in range(len(sizes)))}]]"
        text = f"tensor.expand_shape {names[name]} {groups} output_shape {wanted} : {tensor(shape, of)} into "
        return snippet.line(text + tensor(wanted, of)), tensor(wanted, of)

    query = split("query", kv_heads, group, depth)
    keys, values = split("keys", kv_heads, depth, of=element), split("values", kv_heads, out_depth, of=element)
    length = (names["length"], tensor([batch], "i32"), "b")
    read = as_f32("%stored", "%b", element)
    stored = "%stored" if read else "%b"
    full = [batch, kv_heads, group, tokens, capacity]
    product = [*read, f"%p = arith.mulf %a, {stored} : f32", "%s = arith.addf %acc, %p : f32", "%s"]
    raw = snippet.generic("bgrtsd", [(*query, "btgrd"), (*keys, "bsgd")], "bgrts", full, product, start=0.0)
    kind = tensor(full)
    inputs = [(raw, kind, "bgrts"), length]
    biased = []
    if "bias" in names:
        shape = list(op.bias.type.shape)
        wanted = [shape[0], *((kv_heads, group) if shape[1] > 1 else (1, 1)), *shape[2:]]
        text = f"tensor.expand_shape {names['bias']} [[0], [1, 2], [3], [4]] output_shape {wanted} : "
        bias = snippet.line(f"{text}{tensor(shape)} into {tensor(wanted)}")
        inputs.append((bias, tensor(wanted), ("b" if shape[0] > 1 else "0") + ("gr" if shape[1] > 1 else "00") + "ts"))
        biased = ["%with = arith.addf %scaled, %c : f32"]
    lines, seen = _seen(op, tokens)
    masked = [
        f"%k = arith.constant {literal(op.scale.value)} : f32",
        f"%never = arith.constant {literal(float('-inf'))} : f32",
        "%scaled = arith.mulf %a, %k : f32",
        *biased,
        *lines,
        f"%y = arith.select {seen}, {'%with' if biased else '%scaled'}, %never : f32",
        "%y",
    ]
    scores = snippet.generic("bgrts", inputs, "bgrts", full, masked)
    rows = full[:-1]
    maximum = ["%m = arith.maximumf %a, %acc : f32", "%m"]
    # A query that sees nothing has a finite maximum, and powers of zero.
    peak = snippet.generic("bgrts", [(scores, kind, "bgrts")], "bgrt", rows, maximum, start=-3.4028234663852886e38)
    shifted = ["%d = arith.subf %a, %b : f32", "%e = math.exp %d : f32", "%e"]
    both = [(scores, kind, "bgrts"), (peak, tensor(rows), "bgrt")]
    powers = snippet.generic("bgrts", both, "bgrts", full, shifted)
    summed = ["%s = arith.addf %a, %acc : f32", "%s"]
    sums = snippet.generic("bgrts", [(powers, kind, "bgrts")], "bgrt", rows, summed, start=0.0)
    mixed_shape = [*rows, out_depth]
    # Rows that hold nothing may hold anything, also what is no number.
    weighted = [
        *read,
        "%zero = arith.constant 0.0 : f32",
        "%row = linalg.index 5 : index",
        "%at = arith.index_cast %row : index to i32",
        "%held = arith.cmpi slt, %at, %c : i32",
        f"%v = arith.select %held, {stored}, %zero : f32",
        "%p = arith.mulf %a, %v : f32",
        "%s = arith.addf %acc, %p : f32",
        "%s",
    ]
    three = [(powers, kind, "bgrts"), (*values, "bsge"), length]
    mixed = snippet.generic("bgrtes", three, "bgrte", mixed_shape, weighted, start=0.0)
    divided = [
        "%zero = arith.constant 0.0 : f32",
        "%one = arith.constant 1.0 : f32",
        "%empty = arith.cmpf oeq, %b, %zero : f32",
        "%safe = arith.select %empty, %one, %b : f32",
        "%q = arith.divf %a, %safe : f32",
        "%q",
    ]
    merged = [batch, tokens, kv_heads, group, out_depth]
    inputs = [(mixed, tensor(mixed_shape), "bgrte"), (sums, tensor(rows), "bgrt")]
    context = snippet.generic("btgre", inputs, "btgre", merged, divided)
    result = [batch, tokens, heads * out_depth]
    text = f"tensor.collapse_shape {context} [[0], [1], [2, 3, 4]] : {tensor(merged)} into {tensor(result)}"
    return snippet.line(text)


def _seen(op: ir.OpView, tokens: int) -> tuple[list[str], str]:
    """Body lines over [batch, groups, heads, tokens, rows] that tell whether a query sees a row, and the name of that.

    `%b` is the length.
    """
    lines = [
        "%token = linalg.index 3 : index",
        "%row = linalg.index 4 : index",
        "%i = arith.index_cast %token : index to i32",
        "%at = arith.index_cast %row : index to i32",
        f"%tokens = arith.constant {tokens} : i32",
        "%first = arith.subi %b, %tokens : i32",
        "%own = arith.addi %first, %i : i32",
        "%held = arith.cmpi slt, %at, %b : i32",
    ]
    seen, window = "%held", window_of(op)
    if op.causal.value:
        lines += ["%before = arith.cmpi sle, %at, %own : i32", f"%s0 = arith.andi {seen}, %before : i1"]
        seen = "%s0"
    if window is not None:
        lines += [
            f"%window = arith.constant {window} : i32",
            "%oldest = arith.subi %own, %window : i32",
            "%near = arith.cmpi sgt, %at, %oldest : i32",
            f"%s1 = arith.andi {seen}, %near : i1",
        ]
        seen = "%s1"
    return lines, seen
