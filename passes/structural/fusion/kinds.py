"""What a kind of fusion site is, and what is found at a site."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.ops.weight import encoding_of, weight_behind
from secateur.dialects.sparsity.rules import activation_of
from secateur.passes.base import PassContext

from .readers import known_array

# A byte out of the second-level cache takes a core with wide vectors as long as about this many operations.
OPERATIONS_PER_BYTE = 8


@dataclasses.dataclass(frozen=True)
class Saving:
    """What a variant saves against ops that are all apart.

    `intermediate_bytes`: tensors that are never stored. `moved_bytes`: bytes that are neither written nor read (an op
    reads each operand once: what it sweeps over again is in the cache by then). `added_flops`: what is computed for it
    in addition, on padding that a common encoding needs.
    """

    intermediate_bytes: int = 0
    moved_bytes: int = 0
    added_flops: int = 0

    def gain(self) -> float:
        """What variants are compared by: the bytes, less what could be moved in the time of the added operations."""
        return self.moved_bytes - self.added_flops / OPERATIONS_PER_BYTE


@dataclasses.dataclass(frozen=True)
class Pair:
    """An edge of the data flow. `variants` fuse it; `reason` says why the others, or all, do not."""

    producer: ir.OpView
    consumer: ir.OpView
    variants: tuple[str, ...]
    reason: str


@dataclasses.dataclass(frozen=True)
class Found:
    """A site as one of the kinds sees it.

    `legal`: the variants that are legal here, and what each saves. `refused`: the others, each with one sentence that
    says why. `shape`: what the site's signature holds, beside its kind. `name`: what a person calls it.
    `pairs`: the edges between producer and consumer that the site is about.
    """

    legal: Mapping[str, Saving]
    refused: Mapping[str, str]
    shape: str
    name: str
    pairs: tuple[Pair, ...] = ()


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of site. Its ops are found by the consumer, the op `anchor`.

    `variants` in the order in which equally good ones are preferred. `examine` looks at an anchor (None: no site);
    `perform` brings a variant about, or returns False where it is not legal (any more).
    """

    name: str
    anchor: str
    variants: tuple[str, ...]
    statistic: str
    examine: Callable[[ir.OpView, PassContext], Found | None]
    perform: Callable[[ir.OpView, str, PassContext], bool]


def describe(value: ir.Value, context: PassContext) -> str:
    """A producer in a signature: a linear by shape, encoding, kept weights, epilogue; another op by name and type."""
    owner = value.owner
    if isinstance(owner, ir.Block):
        return f"argument {value.type}"
    op = owner.opview
    if owner.name != "sparsity.linear":
        return f"{owner.name} {value.type}"
    rows, columns = op.weight.type.shape
    weight = weight_behind(op.weight)
    encoding = encoding_of(weight) if weight is not None else None
    array = known_array(op.weight, context.weights)
    kept = "?" if array is None else two_digits(int(np.count_nonzero(array)))
    epilogue = "+".join(
        [n for n in ("bias", "residual") if getattr(op, n) is not None]
        + ([activation_of(op)] if activation_of(op) != "none" else [])
    )
    return f"linear {value.type} {rows}x{columns} {encoding or 'no encoding'} kept={kept} {epilogue or 'bare'}"


def two_digits(count: int) -> str:
    """A count rounded to two significant digits, so that layers pruned alike have one signature."""
    return f"{float(f'{count:.1e}'):.0f}"
