"""Lowers every op of the dialect to linalg, tensor and arith: the portable path.

before:
    %y = "sparsity.packed_linear"(%x, %values, %columns, ...) {row_tile = 4 : i64, row_masks = [15]}
after:
    %g = linalg.generic (gather: g[b, tile, c, t] = x[b, t, columns[tile, c]])
    %p = linalg.generic (contraction: p[b, tile, r, t] = sum over c of w[tile, r, c] * g[b, tile, c, t])
    %y = linalg.generic (row order, bias, activation, residual)

A packed layer is packed anew for this lowering: tiles get column lists of one length, the longest, and the missing
entries weight zero (counted as `rectangle-padding`). A layer whose tiles keep all columns becomes a plain contraction.
A layer in slices of rows gets its dense weight back. Ops in panels are computed token-major between two changes of
layout. Weights stay `sparsity.weight`s.

Preconditions: f32, and f16 in panels; token-major activations of any rank, panels with `inner = 1`. Packed arrays are
`sparsity.weight`s (`PassFailure` otherwise). Rationale: the rectangle is computed from their values.
"""

import dataclasses

import numpy as np
from torch_mlir import ir, passmanager
from torch_mlir.dialects import func

from secateur.dialects.sparsity.ops.weight import make_weight, symbol_of, weight_behind
from secateur.dialects.sparsity.packed_tiles import row_masks_of
from secateur.dialects.sparsity.rules import layout_of

from ..base import Pass, PassContext, PassFailure, operands_by_name, walk
from .linalg_ops import BYTES, LOWERINGS, epilogue
from .linalg_planes import packed_conv
from .linalg_preparation import dense_bytes, known_arrays, leave_panels, leave_slices
from .linalg_text import Snippet, as_f16, as_f32, tensor

_PACKED = ("sparsity.packed_linear", "sparsity.packed_conv")


def unpack_rows(arrays: dict[str, np.ndarray], masks: list[int], columns: int) -> np.ndarray:
    """The weights of packed tiles as [tiles, row_tile, columns], zeros in place. Arrays as in `packed_linear`."""
    segments, offsets = arrays["segments"], arrays["offsets"]
    dense = np.zeros((*arrays["rows"].shape, columns), dtype=arrays["values"].dtype)
    for tile, place in enumerate(offsets):
        for (start, stop), mask in zip(segments[tile], masks, strict=True):
            members = [i for i in range(mask.bit_length()) if mask >> i & 1]
            block = arrays["values"][place : place + (stop - start) * len(members)].reshape(-1, len(members))
            dense[tile, members, arrays["columns"][start:stop, None]] = block
            place += block.size
    return dense


def rectangle(dense: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tiles [tiles, rows, columns] as weights [tiles, rows, length] and column lists [tiles, length].

    `length` is that of the longest list; shorter ones repeat a column with weight zero.
    """
    used = dense.any(axis=1)
    length = max(1, int(used.sum(axis=1).max()))
    columns = np.argsort(~used, axis=1, kind="stable")[:, :length]
    columns = np.where(np.take_along_axis(used, columns, 1), columns, columns[:, :1]).astype(np.int32)
    weights = np.take_along_axis(dense, columns[:, None, :], 2)
    counts = used.sum(axis=1)
    weights[np.broadcast_to(np.arange(length) >= counts[:, None, None], weights.shape)] = 0.0
    return weights, columns


def _inverse(rows: np.ndarray, features: int) -> np.ndarray:
    """For every output feature its place in the flattened tiles."""
    place = np.empty(features, dtype=np.int32)
    place[rows.reshape(-1)] = np.arange(rows.size)
    return place


def _to_panels(snippet: Snippet, op: ir.OpView, value: str) -> str:
    shape, (panel, _) = list(op.x.type.shape), op.layout.tile()
    batch, tokens, features = shape
    panels = -(-tokens // panel)
    padded = [batch, panels * panel, features]
    if padded != shape:
        zero = snippet.constant(0.0)
        value = snippet.line(
            f"tensor.pad {value} low[0, 0, 0] high[0, {padded[1] - tokens}, 0] {{\n"
            "  ^bb0(%i: index, %j: index, %k: index):\n"
            f"    tensor.yield {zero} : f32\n  }} : {tensor(shape)} to {tensor(padded)}"
        )
    cut = [batch, panels, panel, features]
    value = snippet.line(
        f"tensor.expand_shape {value} [[0], [1, 2], [3]] output_shape {cut} : {tensor(padded)} into {tensor(cut)}"
    )
    element, lines = str(op.result.type.element_type), ["%a"]
    if element == "f16":
        lines = [*as_f16("%h", "%a"), "%h"]
    whole = [(value, tensor(cut), "bptf")]
    return snippet.generic("bpft", whole, "bpft", [batch, panels, features, panel], lines, element=element)


def _from_panels(snippet: Snippet, op: ir.OpView, value: str) -> str:
    shape, element = list(op.x.type.shape), str(op.x.type.element_type)
    batch, panels, features, panel = shape
    cut = [batch, panels, panel, features]
    lines = ["%a"] if element == "f32" else [*as_f32("%w", "%a", element), "%w"]
    value = snippet.generic("bptf", [(value, tensor(shape, element), "bpft")], "bptf", cut, lines)
    padded = [batch, panels * panel, features]
    value = snippet.line(f"tensor.collapse_shape {value} [[0], [1, 2], [3]] : {tensor(cut)} into {tensor(padded)}")
    result = list(op.result.type.shape)
    if result != padded:
        sizes = ", ".join(map(str, result))
        value = snippet.line(
            f"tensor.extract_slice {value}[0, 0, 0] [{sizes}] [1, 1, 1] : {tensor(padded)} to {tensor(result)}"
        )
    return value


def _packed_linear(op: ir.OpView, names: dict[str, str], snippet: Snippet, arrays: dict[str, np.ndarray]) -> str:
    """Gather, contraction and row order of a token-major packed layer; `arrays` are those of the rectangle."""
    shape, x = list(op.result.type.shape), list(op.x.type.shape)
    # All leading dimensions count as tokens here.
    tokens = int(np.prod(x[:-1], dtype=np.int64))
    flat = [tokens, x[-1]]
    value = names["x"]
    groups = f"[[{', '.join(map(str, range(len(x) - 1)))}], [{len(x) - 1}]]"
    if len(x) > 2:
        value = snippet.line(f"tensor.collapse_shape {value} {groups} : {tensor(x)} into {tensor(flat)}")
    tiles, rows, length = arrays["weights"].shape
    index = ["%k = arith.index_cast %a : i32 to index", "%t = linalg.index 2 : index"]
    gathered = [tiles, length, tokens]
    gather = snippet.generic(
        "nct",
        [(names["lists"], tensor([tiles, length], "i32"), "nc")],
        "nct",
        gathered,
        [*index, f"%v = tensor.extract {value}[%t, %k] : {tensor(flat)}", "%v"],
    )
    element = str(op.values.type.element_type)
    weight = "%a" if element == "f32" else "%w"
    product = snippet.generic(
        "nrtc",
        [(names["weights"], tensor([tiles, rows, length], element), "nrc"), (gather, tensor(gathered), "nct")],
        "nrt",
        [tiles, rows, tokens],
        [
            *as_f32("%w", "%a", element),
            f"%p = arith.mulf {weight}, %b : f32",
            "%s = arith.addf %acc, %p : f32",
            "%s",
        ],
        start=0.0,
    )
    every, whole = [tiles * rows, tokens], [tiles, rows, tokens]
    product = snippet.line(f"tensor.collapse_shape {product} [[0, 1], [2]] : {tensor(whole)} into {tensor(every)}")
    ordered = snippet.generic(
        "tn",
        [(names["place"], tensor(shape[-1:], "i32"), "n")],
        "tn",
        [tokens, shape[-1]],
        [
            "%r = arith.index_cast %a : i32 to index",
            "%t = linalg.index 0 : index",
            f"%v = tensor.extract {product}[%r, %t] : {tensor(every)}",
            "%v",
        ],
    )
    if len(x) > 2:
        text = f"tensor.expand_shape {ordered} {groups} output_shape {shape} : {tensor([tokens, shape[-1]])} into "
        ordered = snippet.line(text + tensor(shape))
    return epilogue(snippet, op, ordered, names, shape)


@dataclasses.dataclass(frozen=True)
class ConvertSparsityToLinalg(Pass):
    """Lowers every op of the dialect but weights and dispatches to linalg: the portable path."""

    name = "convert-sparsity-to-linalg"

    def run(self, module: ir.Module, context: PassContext) -> None:
        for op in walk(module, "sparsity.sliced_linear"):
            leave_slices(op, context)
        for op in walk(module, *_PACKED, "sparsity.to_panels", "sparsity.from_panels", *LOWERINGS):
            layout = layout_of(op)
            if layout is not None and layout.tile()[1] != 1 and op.operation.name not in BYTES:
                raise PassFailure(op, f"expected a layout with inner = 1, found inner = {layout.tile()[1]}")
        for op in walk(module, "sparsity.packed_linear", *LOWERINGS):
            if layout_of(op) is not None and op.IN_PANELS:
                leave_panels(op)
        made: list[str] = []
        for op in walk(module, *_PACKED, "sparsity.to_panels", "sparsity.from_panels", *LOWERINGS):
            half = op.operation.name == "sparsity.to_panels" and isinstance(op.result.type.element_type, ir.F16Type)
            if str(op.result.type.element_type) != "f32" and op.operation.name not in BYTES and not half:
                raise PassFailure(op, f"expected f32, found {op.result.type.element_type}")
            with op.location, ir.InsertionPoint(op):
                self._lower(module, op, f"sparsity_linalg_{len(made)}", context)
            made.append(f"sparsity_linalg_{len(made)}")
            context.count("ops-lowered")
        if made:
            passmanager.PassManager.parse("builtin.module(inline)", module.context).run(module.operation)
        for function in walk(module, "func.func"):
            if ir.StringAttr(function.attributes["sym_name"]).value in made:
                function.operation.erase()

    def _lower(self, module: ir.Module, op: ir.OpView, name: str, context: PassContext) -> None:
        operands = operands_by_name(op)
        kind = op.operation.name
        arrays: dict[str, np.ndarray] = {}
        if kind in _PACKED:
            arrays = self._rectangle(op, context)
            weight = weight_behind(op.values)
            symbol = (symbol_of(weight) or "literal").removesuffix("/values").removesuffix("/joined")
            kept = {n: v for n, v in operands.items() if n in ("x", "bias", "residual", "scales", "pixels")}
            made = {n: make_weight(a, f"{symbol}/{n}", context.weights, weight).result for n, a in arrays.items()}
            operands = {**kept, **made}
        elif kind == "sparsity.quantized_linear":
            operands = dense_bytes(op, context)
        snippet = Snippet(name, [str(value.type) for value in operands.values()])
        names = dict(zip(operands, snippet.arguments, strict=True))
        if kind == "sparsity.packed_linear":
            result = _packed_linear(op, names, snippet, arrays)
        elif kind == "sparsity.packed_conv":
            result = packed_conv(snippet, op, names, arrays)
        elif kind == "sparsity.to_panels":
            result = _to_panels(snippet, op, names["x"])
        elif kind == "sparsity.from_panels":
            result = _from_panels(snippet, op, names["x"])
        else:
            result = LOWERINGS[kind](snippet, op, names)
        parsed = ir.Module.parse(snippet.finish(result, str(op.result.type)), module.context)
        function = parsed.body.operations[0].operation
        function.detach_from_parent()
        module.body.append(function)
        call = func.CallOp([op.result.type], ir.FlatSymbolRefAttr.get(name), list(operands.values()))
        op.result.replace_all_uses_with(call.results[0])
        op.operation.erase()

    def _rectangle(self, op: ir.OpView, context: PassContext) -> dict[str, np.ndarray]:
        arrays = known_arrays(op, ("values", "columns", "segments", "offsets", "rows"), context)
        convolution = op.operation.name == "sparsity.packed_conv"
        width, places = op.x.type.shape[-1], None
        if convolution:
            # Of the many places in x few are read.
            places, arrays["columns"] = np.unique(arrays["columns"], return_inverse=True)
            width = len(places)
        dense = unpack_rows(arrays, row_masks_of(op), width)
        weights, lists = rectangle(dense)
        if places is not None:
            lists = places[lists].astype(np.int32)
        features = op.result.type.shape[1 if convolution else -1]
        context.count("rectangle-values", weights.size)
        context.count("rectangle-padding", int(weights.size - np.count_nonzero(weights)))
        return {"weights": weights, "lists": lists, "place": _inverse(arrays["rows"], features)}
