"""The kernel of `sparsity.packed_linear` on a GPU: a thread computes one tile of rows for one vector of tokens.

Neighbouring threads have neighbouring tokens, so that they read neighbouring memory: a column of `x` in a feature-major
panel is one run of tokens. All threads of a tile walk the same column list, so that no thread waits for another's
branch, and its weights and indices are one address for all of them. There is no shared memory, no barrier and no
subgroup operation: the code is right for any number of lanes.
"""

from torch_mlir import ir
from torch_mlir.dialects import arith, math, vector

from secateur.dialects.sparsity.packed_tiles import row_masks_of
from secateur.dialects.sparsity.rules import activation_of

from ..target import TOKENS_OF_A_THREAD
from .build import Lanes, Value, add, index, load_index, loop, mul
from .linear import bits


def _activate(kind: str, x: Value, lanes: Lanes) -> Value:
    """`kind(x)` by the GPU's own functions. Those for CPUs round with sums that a shader compiler simplifies away."""
    if kind in ("none", "relu"):
        return lanes.activate(kind, x)
    if kind == "tanh":
        return math.tanh(x)
    one = lanes.constant(1.0)
    if kind in ("sigmoid", "silu"):
        numerator = x if kind == "silu" else one
        return arith.divf(numerator, arith.addf(math.exp(arith.negf(x)), one))
    if kind == "gelu":
        inner = math.erf(arith.mulf(x, lanes.constant(0.5**0.5)))
    elif kind == "gelu_tanh":
        cube = arith.addf(arith.mulf(arith.mulf(x, x), lanes.constant(0.044715)), one)
        inner = math.tanh(arith.mulf(arith.mulf(x, lanes.constant(0.7978845608028654)), cube))
    else:
        raise ValueError(f"no kernel for the activation '{kind}'")
    return arith.mulf(arith.mulf(x, lanes.constant(0.5)), arith.addf(inner, one))


def build_gpu_linear(op: ir.OpView, arguments: dict[str, Value], place: list[Value], panels: int) -> None:
    """Adds the kernel's body. `place` is (vector of tokens in the panel, tile, panel of all sequences)."""
    a, lanes = arguments, Lanes(TOKENS_OF_A_THREAD)
    token, tile = mul(place[0], TOKENS_OF_A_THREAD), place[1]
    # Of one sequence the panel is the number itself.
    batch = index(0) if op.result.type.shape[0] == 1 else arith.divui(place[2], index(panels))
    panel = place[2] if op.result.type.shape[0] == 1 else arith.remui(place[2], index(panels))
    masks, row_tile = row_masks_of(op), op.row_tile.value
    # Weights of four rows are one load where every column has weights for all rows.
    in_vectors = masks == [2**row_tile - 1] and row_tile % TOKENS_OF_A_THREAD == 0
    rows = [load_index(a["rows"], tile, index(i)) for i in range(row_tile)]
    biases = [lanes.spread_load(a["bias"], [row]) if "bias" in a else lanes.constant(0.0) for row in rows]
    # Scales come before the bias: then the sums begin at zero.
    sums = [lanes.constant(0.0)] * row_tile if "scales" in a else biases
    weight = load_index(a["offsets"], tile)

    def weights(first: Value, count: int) -> list[Value]:
        if not in_vectors:
            loaded = [lanes.load_weights(a["values"], [add(first, n)], 1) for n in range(count)]
            return [lanes.spread(vector.extract(v, [], [0])) for v in loaded]
        loaded = [lanes.load_weights(a["values"], [add(first, n)]) for n in range(0, count, TOKENS_OF_A_THREAD)]
        return [lanes.spread(vector.extract(v, [], [i])) for v in loaded for i in range(TOKENS_OF_A_THREAD)]

    for s, mask in enumerate(masks):
        used = bits(mask)

        def column(at: Value, carried: list[Value], used: list[int] = used) -> list[Value]:
            *totals, first = carried
            source = load_index(a["columns"], at)
            x = lanes.load(a["x"], [batch, panel, source, token])
            new = [vector.fma(w, x, total) for w, total in zip(weights(first, len(used)), totals, strict=True)]
            return [*new, add(first, len(used))]

        start, stop = (load_index(a["segments"], tile, index(s), index(end)) for end in range(2))
        *new, weight = loop(start, stop, 1, [*(sums[i] for i in used), weight], column)
        for i, total in zip(used, new, strict=True):
            sums[i] = total
    for row, total, bias in zip(rows, sums, biases, strict=True):
        if "scales" in a:
            total = vector.fma(total, lanes.spread_load(a["scales"], [row]), bias)
        value = _activate(activation_of(op), total, lanes)
        if "residual" in a:
            value = arith.addf(value, lanes.load(a["residual"], [batch, panel, row, token]))
        lanes.store(value, a["result"], [batch, panel, row, token])
