"""In which order the columns of bands of rows go, and what each costs.

The quadratic model of a layer's output error is tr(D H D^T) for a change D of the weight, with H the (damped) second
moments of its inputs. Removing the columns S of a row w and moving the others to their optimum costs
w_S [H^-1]_SS^-1 w_S^T (optimal brain surgeon; for groups: Optimal BERT Surgeon, arXiv 2203.07259). As Optimal Brain
Compression (arXiv 2208.11580) does, each band is emptied alone and its costs are kept, so that afterwards the units
of all bands compete for one budget. Unlike there, many units go in one step (which the inverse of a larger block
makes exact for the weights that stay), and rows that share a mask share the inverse (ZipLM, arXiv 2302.04089).
"""

import torch

# A step removes this fraction of the units that are left: a finer one costs no fewer operations but more memory
# traffic, a coarser one decides on stale costs.
STEP_FRACTION = 1 / 8
# Removed columns leave the inverse once this fraction of it is theirs: leaving at each step is all memory traffic.
_COMPACT_FRACTION = 0.2
# What the inverses of the bands of one batch may take.
_BATCH_BYTES = 96 << 20


def removal_order(
    weight: torch.Tensor, inverse: torch.Tensor, group: int = 1, left: int | None = None, quota: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Empties bands of rows, unit by unit, where a unit is `group` neighbouring columns of all rows of a band.

    `weight` [bands, rows, columns] and `inverse` [columns, columns] (symmetric positive definite, the inverse of the
    damped second moments) have one type; `columns` is a multiple of `group`. Returns, both [bands, units], the units in
    the order in which they went and the error that each added, made non-decreasing along the order.
    With `left` and `quota`, the columns compete in sets of `quota` neighbours, of each of which `left` stay (N:M):
    these are not in the order, which is then shorter.
    """
    columns = weight.shape[2]
    batch = max(1, _BATCH_BYTES // (columns * columns * weight.element_size()))
    # One for all batches: fresh memory of this size costs as much as a step.
    inverses = inverse.new_empty(min(batch, len(weight)), columns, columns)
    parts = [_empty(part, inverses[: len(part)].copy_(inverse), group, left, quota) for part in weight.split(batch)]
    return torch.cat([order for order, _ in parts]), torch.cat([cost for _, cost in parts])


def _empty(
    weight: torch.Tensor, current: torch.Tensor, group: int, left: int | None, quota: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`removal_order` of bands with an inverse each, [bands, columns, columns], which is overwritten."""
    bands, rows, columns = weight.shape
    units = torch.arange(columns // group).expand(bands, -1)
    places = units  # where each unit that is left stands in `current`
    weight = weight.clone()
    orders, costs = [], []
    while units.shape[1]:
        cost = _unit_costs(weight, current, places, group)
        count = max(1, int(units.shape[1] * STEP_FRACTION))
        if left is not None:
            free = _free(units, cost, left, quota)
            count = min(count, int(free.sum(dim=1).min()))
            if not count:
                break
            cost = cost.masked_fill(~free, torch.inf)
        cost, ranks = cost.sort(dim=1, stable=True)
        gone, kept = ranks[:, :count], ranks[:, count:].sort(dim=1).values
        orders.append(units.gather(1, gone))
        added = remove(weight, current, _columns(places.gather(1, gone), group))
        share = cost[:, :count] + torch.finfo(cost.dtype).tiny
        costs.append(added[:, None] * share / share.sum(dim=1, keepdim=True))
        units, places = units.gather(1, kept), places.gather(1, kept)
        if units.shape[1] * group < (1 - _COMPACT_FRACTION) * current.shape[1]:
            stay = _columns(places, group)
            # Band by band: whole rows are copied, which a batched gather does not know.
            pairs = zip(current, stay, strict=True)
            current = torch.stack([band.index_select(0, at).index_select(1, at) for band, at in pairs])
            weight = weight.gather(2, stay[:, None, :].expand(-1, rows, -1))
            places = torch.arange(units.shape[1]).expand(bands, -1)
    return torch.cat(orders, dim=1), torch.cat(costs, dim=1).cummax(dim=1).values


def _columns(units: torch.Tensor, group: int) -> torch.Tensor:
    if group == 1:
        return units
    return (units[:, :, None] * group + torch.arange(group)).flatten(1)


def _unit_costs(weight: torch.Tensor, inverse: torch.Tensor, places: torch.Tensor, group: int) -> torch.Tensor:
    """[bands, units]: the error that removing each of the units at `places` [bands, units] alone adds."""
    if group == 1:
        return (weight.square().sum(dim=1) / inverse.diagonal(dim1=1, dim2=2)).gather(1, places)
    bands, rows, columns = weight.shape
    units = columns // group
    blocks = inverse.reshape(bands, units, group, units, group).diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2)
    band = torch.arange(bands)[:, None]
    factor = torch.linalg.cholesky(blocks[band, places])
    parts = weight.reshape(bands, rows, units, group).permute(0, 2, 3, 1)[band, places]
    return torch.linalg.solve_triangular(factor, parts, upper=False).square().sum(dim=(2, 3))


def _free(units: torch.Tensor, cost: torch.Tensor, left: int, quota: int) -> torch.Tensor:
    """Which columns [bands, units] may go now: one a set and step, and none where `left` are left."""
    sets = units // quota
    held = torch.zeros(units.shape[0], int(units.max()) // quota + 1, dtype=torch.int64)
    held.scatter_add_(1, sets, torch.ones_like(sets))
    least = torch.full(held.shape, torch.inf, dtype=cost.dtype).scatter_reduce(1, sets, cost, "amin")
    return (held.gather(1, sets) > left) & (cost == least.gather(1, sets))


def remove(weight: torch.Tensor, inverse: torch.Tensor, gone: torch.Tensor) -> torch.Tensor:
    """Moves `weight` [bands, rows, columns] and `inverse` [bands, columns, columns] in place to the optimum without
    the columns `gone` [bands, g], whose own entries mean nothing afterwards; returns the error added, [bands].
    """
    across = torch.stack([band.index_select(0, at) for band, at in zip(inverse, gone, strict=True)])
    factor = torch.linalg.cholesky(across.gather(2, gone[:, None, :].expand(-1, gone.shape[1], -1)))
    across = torch.linalg.solve_triangular(factor, across, upper=False)
    removed = weight.gather(2, gone[:, None, :].expand(-1, weight.shape[1], -1)).transpose(1, 2)
    removed = torch.linalg.solve_triangular(factor, removed, upper=False)
    for band in range(weight.shape[0]):
        weight[band].addmm_(removed[band].T, across[band], alpha=-1)
        inverse[band].addmm_(across[band].T, across[band], alpha=-1)
    return removed.square().sum(dim=(1, 2))
