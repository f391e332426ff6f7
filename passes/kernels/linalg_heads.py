"""The lowering of `sparsity.quantize_heads` to linalg, in panels, and the rounding that attention on bytes shares."""

from torch_mlir import ir

from secateur.dialects.sparsity.ops.quantized_linear import QUAD
from secateur.dialects.sparsity.ops.token_scales import LARGEST

from .linalg_text import Snippet, literal, tensor

SMALLEST = 2.0**-126

INVERSE_LINES = (
    f"%smallest = arith.constant {literal(SMALLEST)} : f32",
    "%zero = arith.constant 0.0 : f32",
    "%one = arith.constant 1.0 : f32",
    f"%high = arith.constant {literal(LARGEST)} : f32",
    f"%low = arith.constant {literal(-LARGEST)} : f32",
    "%normal = arith.cmpf oge, %b, %smallest : f32",
    "%quotient = arith.divf %one, %b : f32",
    "%inverse = arith.select %normal, %quotient, %zero : f32",
)
"""`%inverse`: one over the scale `%b`, zero below the smallest normal number and for a NaN; `%low` and `%high` are the
bounds of what it makes of a number."""


def head_scales(snippet: Snippet, x: str, shape: list[int], letters: str) -> str:
    """The largest |x| over 127 along the last of the dimensions `letters`; NaN where that is infinite."""
    rows, kept = shape[:-1], letters[:-1]
    body = ["%v = math.absf %a : f32", "%m = arith.maximumf %acc, %v : f32", "%m"]
    largest = snippet.generic(letters, [(x, tensor(shape), letters)], kept, rows, body, start=0.0)
    body = [
        f"%c = arith.constant {literal(LARGEST)} : f32",
        "%s = arith.divf %a, %c : f32",
        "%nothing = arith.subf %s, %s : f32",
        "%checked = arith.addf %s, %nothing : f32",
        "%checked",
    ]
    return snippet.generic(kept, [(largest, tensor(rows), kept)], kept, rows, body)


def rounded_heads(snippet: Snippet, x: str, scales: str, shape: list[int], letters: str) -> str:
    """`x` over its scale as integers of 32 bits; zero for a NaN."""
    body = [
        *INVERSE_LINES,
        # A product of two f32 is exact in f64, so it is rounded once.
        "%wide = arith.extf %a : f32 to f64",
        "%by = arith.extf %inverse : f32 to f64",
        "%product = arith.mulf %wide, %by : f64",
        "%even = math.roundeven %product : f64",
        "%u = arith.truncf %even : f64 to f32",
        # A NaN becomes a bound: no conversion to an integer is undefined.
        "%above = arith.maxnumf %u, %low : f32",
        "%units = arith.minnumf %above, %high : f32",
        "%whole = arith.fptosi %units : f32 to i32",
        "%whole",
    ]
    inputs = [(x, tensor(shape), letters), (scales, tensor(shape[:-1]), letters[:-1])]
    return snippet.generic(letters, inputs, letters, shape, body, element="i32")


def split_heads(
    snippet: Snippet, x: str, source: list[int], start: int, heads: int, depth: int
) -> tuple[str, list[int]]:
    """The features of heads, of a tensor in panels, as [batch, panels, heads, panel, depth]."""
    batch, panels, _, panel = source
    shape = [batch, panels, heads, panel, depth]
    body = [
        *(f"%{name} = linalg.index {i} : index" for i, name in enumerate(("batch", "panel", "head", "token", "d"))),
        f"%depth = arith.constant {depth} : index",
        f"%start = arith.constant {start} : index",
        "%row = arith.muli %head, %depth : index",
        "%first = arith.addi %row, %start : index",
        "%feature = arith.addi %first, %d : index",
        f"%v = tensor.extract {x}[%batch, %panel, %feature, %token] : {tensor(source)}",
        "%v",
    ]
    return snippet.generic("bphtd", [], "bphtd", shape, body), shape


def quantize_heads(snippet: Snippet, op: ir.OpView, names: dict[str, str]) -> str:
    """Both tensors head by head; their bytes and those of the scales are concatenated."""
    panel, heads = op.layout.tile()[0], op.kv_heads.value
    parts, scales = [], []
    for number, (name, depth) in enumerate((("key", op.depth.value), ("value", op.value_depth.value))):
        source = list(getattr(op, name).type.shape)
        x, shape = split_heads(snippet, names[name], source, op.offsets[number].value, heads, depth)
        found = head_scales(snippet, x, shape, "bphtd")
        scales.append((found, shape[:-1]))
        rounded = rounded_heads(snippet, x, found, shape, "bphtd")
        point = op.zero_point.value if name == "key" else 0
        body = [
            f"%point = arith.constant {point} : i32",
            "%moved = arith.addi %a, %point : i32",
            "%byte = arith.trunci %moved : i32 to i8",
            "%byte",
        ]
        if name == "key":
            cut = [*shape[:-1], depth // QUAD, QUAD]
            text = f"tensor.expand_shape {rounded} [[0], [1], [2], [3], [4, 5]] output_shape {cut} : "
            whole = snippet.line(f"{text}{tensor(shape, 'i32')} into {tensor(cut, 'i32')}")
            dims, out, ordered = "bphtkj", "bphktj", [*shape[:3], depth // QUAD, panel, QUAD]
            bytes_ = snippet.generic(dims, [(whole, tensor(cut, "i32"), dims)], out, ordered, body, element="i8")
        else:
            ordered = [*shape[:3], depth, panel]
            inputs = [(rounded, tensor(shape, "i32"), "bphtd")]
            bytes_ = snippet.generic("bphtd", inputs, "bphdt", ordered, body, element="i8")
        parts.append(_flat(snippet, bytes_, ordered))
    for found, shape in scales:
        body = [
            "%bits = arith.bitcast %a : f32 to i32",
            "%place = linalg.index 4 : index",
            "%number = arith.index_cast %place : index to i32",
            "%eight = arith.constant 8 : i32",
            "%shift = arith.muli %number, %eight : i32",
            "%moved = arith.shrui %bits, %shift : i32",
            "%byte = arith.trunci %moved : i32 to i8",
            "%byte",
        ]
        bytes_ = snippet.generic("bphtj", [(found, tensor(shape), "bpht")], "bphtj", [*shape, 4], body, element="i8")
        parts.append(_flat(snippet, bytes_, [*shape, 4]))
    values, kinds = (", ".join(part[i] for part in parts) for i in range(2))
    return snippet.line(f"tensor.concat dim(3) {values} : ({kinds}) -> {tensor(op.result.type.shape, 'i8')}")


def _flat(snippet: Snippet, value: str, shape: list[int]) -> tuple[str, str]:
    """Bytes [batch, panels, heads, ...] with one last dimension, and their type."""
    last = 1
    for size in shape[3:]:
        last *= size
    result = tensor([*shape[:3], last], "i8")
    groups = f"[[0], [1], [2], [{', '.join(map(str, range(3, len(shape))))}]]"
    return snippet.line(f"tensor.collapse_shape {value} {groups} : {tensor(shape, 'i8')} into {result}"), result
