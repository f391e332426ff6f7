"""Which pattern each tile takes, tile by tile from left to right.

The recursion is SparseGPT's (arXiv 2301.00774): the columns that were visited are frozen, the columns to the right
take up the error, and one Cholesky factor of H^-1 holds the inverses of all the steps, shared by all rows. Here a
step is the columns of a tile; each tile takes the pattern whose removal adds the least error.
"""

import torch

from secateur.dialects.schemes.pattern import pattern_set


def pattern_mask(weight: torch.Tensor, inverse: torch.Tensor, size: int, sparsity: float) -> torch.Tensor:
    """The mask for tiles `size` x `size`, all of one small set of patterns, of `weight` [rows, columns].

    `inverse` [columns, columns] is that of the damped second moments. The set is that of the magnitude projection,
    chosen by w^2 / [H^-1]_cc instead of w^2.
    """
    rows, columns = weight.shape
    height, width = -(-rows // size), -(-columns // size)
    current = weight.new_zeros(height * size, width * size)
    current[:rows, :columns] = weight
    padded = torch.eye(width * size, dtype=weight.dtype)
    padded[:columns, :columns] = inverse
    costs = (current.square() / padded.diagonal()).reshape(height, size, width, size).transpose(1, 2)
    found = pattern_set(costs.reshape(-1, size * size).cpu().numpy(), round((1 - sparsity) * size * size))
    patterns = torch.from_numpy(found).reshape(-1, size, size).to(weight.device)
    factor = torch.linalg.cholesky(padded, upper=True)
    mask = torch.zeros(current.shape, dtype=torch.bool)
    # The distinct rows of the patterns: a row of a tile is removed alone, since rows do not interact.
    lines, line_of = torch.unique(patterns.reshape(-1, size), dim=0, return_inverse=True)
    line_of = line_of.reshape(-1, size)
    for start in range(0, width * size, size):
        stop = start + size
        local = factor[start:stop, start:]
        block = local.T[:size] @ local
        part = current[:, start:stop]
        steps = torch.stack([_step(block[:, :size], ~line) for line in lines])  # [lines, size, size]
        added = torch.einsum("rc,lcd,rd->rl", part, steps, part).reshape(height, size, -1)
        totals = torch.stack([added[:, torch.arange(size), which].sum(dim=1) for which in line_of], dim=1)
        chosen = totals.argmin(dim=1)
        taken = line_of[chosen].reshape(-1)
        mask[:, start:stop] = lines[taken]
        errors = torch.einsum("rc,rcd->rd", part, steps[taken])
        current[:, start:] -= errors @ block
    return mask[:rows, :columns]


def _step(block: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    """[H^-1]_SS^-1 for the columns S that `removed` says, zero elsewhere."""
    gone = removed.nonzero()[:, 0]
    result = torch.zeros_like(block)
    if len(gone):
        result[gone[:, None], gone] = torch.linalg.inv(block[gone][:, gone])
    return result
