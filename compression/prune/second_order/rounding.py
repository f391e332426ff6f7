"""The weights that stay, rounded to what a storage holds, each rounding taken up by the weights that are rounded later.

Optimal brain quantisation (in Optimal Brain Compression, arXiv 2208.11580) rounds one weight at a time and moves those
that are not rounded yet to their optimum. In GPTQ's form (arXiv 2210.17323) all rows go through the columns in the same
order, so that one Cholesky factor of the inverse moments holds every step. Here the inverse is that of the columns
which a row keeps: pruning and rounding are one problem, and what went stays zero.
"""

from collections.abc import Iterator

import numpy as np
import torch

from secateur.dialects.number_formats import Storage

# What the factors of the patterns of one batch may take.
_BATCH_BYTES = 96 << 20
# Columns whose roundings reach those behind them in one product.
_TOGETHER = 64


def nearest(weight: torch.Tensor, storage: Storage) -> torch.Tensor:
    """`weight` [rows, columns] as it is read again, each weight rounded by itself."""
    stored, scales = storage.store_rows(weight.cpu().numpy())
    return torch.from_numpy(storage.read_rows(stored, scales)).to(weight)


def rounded(
    weight: torch.Tensor, target: torch.Tensor, mask: torch.Tensor, second: torch.Tensor, storage: Storage
) -> torch.Tensor:
    """`weight` [rows, columns], which is zero outside `mask` and at its optimum for `target`, as `storage` holds it.

    `second` [columns, columns] is positive definite: the damped second moments. Scales are those of the rows of
    `weight`, whose largest entries keep their value, so that whoever stores the result finds the same scales and
    numbers. Rows that are nearer to `target` in output with each weight rounded by itself are left so.
    """
    simple = nearest(weight, storage)
    result = simple.clone()
    largest = weight.abs().argmax(dim=1)
    scales = storage.scales(weight.abs().amax(dim=1).cpu().numpy())
    for rows, kept in _batches(mask):
        # [patterns, rows], [patterns, columns]: columns that a pattern has fewer depend on nothing and are zero.
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(_restricted(second, kept)))
        factor = torch.linalg.cholesky(inverse, upper=True)
        present = kept >= 0
        part = weight[rows[:, :, None], kept.clamp(min=0)[:, None]] * present[:, None]
        held = (kept[:, None] == largest[rows][:, :, None]) & present[:, None]
        _round_in_order(part, factor, held, None if scales is None else scales[rows.cpu().numpy()], storage)
        pattern, place = present.nonzero(as_tuple=True)
        result[rows[pattern], kept[pattern, place][:, None]] = part[pattern, :, place]
    change, simple_change = result - target, simple - target
    worse = ((change @ second) * change).sum(dim=1) > ((simple_change @ second) * simple_change).sum(dim=1)
    result[worse] = simple[worse]
    return result


def _batches(mask: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rows with the same mask together: the rows [patterns, rows] of some patterns and the columns that each keeps
    [patterns, columns], rising and padded with -1. Rows that keep nothing are left out."""
    patterns, which = torch.unique(mask, dim=0, return_inverse=True)
    rows_of = torch.argsort(which, stable=True).split(torch.bincount(which).tolist())
    kept = patterns.sum(dim=1).tolist()
    alike: dict[int, list[int]] = {}
    for number in sorted(range(len(patterns)), key=lambda number: -kept[number]):
        if kept[number]:
            alike.setdefault(len(rows_of[number]), []).append(number)
    for numbers in alike.values():
        while numbers:
            most = kept[numbers[0]]
            count = max(1, _BATCH_BYTES // (8 * most * most))
            batch, numbers = numbers[:count], numbers[count:]
            # Kept columns first, in order.
            order = (~patterns[batch]).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
            columns = torch.where(patterns[batch].gather(1, order), order, -1)
            yield torch.stack([rows_of[number] for number in batch]), columns


def _restricted(second: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """`second` of the columns that each pattern keeps, [patterns, columns, columns]; the identity where it has none."""
    at, present = kept.clamp(min=0), kept >= 0
    found = second[at[:, :, None], at[:, None]]
    return torch.where(present[:, :, None] & present[:, None], found, torch.eye(kept.shape[1], dtype=second.dtype))


def _round_in_order(
    weight: torch.Tensor,
    factor: torch.Tensor,
    held: torch.Tensor,
    scales: np.ndarray | None,
    storage: Storage,
) -> None:
    """Rounds `weight` [patterns, rows, columns] in place, from the first column to the last.

    `factor` [patterns, columns, columns] is the upper Cholesky factor of the inverse moments, `held` [patterns, rows,
    columns] says which weights are rounded as they are now whatever came before them, `scales` is [patterns, rows].
    """
    at_first = weight.clone()
    columns = weight.shape[2]
    for start in range(0, columns, _TOGETHER):
        stop = min(start + _TOGETHER, columns)
        errors = weight.new_empty(*weight.shape[:2], stop - start)
        for column in range(start, stop):
            now = weight[:, :, column].clone()
            wanted = torch.where(held[:, :, column], at_first[:, :, column], now).cpu().numpy()
            read = torch.from_numpy(storage.read(storage.store(wanted, scales), scales)).to(weight)
            error = (now - read) / factor[:, column, column, None]
            weight[:, :, column] = read
            weight[:, :, column + 1 : stop] -= error[:, :, None] * factor[:, None, column, column + 1 : stop]
            errors[:, :, column - start] = error
        weight[:, :, stop:] -= errors @ factor[:, start:stop, stop:]
