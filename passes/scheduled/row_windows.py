"""Lists of columns per row, written in windows: the steps of a slice read `x` from two vectors that stay in registers.

A slice is one vector of rows, and its steps are matched to windows from left to right: a window begins at the first
column that any row of the slice still has to read, and in each of its steps every row reads its next column, if that
lies in the window. A later beginning would leave that column to another window, so no sequence of windows is shorter.
What costs is rows that wait for others. Two things make that rare: rows of a slice are those that have kept about as
many columns at every place along the row, and columns may be dealt out, so that neighbours in a block of zeros are far
from each other and each window spans the whole row.
"""

import dataclasses

import numpy as np

from secateur.dialects.sparsity.ops.sliced_linear import WINDOW_VECTORS

# Steps that share a window: each more spares loads of x, and makes more rows wait. Two were the fastest (Zen 4).
STEPS_PER_WINDOW = 2
# Places along a row where rows of one slice are compared.
_MARKS = 24
_NONE = np.iinfo(np.int32).max


@dataclasses.dataclass
class Windows:
    """What windows do at each step: `starts` [windows], `places` [steps, lanes] from there on, -1 where a row waits,
    `order` [places] of the columns, None where they stay as they are.
    """

    starts: np.ndarray
    places: np.ndarray
    order: np.ndarray | None

    def columns(self) -> np.ndarray:
        """The column of each step and lane."""
        at = np.repeat(self.starts, STEPS_PER_WINDOW)[:, None] + np.maximum(self.places, 0)
        return at if self.order is None else self.order[at]


def column_orders(columns: int, lanes: int) -> list[np.ndarray | None]:
    """The orders of columns to try: as they are, and dealt out, neighbours a row's length over a window's apart."""
    window = WINDOW_VECTORS * lanes
    if columns < window:
        return [np.resize(np.arange(columns), window)]
    return [None, np.argsort(np.arange(columns) % (columns // window), kind="stable")]


def windowed(keep: np.ndarray, lanes: int, order: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, Windows]:
    """The rows of each slice [slices, lanes], its number of steps, and the windows, for `keep` [rows, columns].

    The last slice repeats a row. At least one weight must be kept.
    """
    if order is not None:
        # Of columns that are there twice, the second place is for no one.
        keep = keep[:, order] & (np.unique(order, return_index=True)[1][order] == np.arange(len(order)))
    rows = _alike(keep, lanes)
    places, window = keep.shape[1], WINDOW_VECTORS * lanes
    lengths = keep.sum(axis=1)
    lists = np.full((len(keep), lengths.max() + 1), _NONE, np.int32)
    row, column = np.nonzero(keep)
    lists[row, np.arange(len(row)) - (np.cumsum(lengths) - lengths)[row]] = column
    done = np.zeros(rows.shape, np.int64)
    starts, taken, slices = [], [], []
    live = np.arange(len(rows))
    while True:
        following = lists[rows[live], done[live]]
        first = following.min(axis=1)
        live, following, first = live[first < _NONE], following[first < _NONE], first[first < _NONE]
        if not len(live):
            break
        start = np.minimum(first, places - window)[:, None]
        steps = []
        for _ in range(STEPS_PER_WINDOW):
            inside = following < start + window
            steps.append(np.where(inside, following - start, -1))
            done[live] += inside
            following = lists[rows[live], done[live]]
        starts.append(start[:, 0])
        taken.append(np.stack(steps, axis=1))
        slices.append(live)
    in_order = np.argsort(np.concatenate(slices), kind="stable")
    counts = np.bincount(np.concatenate(slices), minlength=len(rows))
    found = Windows(
        np.concatenate(starts)[in_order], np.concatenate(taken)[in_order].reshape(-1, lanes).astype(np.int8), order
    )
    return rows, counts * STEPS_PER_WINDOW, found


def _alike(keep: np.ndarray, lanes: int) -> np.ndarray:
    """Rows [slices, lanes] that keep about as many columns up to each of some places: the longest row, with those
    nearest to it, and so on with the others.
    """
    columns = keep.shape[1]
    marks = np.linspace(0, columns, min(_MARKS, columns) + 1).astype(int)[1:]
    kept = np.cumsum(keep, axis=1, dtype=np.int32)[:, marks - 1].astype(np.float32)
    left, slices = np.argsort(-kept[:, -1], kind="stable"), []
    while len(left) > lanes:
        distance = np.square(kept[left] - kept[left[0]]).sum(axis=1)
        near = np.zeros(len(left), bool)
        near[np.argpartition(distance, lanes - 1)[:lanes]] = True
        slices.append(left[near])
        left = left[~near]
    slices.append(np.concatenate([left, np.repeat(left[-1:], lanes - len(left))]))
    return np.array(slices)
