"""The rewrites from mathematical properties of ops, in the order in which they are tried.

They reduce ops or multiplications and are done wherever they are legal, whatever the plan. Each is counted under its
name. `rounds` says whether a rewrite changes the order or the number of roundings (never more than rounding: constants
are folded in float64 and rounded once).
"""

import dataclasses
from collections.abc import Callable

from torch_mlir import ir

from secateur.passes.base import PassContext

from .products import collapse_chains, factor_sums
from .scales import (
    drop_identities,
    factor_scales,
    fold_constants_into_linears,
    fold_scales_into_attention,
    fold_scales_into_tables,
)
from .sums import combine_sums


@dataclasses.dataclass(frozen=True)
class Rewrite:
    """A rewrite: its statistic, the property it rests on, what it does, and whether it changes rounding."""

    name: str
    property: str
    summary: str
    rounds: bool
    run: Callable[[ir.Module, PassContext], int]


REWRITES: tuple[Rewrite, ...] = (
    Rewrite("identities-removed", "identity", "x * 1, x + 0 -> x", False, drop_identities),
    Rewrite(
        "attention-scales-folded",
        "associative",
        "attention(q * c, k, v) -> attention(q, k, v) {scale * c}",
        True,
        fold_scales_into_attention,
    ),
    Rewrite(
        "constants-folded",
        "distributive",
        "scales and shifts before or behind a linear -> its weight and bias",
        True,
        fold_constants_into_linears,
    ),
    Rewrite(
        "table-scales-folded",
        "distributive",
        "embedding(ids, T) * c -> embedding(ids, c T)",
        True,
        fold_scales_into_tables,
    ),
    Rewrite("scales-factored", "distributive", "a * c + b * c -> (a + b) * c", True, factor_scales),
    Rewrite(
        "linears-factored",
        "distributive",
        "linear(a, W) + linear(b, W) -> linear(a + b, W); linear(x, V) + linear(x, W) -> linear(x, V + W)",
        True,
        factor_sums,
    ),
    Rewrite("linears-collapsed", "associative", "linear(linear(x, V), W) -> linear(x, W V)", True, collapse_chains),
    Rewrite(
        "additions-removed",
        "associative, commutative",
        "sums regrouped: constants become one, every linear meets a residual",
        True,
        combine_sums,
    ),
)


def simplify(module: ir.Module, context: PassContext) -> int:
    """Does every rewrite until none finds anything more; returns how many were done. Counts each by its name."""
    total = 0
    while True:
        done = 0
        for rewrite in REWRITES:
            count = rewrite.run(module, context)
            if count:
                context.count(rewrite.name, count)
            done += count
        total += done
        if not done:
            return total
