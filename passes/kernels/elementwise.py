"""Kernels of norms, `sparsity.activation`, `sparsity.gated` and `sparsity.add` in feature-major panels."""

from collections.abc import Callable

from torch_mlir import ir
from torch_mlir.dialects import arith, math, memref, vector

from secateur.dialects.sparsity.rules import layout_of

from .build import Lanes, Value, add, index, largest_divisor, loop
from .plan import Plan, fits_panels


def plan_layer_norm(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel for vectors of `lanes`; None where the op is not in panels of whole vectors."""
    return _plan(op, lanes, build_layer_norm, "layer_norm")


def plan_pointwise(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel of an activation, gated unit or addition, as `plan_layer_norm` has it."""
    kind = op.kind.value if "kind" in op.attributes else "add"
    return _plan(op, lanes, build_pointwise, f"gated_{kind}" if op.operation.name == "sparsity.gated" else kind)


def plan_rms_norm(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel, as `plan_layer_norm` has it."""
    return _plan(op, lanes, build_rms_norm, "rms_norm")


def _plan(op: ir.OpView, lanes: Lanes, build: Callable[..., None], name: str) -> Plan | None:
    if not fits_panels(op, lanes.width):
        return None
    batch, panels, features, tokens = layout_of(op).sizes(op.result.type.shape)
    return Plan(build, f"{name}_{features}", [1, panels, batch], largest_divisor(tokens // lanes.width, 4))


def build_layer_norm(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int
) -> None:
    """Tokens are the lanes, block by block. `place` is (0, panel, batch)."""
    _, panel, batch = place
    tokens = layout_of(op).tile()[0]

    def token_block(token: Value, _: list[Value]) -> list[Value]:
        normalise_tokens(op, arguments, [batch, panel], token, lanes, vectors)
        return []

    loop(0, tokens, vectors * lanes.width, [], token_block)


def normalise_tokens(
    op: ir.OpView, a: dict[str, Value], outer: list[Value], token: Value, lanes: Lanes, vectors: int
) -> None:
    """Layer norm of `vectors` vectors of tokens from `token` on, of the panel `outer` (batch, panel): mean, then
    variance about the mean, then the normalised values, each one sweep over the features.

    The first sweep sums distances to the first feature: equal features have exactly their own value as the mean,
    whatever their number (a shifted mean: Chan, Golub, LeVeque, The American Statistician 37(3), 1983). It leaves
    `x + residual` in the result, where the other sweeps find it.
    """
    batch, panel = outer
    _, _, features, _ = layout_of(op).sizes(op.x.type.shape)
    js = range(vectors)
    together = largest_divisor(features, 2)
    source = a["result"] if "residual" in a else a["x"]
    at = [add(token, j * lanes.width) for j in js]

    def read(memory: Value, feature: Value, j: int) -> Value:
        return lanes.load(memory, [batch, panel, feature, at[j]])

    def read_sum(feature: Value, j: int) -> Value:
        x = read(a["x"], feature, j)
        return arith.addf(x, read(a["residual"], feature, j)) if "residual" in a else x

    def sweep(carried: list[Value], body: Callable[[Value, list[Value]], list[Value]]) -> list[Value]:
        def several(feature: Value, values: list[Value]) -> list[Value]:
            for i in range(together):
                values = body(add(feature, i), values)
            return values

        return loop(0, features, together, carried, several)

    zeros = [lanes.constant(0.0)] * vectors
    fraction = lanes.constant(1.0 / features)
    firsts = [read_sum(index(0), j) for j in js]

    def total(feature: Value, sums: list[Value]) -> list[Value]:
        values = [read_sum(feature, j) for j in js]
        if "residual" in a:
            for j in js:
                lanes.store(values[j], a["result"], [batch, panel, feature, at[j]])
        return [arith.addf(sums[j], arith.subf(firsts[j], values[j])) for j in js]

    distances = sweep(zeros, total)
    means = [arith.subf(firsts[j], arith.mulf(distances[j], fraction)) for j in js]

    def below_mean(feature: Value, j: int) -> Value:
        # Memory on the right of a subtraction is an operand of the instruction on x86.
        return arith.subf(means[j], read(source, feature, j))

    def squares(feature: Value, sums: list[Value]) -> list[Value]:
        below = [below_mean(feature, j) for j in js]
        return [vector.fma(below[j], below[j], sums[j]) for j in js]

    variances = [arith.mulf(s, fraction) for s in sweep(zeros, squares)]
    epsilon, minus_one = lanes.constant(op.epsilon.value), lanes.constant(-1.0)
    scales = [arith.divf(minus_one, math.sqrt(arith.addf(v, epsilon))) for v in variances]

    def normalise(feature: Value, _: list[Value]) -> list[Value]:
        weight, bias = (lanes.spread(memref.load(a[name], [feature])) for name in ("weight", "bias"))
        for j in js:
            value = vector.fma(arith.mulf(below_mean(feature, j), scales[j]), weight, bias)
            lanes.store(value, a["result"], [batch, panel, feature, at[j]])
        return []

    sweep([], normalise)


def build_pointwise(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int) -> None:
    """`sparsity.activation`, `gated` and `add`, vector by vector. `place` is (0, panel, batch)."""
    _, panel, batch = place
    a = arguments
    _, _, features, tokens = layout_of(op).sizes(op.result.type.shape)

    def feature_body(feature: Value, _: list[Value]) -> list[Value]:
        def token_body(token: Value, _: list[Value]) -> list[Value]:
            for j in range(vectors):
                at = [batch, panel, feature, add(token, j * lanes.width)]
                if op.operation.name == "sparsity.add":
                    value = arith.addf(lanes.load(a["lhs"], at), lanes.load(a["rhs"], at))
                elif op.operation.name == "sparsity.gated":
                    value = arith.mulf(
                        lanes.activate(op.kind.value, lanes.load(a["gate"], at)), lanes.load(a["up"], at)
                    )
                else:
                    value = lanes.activate(op.kind.value, lanes.load(a["x"], at))
                lanes.store(value, a["result"], at)
            return []

        loop(0, tokens, vectors * lanes.width, [], token_body)
        return []

    loop(0, features, 1, [], feature_body)


def build_rms_norm(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int) -> None:
    """Tokens are the lanes, block by block: the squares, then the results. `place` is (0, panel, batch)."""
    _, panel, batch = place
    a, js = arguments, range(vectors)
    _, _, features, tokens = layout_of(op).sizes(op.x.type.shape)

    def token_block(token: Value, _: list[Value]) -> list[Value]:
        at = [add(token, j * lanes.width) for j in js]

        def squares(feature: Value, sums: list[Value]) -> list[Value]:
            values = [lanes.load(a["x"], [batch, panel, feature, at[j]]) for j in js]
            return [vector.fma(values[j], values[j], sums[j]) for j in js]

        sums = loop(0, features, 1, [lanes.constant(0.0)] * vectors, squares)
        fraction, epsilon, one = (lanes.constant(value) for value in (1.0 / features, op.epsilon.value, 1.0))
        scales = [arith.divf(one, math.sqrt(vector.fma(s, fraction, epsilon))) for s in sums]

        def scale(feature: Value, _: list[Value]) -> list[Value]:
            weight = lanes.spread(memref.load(a["weight"], [feature]))
            for j in js:
                place = [batch, panel, feature, at[j]]
                lanes.store(arith.mulf(arith.mulf(lanes.load(a["x"], place), scales[j]), weight), a["result"], place)
            return []

        loop(0, features, 1, [], scale)
        return []

    loop(0, tokens, vectors * lanes.width, [], token_block)
