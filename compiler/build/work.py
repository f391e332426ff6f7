"""What a level-3 op has to do: floating-point operations and bytes, counted from shapes and packed arrays.

An addition, multiplication, division, comparison for a maximum, square root, `exp`, `erf` or `tanh` counts as one
operation, a fused multiply-add as two. The formulas, with T real tokens (those of the model, without the padding of the
last panel), K keys, F features:

    packed_linear    2 * kept * T + epilogue; kept: weights that are not zero, each once (the bias starts the sums)
    sliced_linear    as packed_linear
    epilogue         F * T for a residual, F * T * (operations of the activation)
    attention        heads * T * K * (2 * depth + 2 * value depth + 5 + biases) + heads * T * value depth
                     (softmax: scale, maximum, subtraction, exp and sum per score; one factor per result)
    layer_norm       8 * F * T (mean 1, variance 3, result 4), F * T more for a residual
    activation, add  F * T * (operations of the activation), F * T

`padding_flops` is what the kernel computes beside that: packed zeros, repeated rows, tokens that fill the last panel.
Bytes count every array once, however often a kernel reads it: the traffic that no cache can save.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from secateur.dialects.locations import module_paths
from secateur.dialects.sparsity.attention_op import head_slices
from secateur.dialects.sparsity.packed_ops import row_masks_of
from secateur.dialects.sparsity.structural_ops import activation_of, features_of, layout_of
from secateur.dialects.sparsity.weights import array_of, weight_behind
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import operands_by_name, walk

if TYPE_CHECKING:
    from torch_mlir import ir

    from secateur.runtime_targets.iree.dispatches import DispatchCall
    from secateur.runtime_targets.manifest import DispatchWork

ACTIVATION_FLOPS = {"none": 0, "relu": 1, "tanh": 1, "sigmoid": 3, "silu": 4, "gelu": 5, "gelu_tanh": 9}
"""Operations of an activation per element, `exp`, `erf` and `tanh` as one each."""
_SOFTMAX_FLOPS = 5
_NORM_FLOPS = 8
_INDICES = ("columns", "segments", "offsets", "rows", "work")
_WEIGHTS = ("values", "weight", "bias", "slice_bias", "scales", "slice_scales")
OPS = tuple(
    f"sparsity.{name}" for name in ("packed_linear", "sliced_linear", "attention", "layer_norm", "activation", "add")
)
"""The ops whose work is known."""

Tokens = Mapping[tuple[int, int], int]
"""Real tokens of a sequence by (panels, tokens in a panel)."""


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of one op: operations that the result needs, operations on padding, bytes by what they are."""

    flops: int
    padding_flops: int
    weight_bytes: int
    index_bytes: int
    read_bytes: int
    written_bytes: int


def real_tokens(module: "ir.Module") -> Tokens:
    """How many tokens the panels of a module hold, from the ops that fill and empty them."""
    found: dict[tuple[int, int], int] = {}
    for op in walk(module, "sparsity.to_panels", "sparsity.from_panels"):
        ends = (op.x.type.shape, op.result.type.shape)
        whole, panels = ends if op.operation.name == "sparsity.to_panels" else ends[::-1]
        key = (panels[1], op.layout.tile()[0])
        found[key] = max(found.get(key, 0), whole[1])
    return found


def work_of(op: "ir.OpView", weights: WeightStore, tokens: Tokens | None = None) -> Work:
    """The work of one of `OPS`. `tokens` as `real_tokens` finds them; None: the last panels are full.

    Raises `WeightError` where a packed array is missing from `weights`, `KeyError` for another op.
    """
    real, padded = _counted[op.operation.name](op, weights, tokens or {})
    kinds = {"weight": 0, "index": 0, "read": 0}
    seen = set()
    for name, value in operands_by_name(op).items():
        # Query, key and value may be one tensor.
        if value not in seen:
            seen.add(value)
            constant = name in _INDICES or (name in _WEIGHTS and op.operation.name != "sparsity.attention")
            kinds["index" if name in _INDICES else "weight" if constant else "read"] += _bytes(value.type)
    return Work(
        flops=real,
        padding_flops=padded - real,
        weight_bytes=kinds["weight"],
        index_bytes=kinds["index"],
        read_bytes=kinds["read"],
        written_bytes=_bytes(op.result.type),
    )


@dataclasses.dataclass(frozen=True)
class LocatedWork:
    """The work of an op, the modules of the model it stands for, and the type of its result."""

    paths: tuple[str, ...]
    result: str
    work: Work


def work_of_module(module: "ir.Module", weights: WeightStore) -> list[LocatedWork]:
    """The work of every op of `OPS` in a level-3 module, in program order."""
    tokens = real_tokens(module)
    return [
        LocatedWork(module_paths(op.location), str(op.result.type), work_of(op, weights, tokens))
        for op in walk(module, *OPS)
    ]


def join_work(ops: Sequence[LocatedWork], calls: "Sequence[DispatchCall]") -> "list[DispatchWork]":
    """What a manifest holds of `calls`: work of `ops` for kernels of ours, what IREE's own dispatches read and compute.

    A call has an op for each of its results (more than one where dispatches were chained): the first op of that type
    from a place among the call's that no call had yet. A call of which one is not found has bytes but no operations.
    """
    from secateur.runtime_targets.manifest import DispatchWork

    waiting: dict[str, list[LocatedWork]] = {}
    for op in ops:
        waiting.setdefault(op.result, []).append(op)
    found = []
    for call in calls:
        work = _work_of_call(call, waiting) if call.own else None
        if work is None:
            flops = None if call.own else call.flops
            work = Work(flops or 0, 0, call.weight_bytes, 0, call.read_bytes, call.written_bytes)
        else:
            flops = work.flops
        figures = {**dataclasses.asdict(work), "flops": flops}
        found.append(DispatchWork(kernel=call.kernel, paths=call.paths, **figures))
    return found


def _work_of_call(call: "DispatchCall", waiting: dict[str, list[LocatedWork]]) -> Work | None:
    matches = []
    for result in call.results:
        candidates = waiting.get(result, [])
        match = next((op for op in candidates if _is_among(op.paths, call.paths)), None)
        if match is None:
            return None
        candidates.remove(match)
        matches.append(match.work)
    return Work(*(sum(values) for values in zip(*map(dataclasses.astuple, matches), strict=True)))


def _is_among(paths: tuple[str, ...], of: tuple[str, ...]) -> bool:
    """Whether each path is one of the others, or was left out there for one that it contains."""
    return all(any(other == path or other.startswith(f"{path}.") for other in of) for path in paths)


def _bytes(type_: "ir.Type") -> int:
    elements = 1
    for size in type_.shape:
        elements *= size
    return elements * max(1, type_.element_type.width // 8)


def _tokens(op: "ir.OpView", value: "ir.Value", tokens: Tokens) -> tuple[int, int]:
    """Rows of all sequences of `value`: real ones and with padding."""
    shape = list(value.type.shape)
    layout = layout_of(op)
    if layout is None:
        count = 1
        for size in shape[:-1]:
            count *= size
        return count, count
    batch, panels, _, panel = layout.sizes(shape)
    return batch * tokens.get((panels, panel), panels * panel), batch * panels * panel


def _features(op: "ir.OpView", value: "ir.Value") -> int:
    return features_of(op, value)


def _packed_linear(op: "ir.OpView", weights: WeightStore, tokens: Tokens) -> tuple[int, int]:
    found = [weight_behind(getattr(op, name)) for name in ("values", "segments", "offsets", "rows")]
    if any(weight is None for weight in found):
        size = op.values.type.shape[0]
        kept, computed = size, size
    else:
        values, segments, offsets, rows_of_tiles = (array_of(weight, weights) for weight in found)
        kept, computed = kept_weights(values, segments, offsets, rows_of_tiles, row_masks_of(op))
    rows = _features(op, op.result)
    after = ACTIVATION_FLOPS[activation_of(op)] + (op.residual is not None)
    real, padded = _tokens(op, op.result, tokens)
    tiled = op.rows.type.shape[0] * op.rows.type.shape[1]
    return real * (2 * kept + rows * after), padded * (2 * computed + tiled * after)


def kept_weights(
    values: np.ndarray, segments: np.ndarray, offsets: np.ndarray, rows: np.ndarray, masks: list[int]
) -> tuple[int, int]:
    """Weights of packed tiles that are not zero, each once, and weights that a kernel multiplies by.

    Arrays as in `sparsity.packed_linear`.
    """
    lengths = (segments[..., 1] - segments[..., 0]).astype(np.int64)
    ones = np.array([mask.bit_count() for mask in masks])
    computed = int((lengths * ones).sum())
    # A tile that ends early repeats its last row, with equal weights.
    repeated = np.zeros(rows.shape, bool)
    repeated[:, 1:] = rows[:, 1:] == rows[:, :-1]
    again = 0
    for tile in np.flatnonzero(repeated.any(axis=1)):
        place = int(offsets[tile])
        for mask, length in zip(masks, lengths[tile], strict=True):
            used = [i for i in range(rows.shape[1]) if mask >> i & 1]
            block = values[place : place + length * len(used)].reshape(length, len(used))
            again += int(np.count_nonzero(block[:, repeated[tile, used]]))
            place += length * len(used)
    return int(np.count_nonzero(values)) - again, computed


def _sliced_linear(op: "ir.OpView", weights: WeightStore, tokens: Tokens) -> tuple[int, int]:
    found = [weight_behind(getattr(op, name)) for name in ("values", "offsets", "rows")]
    computed = kept = int(np.prod(op.values.type.shape))
    if all(weight is not None for weight in found):
        values, offsets, rows = (array_of(weight, weights) for weight in found)
        counts = np.zeros(rows.shape, np.int64)
        np.add.at(counts, np.repeat(np.arange(len(rows)), np.diff(offsets)), values[: offsets[-1]] != 0)
        # A slice that ends early repeats rows, with equal weights.
        _, first = np.unique(rows, return_index=True)
        kept = int(counts.reshape(-1)[first].sum())
    after = ACTIVATION_FLOPS[activation_of(op)] + (op.residual is not None)
    count, features = op.result.type.shape
    lanes = int(np.prod(op.rows.type.shape))
    return count * (2 * kept + features * after), count * (2 * computed + lanes * after)


def _attention(op: "ir.OpView", weights: WeightStore, tokens: Tokens) -> tuple[int, int]:
    _, depth, out_depth = head_slices(op)
    heads, batch = op.heads.value, op.query.type.shape[0]
    per_score = 2 * depth + 2 * out_depth + _SOFTMAX_FLOPS + (op.key_bias is not None) + (op.bias is not None)
    queries, keys = _tokens(op, op.query, tokens), _tokens(op, op.key, tokens)
    real, padded = (heads * q * (k // batch * per_score + out_depth) for q, k in zip(queries, keys, strict=True))
    return real, padded


def _elementwise(op: "ir.OpView", tokens: Tokens, flops: int) -> tuple[int, int]:
    real, padded = _tokens(op, op.result, tokens)
    features = _features(op, op.result)
    return real * features * flops, padded * features * flops


_counted = {
    "sparsity.packed_linear": _packed_linear,
    "sparsity.sliced_linear": _sliced_linear,
    "sparsity.attention": _attention,
    "sparsity.layer_norm": lambda op, _, tokens: _elementwise(op, tokens, _NORM_FLOPS + (op.residual is not None)),
    "sparsity.activation": lambda op, _, tokens: _elementwise(op, tokens, ACTIVATION_FLOPS[op.kind.value]),
    "sparsity.add": lambda op, _, tokens: _elementwise(op, tokens, 1),
}
