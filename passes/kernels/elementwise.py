"""Kernels of `sparsity.layer_norm`, `sparsity.activation` and `sparsity.add` in feature-major panels."""

from torch_mlir import ir
from torch_mlir.dialects import arith, math, memref, vector

from .build import Lanes, Value, add, loop


def build_layer_norm(
    op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int
) -> None:
    """Tokens are the lanes: mean, then variance about the mean, then the normalised values, each one sweep
    over the features. `place` is (0, panel, batch).
    """
    _, panel, batch = place
    a = arguments
    _, _, features, tokens = op.x.type.shape
    js = range(vectors)

    def token_block(token: Value, _: list[Value]) -> list[Value]:
        at = [add(token, j * lanes.width) for j in js]

        def read(feature: Value, j: int) -> Value:
            x = lanes.load(a["x"], [batch, panel, feature, at[j]])
            if "residual" in a:
                x = arith.addf(x, lanes.load(a["residual"], [batch, panel, feature, at[j]]))
            return x

        zeros = [lanes.constant(0.0)] * vectors
        fraction = lanes.constant(1.0 / features)

        def total(feature: Value, sums: list[Value]) -> list[Value]:
            return [arith.addf(sums[j], read(feature, j)) for j in js]

        means = [arith.mulf(s, fraction) for s in loop(0, features, 1, zeros, total)]

        def squares(feature: Value, sums: list[Value]) -> list[Value]:
            deviations = [arith.subf(read(feature, j), means[j]) for j in js]
            return [vector.fma(deviations[j], deviations[j], sums[j]) for j in js]

        variances = [arith.mulf(s, fraction) for s in loop(0, features, 1, zeros, squares)]
        epsilon, one = lanes.constant(op.epsilon.value), lanes.constant(1.0)
        scales = [arith.divf(one, math.sqrt(arith.addf(v, epsilon))) for v in variances]

        def normalise(feature: Value, _: list[Value]) -> list[Value]:
            weight, bias = (lanes.spread(memref.load(a[name], [feature])) for name in ("weight", "bias"))
            for j in js:
                value = arith.mulf(arith.subf(read(feature, j), means[j]), scales[j])
                value = vector.fma(value, weight, bias)
                lanes.store(value, a["result"], [batch, panel, feature, at[j]])
            return []

        loop(0, features, 1, [], normalise)
        return []

    loop(0, tokens, vectors * lanes.width, [], token_block)


def build_pointwise(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int) -> None:
    """`sparsity.activation` and `sparsity.add`, vector by vector. `place` is (0, panel, batch)."""
    _, panel, batch = place
    a = arguments
    _, _, features, tokens = op.result.type.shape

    def feature_body(feature: Value, _: list[Value]) -> list[Value]:
        def token_body(token: Value, _: list[Value]) -> list[Value]:
            for j in range(vectors):
                at = [batch, panel, feature, add(token, j * lanes.width)]
                if op.operation.name == "sparsity.add":
                    value = arith.addf(lanes.load(a["lhs"], at), lanes.load(a["rhs"], at))
                else:
                    value = lanes.activate(op.kind.value, lanes.load(a["x"], at))
                lanes.store(value, a["result"], at)
            return []

        loop(0, tokens, vectors * lanes.width, [], token_body)
        return []

    loop(0, features, 1, [], feature_body)
