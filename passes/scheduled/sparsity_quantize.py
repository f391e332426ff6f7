"""Stores packed weights and embedding tables as f16, or as int8 with a scale per row.

before:
    %v = "sparsity.weight"() {source = "fc.weight/values"} : () -> tensor<9216xf32>
    %y = "sparsity.packed_linear"(%x, %v, %columns, %segments, %offsets, %rows, %work, %b) {...}
with `sparsity.numbers = #sparsity.numbers<{weights = "int8", ...}>` on the second; after:
    %v = "sparsity.weight"() {source = "fc.weight/values/int8"} : () -> tensor<9232xi8>
    %s = "sparsity.weight"() {source = "fc.weight/values/scales"} : () -> tensor<768xf32>
    %y = "sparsity.packed_linear"(%x, %v, %columns, %segments, %offsets, %rows, %work, %b, %s) {...}

Each op is stored in the format that `sparsity-number-format` noted on it (`dialects/number_formats` has a file a
format); ops without one stay f32. Which weights are stored does not change: one that rounds to zero stays in its place.
Activations, biases and what kernels compute stay f32, unless the arithmetic is f16: then layers of many tokens whose
tiles have one column list multiply and sum a run of columns in f16 (`sparsity.half_sums`; the kernels of others would
convert more than they multiply), on GPUs where that is faster than f32.
Statistics: what was quantised, values and bytes before and after, layers with sums in f16, and of the largest error of
a weight, in units of the largest weight of its row, the parts in a million.

Preconditions: packed arrays and tables are `sparsity.weight`s of f32; others are left alone (counted). Rationale: only
  known numbers can be converted.
  every weight is finite, and with f16 at most 65504 (`PassFailure` with its name). Rationale: a number that the format
    does not hold would become infinite.
"""

import dataclasses

import numpy as np
from torch_mlir import ir

from secateur.dialects.number_formats import QuantizationError, Storage, largest_relative_error
from secateur.dialects.sparsity.attributes import NUMBERS
from secateur.dialects.sparsity.ops import OPS
from secateur.dialects.sparsity.ops.packed_linear import HALF_SUMS, VALUES_PADDING
from secateur.dialects.sparsity.ops.weight import make_weight, symbol_of, weight_behind
from secateur.dialects.sparsity.packed_tiles import row_masks_of
from secateur.dialects.sparsity.rules import features_of, layout_of

from ..base import Pass, PassContext, PassFailure, walk
from ..target import target_of

_OPS = tuple(name for name, op in OPS.items() if op.STORED and op.STORED[1])
_LARGEST_ERROR = "largest-error-ppm"


@dataclasses.dataclass
class _Rows:
    """Of `count` rows, the one that each stored number belongs to: `of` broadcasts against `numbers[used]`.

    `scales_at` makes the op's operand of scales by row.
    """

    count: int
    of: np.ndarray
    used: np.ndarray | slice = dataclasses.field(default_factory=lambda: slice(None))
    scales_at: np.ndarray | slice = dataclasses.field(default_factory=lambda: slice(None))


def rows_of_values(op: ir.OpView, segments: np.ndarray, offsets: np.ndarray, rows: np.ndarray) -> _Rows:
    """Positions in the values of a `packed_linear` that tiles use, and the row of each; see that op for the arrays."""
    masks = row_masks_of(op)
    members = np.zeros((len(masks), op.row_tile.value), np.int64)
    for s, mask in enumerate(masks):
        found = [i for i in range(mask.bit_length()) if mask >> i & 1]
        members[s, : len(found)] = found
    ones = np.array([mask.bit_count() for mask in masks])
    sizes = (segments[..., 1] - segments[..., 0]).astype(np.int64) * ones
    starts = offsets[:, None] + np.cumsum(sizes, axis=1) - sizes
    flat = sizes.reshape(-1)
    segment = np.repeat(np.arange(flat.size), flat)
    within = np.arange(len(segment)) - np.repeat(np.cumsum(flat) - flat, flat)
    tile, s = np.divmod(segment, len(masks))
    row = rows[tile, members[s, within % ones[s]]].astype(np.int64)
    return _Rows(int(rows.max()) + 1, row, starts.reshape(-1)[segment] + within)


@dataclasses.dataclass(frozen=True)
class SparsityQuantize(Pass):
    """Stores packed weights and embedding tables in the format that is noted on them."""

    name = "sparsity-quantize"

    def run(self, module: ir.Module, context: PassContext) -> None:
        target = target_of(module)
        sums_in_half = not target.threads or bool(target.half_products)
        for op in walk(module, *_OPS):
            field, _ = op.STORED
            if NUMBERS not in op.operation.attributes or str(getattr(op, field).type.element_type) != "f32":
                continue
            weight, rows = weight_behind(getattr(op, field)), self._rows(op, context)
            if weight is None or rows is None:
                context.count("left-in-f32")
                continue
            self._quantize(op, weight, rows, sums_in_half, context)

    def _rows(self, op: ir.OpView, context: PassContext) -> _Rows | None:
        """The rows of the op's stored numbers; None where its arrays are not known."""
        if op.operation.name == "sparsity.embedding":
            entries = op.table.type.shape[0]
            return _Rows(entries, np.arange(entries)[:, None])
        packed = op.operation.name == "sparsity.packed_linear"
        names = ("segments", "offsets", "rows") if packed else ("offsets", "rows")
        weights = [weight_behind(getattr(op, name)) for name in names]
        if any(weight is None for weight in weights):
            return None
        arrays = [context.array(weight) for weight in weights]
        rows, last = arrays[-1], features_of(op, op.result) - 1
        if rows.min() < 0 or rows.max() > last:
            raise PassFailure(op, f"expected rows from 0 to {last}, found {rows.min()} to {rows.max()}")
        if packed:
            if (
                (np.diff(arrays[0], axis=-1) < 0).any()
                or arrays[0].min() < 0
                or arrays[0].max() > op.columns.type.shape[0]
            ):
                raise PassFailure(op, f"expected segments inside its {op.columns.type.shape[0]} columns")
            found = rows_of_values(op, *arrays)
            if found.used.size and not 0 <= found.used.min() <= found.used.max() < op.values.type.shape[0]:
                raise PassFailure(op, f"expected offsets inside its {op.values.type.shape[0]} values")
            return found
        offsets, _ = arrays
        if offsets[0] < 0 or (np.diff(offsets) < 0).any() or offsets[-1] > op.values.type.shape[0]:
            raise PassFailure(op, f"expected offsets that grow to {op.values.type.shape[0]} at most, found {offsets}")
        of = np.zeros(op.values.type.shape, np.int64)
        of[: offsets[-1]] = np.repeat(rows, np.diff(offsets), axis=0)
        return _Rows(int(rows.max()) + 1, of, scales_at=rows)

    def _quantize(
        self, op: ir.OpView, weight: ir.OpView, rows: _Rows, sums_in_half: bool, context: PassContext
    ) -> None:
        array, symbol = context.array(weight), symbol_of(weight) or "literal"
        numbers = op.operation.attributes[NUMBERS]
        storage, arithmetic = numbers.format().storage, numbers.format().arithmetic
        try:
            storage.check(array)
        except QuantizationError as error:
            raise PassFailure(op, f"{error} in '{_plain(symbol)}'") from None
        packed = op.operation.name == "sparsity.packed_linear"
        used = array[rows.used]
        largest = np.zeros(rows.count, np.float32)
        np.maximum.at(largest, np.broadcast_to(rows.of, used.shape), np.abs(used))
        scales = storage.scales(largest)
        by_number = None if scales is None else scales[rows.of]
        stored = np.zeros(array.size + VALUES_PADDING if packed else array.shape, storage.dtype)
        stored[rows.used] = storage.store(used, by_number)
        read = storage.read(stored[rows.used], by_number)
        made = {storage.name: stored} | ({} if scales is None else {"scales": scales[rows.scales_at]})
        context.count("tables" if op.operation.name == "sparsity.embedding" else "layers")
        context.count("values", used.size)
        context.count("bytes-before", array.nbytes)
        context.count("bytes-after", sum(a.nbytes for a in made.values()))
        error = round(1e6 * largest_relative_error(used, read, largest[rows.of]))
        context.statistics[_LARGEST_ERROR] = max(context.statistics[_LARGEST_ERROR], error)
        half_sums = numbers.values().get("half_sums", arithmetic.half_sums) if sums_in_half else 0
        if half_sums and packed and len(op.row_masks) == 1 and layout_of(op) is not None:
            op.operation.attributes[HALF_SUMS] = ir.IntegerAttr.get(ir.IntegerType.get_signless(64), half_sums)
            context.count("layers-with-sums-in-f16")
        _replace(op, symbol, weight, stored, made.get("scales"), storage, context)


def _plain(symbol: str) -> str:
    """The name of the weight that was packed."""
    for suffix in ("/values", "/joined", "/slices"):
        symbol = symbol.removesuffix(suffix)
    return symbol


def _replace(
    op: ir.OpView,
    symbol: str,
    weight: ir.OpView,
    stored: np.ndarray,
    scales: np.ndarray | None,
    storage: Storage,
    context: PassContext,
) -> None:
    """Gives `op` the `stored` weights instead of `weight`, and their scales."""
    field, scales_field = op.STORED
    with op.location, ir.InsertionPoint(op):
        changed = {field: make_weight(stored, f"{symbol}/{storage.name}", context.weights, weight).result}
        if scales is not None:
            changed[scales_field] = make_weight(scales, f"{symbol}/scales", context.weights, weight).result
        # A layer that multiplies bytes keeps its note for sparsity-quantize-activations.
        of_bytes = op.operation.attributes[NUMBERS].format().arithmetic.rounds_activations
        new = op.rebuild(**changed, **({} if of_bytes else {NUMBERS: None}))
    op.result.replace_all_uses_with(new.result)
    op.operation.erase()
    if next(iter(weight.result.uses), None) is None:
        weight.operation.erase()
