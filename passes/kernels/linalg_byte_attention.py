"""The lowering of `sparsity.quantized_attention` to linalg, in panels: loops over integers and f32, for any target."""

from torch_mlir import ir

from secateur.dialects.sparsity.ops.quantized_attention import SMALLEST_SHARE, largest_weight
from secateur.dialects.sparsity.ops.quantized_linear import QUAD

from .linalg_heads import SMALLEST, head_scales, rounded_heads, split_heads
from .linalg_text import Snippet, literal, tensor


def _read_bytes(
    snippet: Snippet, op: ir.OpView, source: str, depth: int, place: list[str], unsigned: bool = False
) -> tuple[str, list[int]]:
    """Bytes as i32 [batch, heads, keys, depth]; `place`: lines that give `%at` from `%t` of `%panel` and `%d`."""
    kind, panel = list(op.keys_values.type.shape), op.layout.tile()[0]
    shape = [kind[0], op.heads.value, kind[1] * panel, depth]
    body = [
        *(f"%{name} = linalg.index {i} : index" for i, name in enumerate(("batch", "head", "key", "d"))),
        f"%sharing = arith.constant {op.heads.value // op.kv_heads.value} : index",
        "%own = arith.divui %head, %sharing : index",
        f"%tokens = arith.constant {panel} : index",
        "%panel = arith.divui %key, %tokens : index",
        "%t = arith.remui %key, %tokens : index",
        *place,
        f"%byte = tensor.extract {source}[%batch, %panel, %own, %at] : {tensor(kind, 'i8')}",
        f"%v = arith.{'extui' if unsigned else 'extsi'} %byte : i8 to i32",
        "%v",
    ]
    return snippet.generic("bhsd", [], "bhsd", shape, body, element="i32"), shape


def _read_scales(snippet: Snippet, op: ir.OpView, source: str, start: int) -> str:
    """The f32 scales [batch, heads, keys] that begin at byte `start` of each head."""
    place = [
        "%four = arith.constant 4 : index",
        f"%start = arith.constant {start} : index",
        "%word = arith.muli %t, %four : index",
        "%first = arith.addi %word, %start : index",
        "%at = arith.addi %first, %d : index",
    ]
    parts, shape = _read_bytes(snippet, op, source, 4, place, unsigned=True)
    body = [
        "%d = linalg.index 3 : index",
        "%number = arith.index_cast %d : index to i32",
        "%eight = arith.constant 8 : i32",
        "%shift = arith.muli %number, %eight : i32",
        "%moved = arith.shli %a, %shift : i32",
        "%joined = arith.ori %acc, %moved : i32",
        "%joined",
    ]
    rows = shape[:3]
    bits = snippet.generic("bhsd", [(parts, tensor(shape, "i32"), "bhsd")], "bhs", rows, body, start=0, element="i32")
    body = ["%f = arith.bitcast %a : i32 to f32", "%f"]
    return snippet.generic("bhs", [(bits, tensor(rows, "i32"), "bhs")], "bhs", rows, body)


def quantized_attention(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Scores, weights and context of all heads at once; the sum over earlier keys is a contraction with a triangle."""
    heads, depth, value_depth, panel = op.heads.value, op.depth.value, op.value_depth.value, op.layout.tile()[0]
    source = names["keys_values"]
    batch, panels = op.query.type.shape[:2]
    split, shape = split_heads(snippet, names["query"], list(op.query.type.shape), op.offset.value, heads, depth)
    query_scales = head_scales(snippet, split, shape, "bphtd")
    query = rounded_heads(snippet, split, query_scales, shape, "bphtd")
    keys, key_shape = _read_bytes(
        snippet,
        op,
        source,
        depth,
        [
            f"%four = arith.constant {QUAD} : index",
            "%quad = arith.divui %d, %four : index",
            "%rest = arith.remui %d, %four : index",
            "%row = arith.muli %quad, %tokens : index",
            "%place = arith.addi %row, %t : index",
            "%word = arith.muli %place, %four : index",
            "%at = arith.addi %word, %rest : index",
        ],
        unsigned=bool(op.zero_point.value),
    )
    values, value_shape = _read_bytes(
        snippet,
        op,
        source,
        value_depth,
        [
            f"%start = arith.constant {depth * panel} : index",
            "%row = arith.muli %d, %tokens : index",
            "%place = arith.addi %row, %t : index",
            "%at = arith.addi %place, %start : index",
        ],
    )
    first = (depth + value_depth) * panel
    key_scales, value_scales = (_read_scales(snippet, op, source, first + i * 4 * panel) for i in range(2))
    rows, full = key_shape[:3], [batch, panels, heads, panel, key_shape[2]]
    # Of each key: its value's share of the largest scale.
    body = ["%m = arith.maximumf %acc, %a : f32", "%m"]
    per_key = [(value_scales, tensor(rows), "bhs")]
    largest = snippet.generic("bhs", per_key, "bh", rows[:2], body, start=SMALLEST)
    body = [
        "%q = arith.divf %a, %b : f32",
        f"%least = arith.constant {literal(SMALLEST_SHARE)} : f32",
        "%share = arith.maximumf %q, %least : f32",
        "%share",
    ]
    shares = snippet.generic("bhs", [*per_key, (largest, tensor(rows[:2]), "bh")], "bhs", rows, body)
    body = [
        f"%point = arith.constant {op.zero_point.value} : i32",
        "%k = arith.subi %b, %point : i32",
        "%p = arith.muli %a, %k : i32",
        "%s = arith.addi %acc, %p : i32",
        "%s",
    ]
    whole = [(query, tensor(shape, "i32"), "bphtd"), (keys, tensor(key_shape, "i32"), "bhsd")]
    dots = snippet.generic("bphtsd", whole, "bphts", full, body, start=0, element="i32")
    inputs = [
        (dots, tensor(full, "i32"), "bphts"),
        (query_scales, tensor(full[:4]), "bpht"),
        (key_scales, tensor(rows), "bhs"),
        (shares, tensor(rows), "bhs"),
    ]
    scores = _scores(snippet, op, names, inputs, full)
    kind, lines = tensor(full), full[:4]
    body = ["%m = arith.maximumf %a, %acc : f32", "%m"]
    peak = snippet.generic("bphts", [(scores, kind, "bphts")], "bpht", lines, body, start=-3.4028234663852886e38)
    body = [
        f"%l = arith.constant {literal(largest_weight(op))} : f32",
        "%d = arith.subf %a, %b : f32",
        "%e = math.exp %d : f32",
        "%x = arith.mulf %e, %l : f32",
        "%x",
    ]
    powers = snippet.generic("bphts", [(scores, kind, "bphts"), (peak, tensor(lines), "bpht")], "bphts", full, body)
    body = ["%r = arith.divf %a, %b : f32", "%s = arith.addf %acc, %r : f32", "%s"]
    inputs = [(powers, kind, "bphts"), (shares, tensor(rows), "bhs")]
    totals = snippet.generic("bphts", inputs, "bpht", lines, body, start=0.0)
    weights = _weights(snippet, powers, full)
    context = [batch, panels, heads, value_depth, panel]
    body = ["%p = arith.muli %a, %b : i32", "%s = arith.addi %acc, %p : i32", "%s"]
    whole = [(weights, tensor(full, "i32"), "bphts"), (values, tensor(value_shape, "i32"), "bhse")]
    sums = snippet.generic("bphtes", whole, "bphet", context, body, start=0, element="i32")
    body = [
        "%zero = arith.constant 0.0 : f32",
        "%one = arith.constant 1.0 : f32",
        "%empty = arith.cmpf oeq, %b, %zero : f32",
        "%safe = arith.select %empty, %one, %b : f32",
        "%unit = arith.divf %c, %safe : f32",
        "%f = arith.sitofp %a : i32 to f32",
        "%y = arith.mulf %f, %unit : f32",
        "%y",
    ]
    inputs = [
        (sums, tensor(context, "i32"), "bphet"),
        (totals, tensor(lines), "bpht"),
        (largest, tensor(rows[:2]), "bh"),
    ]
    result = snippet.generic("bphet", inputs, "bphet", context, body)
    text = f"tensor.collapse_shape {result} [[0], [1], [2, 3], [4]] : {tensor(context)} into "
    return snippet.line(text + tensor(op.result.type.shape))


def _scores(
    snippet: Snippet, op: ir.OpView, names: dict[str, str], inputs: list[tuple[str, str, str]], full: list[int]
) -> str:
    """Scores with biases, masks and the logarithm of the values' shares; `inputs`: sums, scales of both, shares."""
    batch, _, _, panel, keys = full
    inputs = list(inputs)
    lines = [
        f"%k = arith.constant {literal(op.scale.value)} : f32",
        "%f = arith.sitofp %a : i32 to f32",
        "%both = arith.mulf %b, %c : f32",
        "%unit = arith.mulf %both, %k : f32",
        "%raw = arith.mulf %f, %unit : f32",
        "%logarithm = math.log %d : f32",
        "%s0 = arith.addf %raw, %logarithm : f32",
    ]
    total = "%s0"
    if "key_bias" in names:
        inputs.append((names["key_bias"], tensor([batch, keys]), "bs"))
        lines.append(f"%s1 = arith.addf {total}, %e : f32")
        total = "%s1"
    lines += [
        "%panel = linalg.index 1 : index",
        "%t = linalg.index 3 : index",
        "%key = linalg.index 4 : index",
        f"%tokens = arith.constant {panel} : index",
        "%before = arith.muli %panel, %tokens : index",
        "%token = arith.addi %before, %t : index",
    ]
    if "bias" in names:
        shape = list(op.bias.type.shape)
        lines += [
            f"%batch = {'linalg.index 0' if shape[0] > 1 else 'arith.constant 0'} : index",
            f"%head = {'linalg.index 2' if shape[1] > 1 else 'arith.constant 0'} : index",
            f"%bias = tensor.extract {names['bias']}[%batch, %head, %key, %token] : {tensor(shape)}",
            f"%s2 = arith.addf {total}, %bias : f32",
        ]
        total = "%s2"
    if op.causal.value:
        lines += [
            "%later = arith.cmpi ugt, %key, %token : index",
            f"%never = arith.constant {literal(float('-inf'))} : f32",
            f"%s3 = arith.select %later, %never, {total} : f32",
        ]
        total = "%s3"
    return snippet.generic("bphts", inputs, "bphts", full, [*lines, total])


def _weights(snippet: Snippet, powers: str, full: list[int]) -> str:
    """`round(sum up to a key) - round(sum before it)`, in 32 bits; zero for a NaN."""
    body = [
        "%own = linalg.index 4 : index",
        "%other = linalg.index 5 : index",
        "%zero = arith.constant 0.0 : f32",
        "%among = arith.cmpi ule, %other, %own : index",
        "%x = arith.select %among, %a, %zero : f32",
        "%s = arith.addf %acc, %x : f32",
        "%s",
    ]
    kind = tensor(full)
    sums = snippet.generic("bphtsu", [(powers, kind, "bphtu")], "bphts", full, body, start=0.0)
    body = [
        *(f"%{name} = linalg.index {i} : index" for i, name in enumerate(("batch", "panel", "head", "t", "key"))),
        "%none = arith.constant 0 : index",
        "%one = arith.constant 1 : index",
        "%zero = arith.constant 0.0 : f32",
        "%starts = arith.cmpi eq, %key, %none : index",
        "%less = arith.subi %key, %one : index",
        "%last = arith.select %starts, %none, %less : index",
        f"%found = tensor.extract {sums}[%batch, %panel, %head, %t, %last] : {kind}",
        "%before = arith.select %starts, %zero, %found : f32",
        "%high = math.roundeven %a : f32",
        "%low = math.roundeven %before : f32",
        "%w = arith.subf %high, %low : f32",
        # A NaN becomes zero: no conversion to an integer is undefined.
        "%number = arith.cmpf ord, %w, %w : f32",
        "%safe = arith.select %number, %w, %zero : f32",
        "%whole = arith.fptosi %safe : f32 to i32",
        "%whole",
    ]
    return snippet.generic("bphts", [(sums, kind, "bphts")], "bphts", full, body, element="i32")
