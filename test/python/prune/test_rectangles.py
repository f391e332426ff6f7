"""BCR with rows and columns: how far what is kept is from the optimum, which a search through every block's rectangles
finds (all subsets of rows, the largest columns of each, and a knapsack over the blocks)."""

import numpy as np
import pytest

from secateur.compression.prune import Scheme, project
from secateur.dialects.schemes import Bcr
from secateur.dialects.schemes.blocks import project_bcr
from secateur.dialects.schemes.rectangles import keep_rectangles


def largest_norms(squares, block, budget):
    """The largest norm within `budget` weights of `squares`, by brute force over each block."""
    if block[0] > block[1]:
        return largest_norms(squares.T, block[::-1], budget)
    height, width = block
    total = np.zeros(1)
    for row in range(0, squares.shape[0], height):
        for column in range(0, squares.shape[1], width):
            part = squares[row : row + height, column : column + width]
            best = np.full(part.size + 1, -1.0)
            best[0] = 0
            for subset in range(1, 1 << part.shape[0]):
                rows = [i for i in range(part.shape[0]) if subset >> i & 1]
                for columns, norm in enumerate(np.cumsum(-np.sort(-part[rows].sum(axis=0))), start=1):
                    best[len(rows) * columns] = max(best[len(rows) * columns], norm)
            joined = np.full(len(total) + part.size, -1.0)
            for count, norm in enumerate(best):
                if norm >= 0:
                    here = joined[count : count + len(total)]
                    np.maximum(here, total + norm, out=here)
            total = joined
    return float(total[: budget + 1].max())


def share_of_optimum(shape, block, sparsity, seed):
    weight = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    squares = np.square(weight, dtype=np.float64)
    budget = round((1 - sparsity) * squares.size)
    mask = project(weight, Scheme("bcr", block), sparsity)
    np.testing.assert_array_equal(Bcr(*block).kept(mask), mask)
    assert budget - max(block) < mask.sum() <= budget
    return float(squares[mask].sum()) / largest_norms(squares, block, budget)


# Least and mean share of the optimum's squared norm. Where the smaller side has up to 4 rows only what is left of the
# budget, less than a block, can be lost: nothing to speak of in 64 blocks, something in two.
@pytest.mark.parametrize(
    "shape,block,least,mean",
    [
        ((32, 128), (4, 16), 0.997, 0.999),
        ((128, 32), (16, 4), 0.997, 0.999),
        ((33, 50), (4, 8), 0.99, 0.996),
        ((8, 32), (4, 16), 0.95, 0.98),
        ((9, 13), (3, 4), 0.95, 0.98),
        ((32, 32), (8, 8), 0.96, 0.98),
        ((32, 64), (8, 16), 0.95, 0.975),
    ],
)
def test_share_of_the_optimum(shape, block, least, mean):
    shares = [share_of_optimum(shape, block, sparsity, seed) for sparsity in (0.5, 0.8, 0.9) for seed in range(2)]
    assert max(shares) <= 1 + 1e-6
    assert min(shares) >= least and np.mean(shares) >= mean


def test_it_keeps_more_than_any_split_into_row_and_column_budgets():
    squares = np.square(np.random.default_rng(1).standard_normal((96, 192)))
    for block, sparsity in (((4, 16), 0.5), ((4, 16), 0.9), ((8, 32), 0.9), ((16, 16), 0.8)):
        budget = round((1 - sparsity) * squares.size)
        norm = squares[project_bcr(squares, block, budget)].sum()
        splits = [project_bcr(squares, block, budget, share / 4) for share in range(5)]
        assert norm > 1.003 * max(squares[split].sum() for split in splits)


def test_structure_that_is_there_is_found():
    random = np.random.default_rng(0)
    rows, columns = random.random((8, 6, 4)) < 0.6, random.random((8, 6, 16)) < 0.5
    kept = (rows[:, :, :, None] & columns[:, :, None, :]).transpose(0, 2, 1, 3).reshape(32, 96)
    weight = np.where(kept, 1 + random.random(kept.shape), 0.01 * random.random(kept.shape))
    np.testing.assert_array_equal(project(weight, Scheme("bcr", (4, 16)), 1 - kept.mean()), kept)


@pytest.mark.parametrize("shape", [(64, 64), (61, 37)])
@pytest.mark.parametrize("block", [(4, 16), (8, 8)])
def test_ties_and_zeros_spend_the_budget(shape, block):
    for squares in (np.ones(shape), np.zeros(shape), np.eye(*shape)):
        mask = keep_rectangles(squares, block, 700)
        np.testing.assert_array_equal(Bcr(*block).kept(mask), mask)
        assert 700 - max(block) < mask.sum() <= 700
    assert keep_rectangles(np.eye(*shape), block, 700)[np.arange(37), np.arange(37)].all()


def test_tiny_and_huge_weights():
    weight = np.random.default_rng(0).standard_normal((64, 64))
    expected = project(weight, Scheme("bcr", (4, 16)), 0.8)
    for scale in (1e-30, 1e30):
        np.testing.assert_array_equal(project(weight * scale, Scheme("bcr", (4, 16)), 0.8), expected)
