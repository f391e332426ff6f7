"""What a level-3 op has to do: operations and bytes of memory, counted from shapes and packed arrays.

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
    quantized_linear     as packed_linear, and 2 * F * T for the scales; on bytes: 2 * kept * T
    quantized_attention  heads * T * (K * (2 * depth + 2 * value depth + 9 + bias) + 3 * depth + 2 * value depth); on
                         bytes: heads * T * K * (2 * depth + 2 * value depth)

`byte_flops` are those on bytes: products and the sums of them. All others are in floats.
`padding_flops` is what the kernel computes beside that: packed zeros, repeated rows, tokens that fill the last panel.
Bytes count every array once, however often a kernel reads it: the traffic that no cache can save.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from secateur.dialects.entry_points import MAIN
from secateur.dialects.locations import module_paths
from secateur.dialects.sparsity.operation import SparsityOp
from secateur.dialects.sparsity.ops import OPS
from secateur.dialects.sparsity.work_parts import Tokens
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import functions, operands_by_name, walk

if TYPE_CHECKING:
    from torch_mlir import ir

    from secateur.runtime_targets.iree.dispatches import DispatchCall
    from secateur.runtime_targets.manifest import DispatchWork

COUNTED = tuple(name for name, op in OPS.items() if op.flops is not SparsityOp.flops)
"""The ops whose work is known."""


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of one op: operations that the result needs, operations on padding, bytes by what they are, and which
    of the needed operations are on bytes.
    """

    flops: int
    padding_flops: int
    weight_bytes: int
    index_bytes: int
    read_bytes: int
    written_bytes: int
    byte_flops: int = 0


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
    """The work of one of `COUNTED`. `tokens` as `real_tokens` finds them; None: the last panels are full.

    Raises `WeightError` where a packed array is missing from `weights`.
    """
    flops = op.flops(weights, tokens or {})
    kinds = {"weight": 0, "index": 0, "read": 0}
    seen = set()
    for name, value in operands_by_name(op).items():
        # Query, key and value may be one tensor.
        if value not in seen:
            seen.add(value)
            kinds["index" if name in op.INDICES else "weight" if name in op.CONSTANTS else "read"] += _bytes(value.type)
    return Work(
        flops=flops.needed,
        padding_flops=flops.computed - flops.needed,
        weight_bytes=kinds["weight"],
        index_bytes=kinds["index"],
        read_bytes=kinds["read"],
        written_bytes=_bytes(op.result.type),
        byte_flops=flops.on_bytes,
    )


@dataclasses.dataclass(frozen=True)
class LocatedWork:
    """The work of an op, the modules of the model it stands for, and the type of its result."""

    paths: tuple[str, ...]
    result: str
    work: Work


def work_of_module(module: "ir.Module", weights: WeightStore) -> list[LocatedWork]:
    """The work of every op of `COUNTED` in `@main` of a level-3 module, in program order."""
    tokens = real_tokens(module)
    mains = [f for f in functions(module) if f.operation.attributes["sym_name"].value == MAIN]
    return [
        LocatedWork(module_paths(op.location), str(op.result.type), work_of(op, weights, tokens))
        for main in mains
        for op in walk(main, *COUNTED)
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
