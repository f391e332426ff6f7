"""Rows and columns of blocks: which row and column segments go, each band of rows on its own inverses.

A unit is a column of a block (one column of the band's rows) or a row of a block (`width` columns of one row). Since
rows lose different segments, each row has an inverse of its own; the units with the least error per weight go first,
in steps as in `removal_order`, and afterwards compete over all bands.
"""

import torch

_STEP_FRACTION = 1 / 6
# A band is emptied in one last step once it has this fraction of what bands keep on average: next to none keep less,
# and half of the steps are there.
_LAST_FRACTION = 1 / 2
_COMPACT_FRACTION = 0.2
_BATCH_BYTES = 96 << 20


def block_mask(weight: torch.Tensor, inverse: torch.Tensor, block: tuple[int, int], budget: int) -> torch.Tensor:
    """The mask for block-column-row pruning of `weight` [rows, columns] to at most `budget` weights.

    `inverse` [columns, columns] is that of the damped second moments.
    """
    rows, columns = weight.shape
    height, width = block
    bands, chunks = -(-rows // height), -(-columns // width)
    wide = weight.new_zeros(bands * height, chunks * width)
    wide[:rows, :columns] = weight
    padded = torch.eye(chunks * width, dtype=weight.dtype)
    padded[:columns, :columns] = inverse
    active = torch.zeros(wide.shape, dtype=torch.bool)
    active[:rows, :columns] = True
    wide, active = wide.reshape(bands, height, -1), active.reshape(bands, height, -1)
    batch = max(1, _BATCH_BYTES // (weight.element_size() * height * padded.numel()))
    last = int(_LAST_FRACTION * budget / bands)
    parts = [
        _removal_costs(part, alive, padded, width, last)
        for part, alive in zip(wide.split(batch), active.split(batch), strict=True)
    ]
    event = torch.cat([event for event, _ in parts])
    cost = _pad_and_join([cost for _, cost in parts])
    # Events of a band are in order and their costs do not decrease: a stable sort keeps that order.
    index = (event + torch.arange(bands)[:, None, None] * cost.shape[1])[active]
    sizes = torch.bincount(index, minlength=cost.numel())
    order = cost.reshape(-1).argsort(stable=True)
    removed = sizes[order].cumsum(0)
    least = int(active.sum()) - budget
    end = int(torch.searchsorted(removed, least)) + 1 if least > 0 else 0
    gone = torch.zeros(cost.numel(), dtype=torch.bool)
    gone[order[:end]] = True
    mask = torch.zeros(active.shape, dtype=torch.bool)
    mask[active] = ~gone[index]
    return mask.reshape(wide.shape[0] * height, -1)[:rows, :columns]


def _pad_and_join(costs: list[torch.Tensor]) -> torch.Tensor:
    length = max(cost.shape[1] for cost in costs)
    return torch.cat([torch.nn.functional.pad(cost, (0, length - cost.shape[1]), value=torch.inf) for cost in costs])


def _removal_costs(
    weight: torch.Tensor, active: torch.Tensor, inverse: torch.Tensor, width: int, last: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Empties bands, the last `last` weights of each in one step. `weight`, `active` [bands, rows, columns].

    Returns for each weight the number of the event in which it went, and for each event [bands, events] the error per
    weight, made non-decreasing.
    """
    bands, rows, columns = weight.shape
    weight, active = weight.clone(), active.clone()
    current = inverse.to(weight.dtype).repeat(bands, rows, 1, 1)
    layout = torch.arange(columns).expand(bands, -1)  # which column stands where in `current`
    events = torch.zeros(bands, rows, columns, dtype=torch.int64)
    costs: list[torch.Tensor] = []
    done = 0
    while bool(active.any()):
        costs_now, sizes_now, chunk_of = _unit_costs(weight, active, current, layout, columns, width)
        density = torch.where(sizes_now > 0, costs_now / sizes_now, torch.inf)
        density, ranks = density.sort(dim=1, stable=True)
        remaining = active.sum(dim=(1, 2))
        # Each weight counts in a column and in a row.
        quota = torch.where(remaining <= last, 2 * remaining, (remaining * _STEP_FRACTION).long().clamp(min=1))
        taken = sizes_now.gather(1, ranks).cumsum(1) <= quota[:, None]
        taken[:, 0] = True
        taken &= torch.isfinite(density)
        count = int(taken.sum(dim=1).max())
        if not count:
            raise torch.linalg.LinAlgError("no unit of a block has a finite cost")
        rank_of = torch.full(ranks.shape, count).scatter(1, ranks, torch.where(taken, _numbers(taken), count))
        present = layout.shape[1]
        of_column = rank_of[:, None, :present].expand(-1, rows, -1)
        of_row = rank_of[:, present:].reshape(bands, rows, -1).gather(2, chunk_of[:, None].expand(-1, rows, -1))
        event = torch.minimum(of_column, of_row)
        gone = active & (event < count)
        numbered = torch.where(gone, event + done, events.gather(2, layout[:, None].expand(-1, rows, -1)))
        events.scatter_(2, layout[:, None].expand(-1, rows, -1), numbered)
        alone = torch.where(taken, costs_now.gather(1, ranks), 0).sum(dim=1)
        added = _remove(weight, current, gone)
        scale = added / alone.clamp(min=torch.finfo(weight.dtype).tiny)
        costs.append(torch.where(taken, density * scale[:, None], torch.inf)[:, :count])
        done += count
        active &= ~gone
        weight.masked_fill_(~active, 0)
        left = active.any(dim=1)
        most = int(left.sum(dim=1).max())
        if 0 < most < (1 - _COMPACT_FRACTION) * present:
            stay = (~left).to(torch.int8).argsort(dim=1, stable=True)[:, :most].sort(dim=1).values
            wide = stay[:, None, :].expand(-1, rows, -1)
            weight, active, layout = weight.gather(2, wide), active.gather(2, wide), layout.gather(1, stay)
            # Row by row: whole lines are copied, which a batched gather does not know.
            pairs = zip(current.flatten(0, 1), wide.reshape(-1, most), strict=True)
            chosen = [square.index_select(0, at).index_select(1, at) for square, at in pairs]
            current = torch.stack(chosen).reshape(bands, rows, most, most)
    cost = torch.cat(costs, dim=1)
    # Events that a band does not have are infinite: they must not lift those that follow.
    real = torch.isfinite(cost)
    grown = torch.where(real, cost, 0).cummax(dim=1).values
    return events, torch.where(real, grown, torch.inf)


def _numbers(taken: torch.Tensor) -> torch.Tensor:
    return torch.arange(taken.shape[1]).expand(taken.shape)


def _unit_costs(
    weight: torch.Tensor, active: torch.Tensor, inverse: torch.Tensor, layout: torch.Tensor, columns: int, width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Costs and sizes [bands, units] of the columns that are present and then of the rows of all chunks, row by
    row; and the chunk of each present column [bands, present]."""
    bands, rows, present = weight.shape
    chunks = columns // width
    single = torch.where(active, weight.square() / inverse.diagonal(dim1=2, dim2=3), 0)
    # Where each column of the matrix stands now; those that left point at any column and are not used.
    place = torch.zeros(bands, columns, dtype=torch.int64).scatter(1, layout, torch.arange(present).expand(bands, -1))
    here = torch.zeros(bands, columns, dtype=torch.bool).scatter(1, layout, True)
    place, here = place.reshape(bands, chunks, width), here.reshape(bands, chunks, width)
    band = torch.arange(bands)[:, None, None, None]
    row = torch.arange(rows)[None, :, None, None]
    used = active[band, row, place[:, None]] & here[:, None]  # [bands, rows, chunks, width]
    parts = torch.where(used, weight[band, row, place[:, None]], 0)
    square = inverse[band[..., None], row[..., None], place[:, None, :, :, None], place[:, None, :, None, :]]
    both = used[..., :, None] & used[..., None, :]
    square = torch.where(both, square, torch.eye(width, dtype=weight.dtype))
    factor = torch.linalg.cholesky(square)
    whole = torch.linalg.solve_triangular(factor, parts[..., None], upper=False).square().sum(dim=(3, 4))
    costs = torch.cat([single.sum(dim=1), whole.reshape(bands, -1)], dim=1)
    sizes = torch.cat([active.sum(dim=1), used.sum(dim=3).reshape(bands, -1)], dim=1)
    return costs, sizes, layout // width


def _remove(weight: torch.Tensor, inverse: torch.Tensor, gone: torch.Tensor) -> torch.Tensor:
    """As `removal.remove` for a different set of columns `gone` [bands, rows, columns] in each row."""
    bands, rows, columns = weight.shape
    flat, moments = weight.reshape(-1, columns), inverse.reshape(-1, columns, columns)
    counts = gone.reshape(-1, columns).sum(dim=1)
    most = int(counts.max())
    index = (~gone.reshape(-1, columns)).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
    real = torch.arange(most) < counts[:, None]
    across = torch.stack([square.index_select(0, at) for square, at in zip(moments, index, strict=True)])
    across *= real[:, :, None]
    square = across.gather(2, index[:, None, :].expand(-1, most, -1)) * real[:, None, :]
    square += torch.diag_embed((~real).to(square.dtype))
    factor = torch.linalg.cholesky(square)
    across = torch.linalg.solve_triangular(factor, across, upper=False)
    removed = torch.linalg.solve_triangular(factor, (flat.gather(1, index) * real)[:, :, None], upper=False)
    for row in range(len(flat)):
        flat[row].addmv_(across[row].T, removed[row, :, 0], alpha=-1)
        moments[row].addmm_(across[row].T, across[row], alpha=-1)
    return removed.square().sum(dim=(1, 2)).reshape(bands, rows).sum(dim=1)
