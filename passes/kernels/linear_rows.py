"""The kernel of `sparsity.sliced_linear`: few tokens, output rows are the lanes.

A step of a slice reads one vector of weights and multiplies it with `x` at the step's column: one number in all lanes
where the rows of the vector share a column list, one for each lane where each row has a list of its own: by a gather
from the small `x` where the target has one that pays, looked up in a window of it (`lookups`), or one by one.
Every weight is loaded once, in the order in which it lies in memory, and serves all tokens, so that the time is that of
reading the weights. `x` stays token-major: a token's features are one run of memory.
"""

from torch_mlir import ir
from torch_mlir.dialects import arith, memref, scf, vector

from secateur.dialects.sparsity.rules import activation_of

from .build import Lanes, Value, add, index, load_index, loop, mul
from .lookups import LOOKUPS, Windows
from .plan import Plan, schedule_of, stored_as

# Sums that do not wait for each other: enough to hide the latency of a multiply-add.
_INDEPENDENT_SUMS = 4


def _token_block(op: ir.OpView) -> int:
    """Tokens that share each load of a weight: as many as the schedule says (`token_vectors`), or one."""
    return min(op.x.type.shape[0], schedule_of(op).get("token_vectors", 1))


def plan_sliced_linear(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel of a `sliced_linear`, named after the shape of the weight and what follows the product; none where
    the op has windows and the target no lookup for vectors of so many rows.
    """
    if op.starts is not None and not (op.vector_rows.value == lanes.width in LOOKUPS):
        return None
    activation = activation_of(op)
    parts = [f"rows_{op.result.type.shape[1]}x{op.x.type.shape[1]}", activation if activation != "none" else ""]
    name = "_".join(filter(None, [*parts, "residual" if op.residual is not None else ""])) + stored_as(op)
    return Plan(build_sliced_linear, name, [op.work.type.shape[0] - 1, 1, 1], _token_block(op))


def build_sliced_linear(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, block: int
) -> None:
    """Adds the kernel's body. `place` is (workgroup, 0, 0); a workgroup computes the slices `work[w] .. work[w + 1]`
    for all tokens, `block` of them at a time. The vectors are those of the packed weight, whatever `lanes` are.
    """
    workgroup, a, gather = place[0], arguments, lanes.gather
    tokens = op.result.type.shape[0]
    height, width = op.values.type.shape[1], op.vector_rows.value
    lanes, vectors = Lanes(width), height // width
    windows = None if op.starts is None else Windows(op, arguments, lanes)
    source = None if windows else _Source(op, arguments, lanes, gather)
    unroll = schedule_of(op).get("unroll", max(1, _INDEPENDENT_SUMS // (vectors * block)))
    if windows:
        # All steps of a window, and slices end with one.
        unroll = windows.steps

    def slice_body(s: Value, _: list[Value]) -> list[Value]:
        start, stop = (load_index(a["offsets"], at) for at in (s, add(s, 1)))

        def some_tokens(at: list[Value]) -> None:
            """All steps for the tokens `at`; the sums are one vector after the other, token by token."""
            count = len(at) * vectors

            def steps(k: Value, carried: list[Value]) -> list[Value]:
                new = []
                looked_up = windows.read(k, at) if windows else None
                for u in range(len(carried) // count):
                    sums = carried[u * count : (u + 1) * count]
                    weights = [lanes.load_weights(a["values"], [add(k, u), index(v * width)]) for v in range(vectors)]
                    numbers = looked_up[u] if looked_up else source.read(add(k, u), at)
                    new += [vector.fma(weights[i % vectors], x, sums[i]) for i, x in enumerate(numbers)]
                return new

            sums = [lanes.constant(0.0)] * count
            if "slice_bias" in a and "slice_scales" not in a:
                sums = [lanes.load(a["slice_bias"], [s, index(v * width)]) for v in range(vectors)] * len(at)
            middle = start
            if unroll > 1 or windows:
                whole = arith.divui(arith.subi(stop, start), index(unroll))
                middle = arith.addi(start, arith.muli(whole, index(unroll)))
                zeros = [lanes.constant(0.0)] * (count * (unroll - 1))
                partial = loop(start, middle, unroll, [*sums, *zeros], steps)
                sums = [_total(partial[i::count]) for i in range(count)]
            if not windows:
                sums = loop(middle, stop, 1, sums, steps)
            for i, total in enumerate(sums):
                _finish(op, a, lanes, [s, index(i % vectors * width)], at[i // vectors], total)

        def block_body(first: Value, _: list[Value]) -> list[Value]:
            some_tokens([add(first, i) for i in range(block)])
            return []

        whole = tokens // block * block
        loop(0, whole, block, [], block_body)
        if whole < tokens:
            some_tokens([index(token) for token in range(whole, tokens)])
        return []

    loop(load_index(a["work"], workgroup), load_index(a["work"], add(workgroup, 1)), 1, [], slice_body)


class _Source:
    """The vectors of `x` that a step multiplies its weights with."""

    def __init__(self, op: ir.OpView, arguments: dict[str, Value], lanes: Lanes, gather: bool) -> None:
        self._a, self._lanes = arguments, lanes
        height, self._lists = op.values.type.shape[1], op.columns.type.shape[1]
        self._vectors = height // lanes.width
        self._per_row = self._lists == height and lanes.width > 1
        # Elsewhere, columns loaded one by one save the way from vector to address registers, too.
        self._gather_pays = gather
        if self._per_row and gather:
            kind = ir.VectorType.get([lanes.width], ir.IntegerType.get_signless(1))
            self._all = arith.constant(kind, ir.DenseElementsAttr.get_splat(kind, ir.BoolAttr.get(True)))
            self._nothing = lanes.constant(0.0)
            self._features = op.x.type.shape[1]
            # IREE converts only gathers from memory of one dimension to LLVM.
            flat = ir.MemRefType.get([op.x.type.shape[0] * self._features], ir.F32Type.get())
            self._flat_x = memref.collapse_shape(flat, arguments["x"], [[0, 1]])

    def read(self, k: Value, tokens: list[Value]) -> list[Value]:
        """At step `k`: vector by vector, token by token."""
        if self._per_row:
            return self._read_lanes(k, tokens)
        columns = [self._column(k, place) for place in range(self._lists)]
        found = []
        for token in tokens:
            numbers = [self._lanes.spread_load(self._a["x"], [token, column]) for column in columns]
            found += [numbers[v * self._lists // self._vectors] for v in range(self._vectors)]
        return found

    def _read_lanes(self, k: Value, tokens: list[Value]) -> list[Value]:
        width, vectors = self._lanes.width, range(self._vectors)
        if self._gather_pays:
            lists = [self._columns(k, v) for v in vectors]
            return [self._gather(token, columns) for token in tokens for columns in lists]
        lists = [[self._column(k, v * width + i) for i in range(width)] for v in vectors]
        return [
            vector.from_elements(self._lanes.type, [memref.load(self._a["x"], [token, c]) for c in columns])
            for token in tokens
            for columns in lists
        ]

    def _column(self, k: Value, place: int) -> Value:
        return arith.index_castui(ir.IndexType.get(), memref.load(self._a["columns"], [k, index(place)]))

    def _columns(self, k: Value, v: int) -> Value:
        width, i32 = self._lanes.width, ir.IntegerType.get_signless(32)
        element = ir.MemRefType(self._a["columns"].type).element_type
        at = [k, index(v * width)]
        loaded = vector.load(ir.VectorType.get([width], element), self._a["columns"], at)
        return loaded if element == i32 else arith.extui(ir.VectorType.get([width], i32), loaded)

    def _gather(self, token: Value, columns: Value) -> Value:
        first = mul(token, self._features)
        return vector.gather(self._lanes.type, self._flat_x, [first], columns, self._all, self._nothing)


def _total(partial: list[Value]) -> Value:
    """The sum of vectors, added in pairs."""
    while len(partial) > 1:
        pairs = [arith.addf(x, y) for x, y in zip(partial[::2], partial[1::2], strict=False)]
        partial = [*pairs, *partial[len(pairs) * 2 :]]
    return partial[0]


def _finish(op: ir.OpView, a: dict[str, Value], lanes: Lanes, place: list[Value], token: Value, total: Value) -> None:
    """Scales (with the bias), activation, residual and store of the vector at `place` (slice, first row in it)."""
    features = op.result.type.shape[1]
    if "slice_scales" in a:
        scales = lanes.load(a["slice_scales"], place)
        bias = lanes.load(a["slice_bias"], place) if "slice_bias" in a else lanes.constant(0.0)
        total = vector.fma(total, scales, bias)
    total = lanes.activate(activation_of(op), total)

    def one_by_one(count: int) -> None:
        for i in range(count):
            row = load_index(a["rows"], place[0], add(place[1], i))
            value = vector.extract(total, [], [i])
            if "residual" in a:
                value = arith.addf(value, memref.load(a["residual"], [token, row]))
            memref.store(value, a["result"], [token, row])

    if not op.consecutive.value or features < lanes.width:
        one_by_one(lanes.width)
        return
    first = load_index(a["rows"], *place)

    def together() -> None:
        value = total
        if "residual" in a:
            value = arith.addf(value, lanes.load(a["residual"], [token, first]))
        lanes.store(value, a["result"], [token, first])

    left = features % lanes.width
    if left == 0:
        together()
        return
    whole = arith.cmpi(arith.CmpIPredicate.ule, add(first, lanes.width), index(features))
    branch = scf.IfOp(whole, has_else=True)
    with ir.InsertionPoint(branch.then_block):
        together()
        scf.YieldOp([])
    with ir.InsertionPoint(branch.else_block):
        one_by_one(left)
        scf.YieldOp([])
