"""The weights that stay, at their optimum for a mask."""

import torch


def damped(second: torch.Tensor, damping: float) -> torch.Tensor:
    """`second` [columns, columns] with `damping` times its mean diagonal added to the diagonal (as SparseGPT does).

    Inputs that were always zero then cost next to nothing, and dependent ones do not make it singular. Where all
    inputs were zero the result is the identity, with which everything is decided by magnitude.
    """
    mean = float(second.diagonal().mean())
    return second + torch.eye(len(second), dtype=second.dtype) * (damping * mean if mean > 0 else 1.0)


def least_squares(weight: torch.Tensor, mask: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """The weight [rows, columns] that is zero outside `mask` and closest to `weight` in output.

    Minimises tr(D H D^T) for the change D and H = `second`, positive definite: W_S = W H[:, S] H[S, S]^-1 for the kept
    columns S of a row. Rows with the same mask share one factorisation.
    """
    patterns, which = torch.unique(mask, dim=0, return_inverse=True)
    rows_of = torch.argsort(which, stable=True).split(torch.bincount(which).tolist())
    targets = weight @ second
    result = torch.zeros_like(weight)
    for pattern, rows in zip(patterns, rows_of, strict=True):
        kept = pattern.nonzero()[:, 0]
        if len(kept) == mask.shape[1]:
            result[rows] = weight[rows]
        elif len(kept):
            factor = torch.linalg.cholesky(second.index_select(0, kept).index_select(1, kept))
            solved = torch.cholesky_solve(targets[rows][:, kept].T, factor)
            result[rows[:, None], kept] = solved.T
    return result


def output_error(change: torch.Tensor, second: torch.Tensor) -> float:
    """tr(D H D^T): the squared error of the outputs, summed over the tokens that `second` was summed over."""
    return max(0.0, float(((change @ second) * change).sum()))
