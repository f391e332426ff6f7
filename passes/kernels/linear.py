"""The kernel of `sparsity.packed_linear`: many tokens at once, one column list for the rows of a tile.

Feature-major panels make a kept weight column a contiguous run of tokens of `x`. Per tile of rows and
per block of tokens the sums stay in registers; a column costs one index, `token_vectors` loads of `x`
and, per row that uses it, one broadcast of a weight folded into the multiply-add.
"""

from torch_mlir import ir
from torch_mlir.dialects import arith, vector

from secateur.dialects.sparsity.packed_ops import row_masks_of
from secateur.dialects.sparsity.structural_ops import activation_of

from .build import Lanes, Value, add, index, load_index, loop


def bits(mask: int) -> list[int]:
    """Positions of the ones of `mask`, lowest first."""
    return [i for i in range(mask.bit_length()) if mask >> i & 1]


def build_linear(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int) -> None:
    """Adds the kernel's body. `place` is (workgroup, panel, batch); a workgroup computes the row tiles
    `work[w] .. work[w + 1]` for one panel. `vectors` of `lanes.width` tokens are held per row.
    """
    workgroup, panel, batch = place
    a = arguments
    tokens = op.result.type.shape[3]
    masks, row_tile = row_masks_of(op), op.row_tile.value
    activation = activation_of(op)

    def tile_body(tile: Value, _: list[Value]) -> list[Value]:
        bounds = [
            [load_index(a["segments"], tile, index(s), index(end)) for end in range(2)] for s in range(len(masks))
        ]
        first = load_index(a["offsets"], tile)
        rows = [load_index(a["rows"], tile, index(i)) for i in range(row_tile)]

        def token_body(token: Value, _: list[Value]) -> list[Value]:
            at = [add(token, j * lanes.width) for j in range(vectors)]
            sums = [[lanes.constant(0.0)] * vectors for _ in range(row_tile)]
            if "bias" in a:
                sums = [[lanes.spread_load(a["bias"], [row])] * vectors for row in rows]
            weight = first
            for s, mask in enumerate(masks):
                used = bits(mask)
                weight = segment(*bounds[s], weight, used, sums, at)
            for row, row_sums in zip(rows, sums, strict=True):
                for j, total in enumerate(row_sums):
                    value = lanes.activate(activation, total)
                    if "residual" in a:
                        value = arith.addf(value, lanes.load(a["residual"], [batch, panel, row, at[j]]))
                    lanes.store(value, a["result"], [batch, panel, row, at[j]])
            return []

        loop(0, tokens, vectors * lanes.width, [], token_body)
        return []

    def segment(
        start: Value, stop: Value, weight: Value, used: list[int], sums: list[list[Value]], at: list[Value]
    ) -> Value:
        """Columns that exactly the rows `used` need; updates their sums, returns the next weight's place."""

        def column_body(column: Value, carried: list[Value]) -> list[Value]:
            source = load_index(a["columns"], column)
            place = carried[-1]
            x = [lanes.load(a["x"], [batch, panel, source, token]) for token in at]
            new = []
            for n in range(len(used)):
                w = lanes.spread_load(a["values"], [add(place, n)])
                new += [vector.fma(w, x[j], carried[n * vectors + j]) for j in range(vectors)]
            return [*new, add(place, len(used))]

        carried = [total for i in used for total in sums[i]]
        *new, place = loop(start, stop, 1, [*carried, weight], column_body)
        for n, i in enumerate(used):
            sums[i] = new[n * vectors : (n + 1) * vectors]
        return place

    loop(load_index(a["work"], workgroup), load_index(a["work"], add(workgroup, 1)), 1, [], tile_body)
