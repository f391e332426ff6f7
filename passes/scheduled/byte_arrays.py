"""Packed arrays of bytes for `sparsity.quantized_linear`: in the order that products of runs of columns read.

A run is four columns, or eight. Where column lists are made of aligned runs, or of aligned fours, these become entries
(groups); else an entry is a column (rows). Lists are filled up to whole runs with columns that are there already and
weights of zero.
"""

import dataclasses

import numpy as np

from secateur.dialects.sparsity.ops.packed_linear import VALUES_PADDING
from secateur.dialects.sparsity.ops.quantized_linear import BYTES_PADDING, QUAD


@dataclasses.dataclass(frozen=True)
class ByteArrays:
    """What a layer has in place of its packed arrays. `sums`: of each row's values. `group`: columns of an entry, 8, 4
    or 1. `padding`: values that stand for no weight.
    """

    values: np.ndarray
    columns: np.ndarray
    segments: np.ndarray
    offsets: np.ndarray
    sums: np.ndarray
    group: int
    padding: int = 0


def byte_arrays(arrays: dict[str, np.ndarray], masks: list[int], shape: tuple[int, int], run: int = QUAD) -> ByteArrays:
    """The arrays of a `packed_linear` with a weight of `shape` (output features, input features) in int8, for products
    of `run` bytes, four or eight.
    """
    features, width = shape
    members = [[i for i in range(mask.bit_length()) if mask >> i & 1] for mask in masks]
    columns, segments = arrays["columns"], arrays["segments"]
    if not segments.any():
        # Nothing is kept; executables take no empty buffers.
        sums = np.zeros(features, np.int64)
        return ByteArrays(
            np.zeros(BYTES_PADDING, np.int8), np.zeros(run, np.int32), segments, arrays["offsets"], sums, 1
        )
    group = next((n for n in (run, QUAD) if _in_groups(columns, segments, width, n)), 1)
    lists, filled = _filled_lists(columns[::group] // group, segments // group, run // group)
    values, offsets, sums = _side_by_side(arrays, members, features, run)
    padding = len(values) - BYTES_PADDING - (len(arrays["values"]) - VALUES_PADDING)
    return ByteArrays(values, lists, filled, offsets, sums, group, padding)


def _in_groups(columns: np.ndarray, segments: np.ndarray, width: int, group: int) -> bool:
    """Whether all lists are made of aligned runs of `group` columns."""
    if width % group or len(columns) % group or (segments % group).any():
        return False
    groups = columns.reshape(-1, group)
    return not (groups[:, 0] % group).any() and bool((groups == groups[:, :1] + np.arange(group)).all())


def _filled_lists(columns: np.ndarray, segments: np.ndarray, run: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists of entries whose lengths are multiples of `run`, and the segments in them; the last entry is repeated.

    Tiles that share a list share the filled one.
    """
    bounds, place = np.unique(segments.reshape(-1, 2), axis=0, return_inverse=True)
    lengths = bounds[:, 1] - bounds[:, 0]
    whole = -(-lengths // run) * run
    stops = np.cumsum(whole)
    starts = stops - whole
    of = np.repeat(np.arange(len(bounds)), whole)
    within = np.arange(len(of)) - starts[of]
    lists = columns[bounds[of, 0] + np.minimum(within, lengths[of] - 1)]
    filled = np.stack([starts, stops], axis=-1)[place.reshape(-1)].reshape(segments.shape)
    return lists.astype(np.int32), filled.astype(np.int32)


def _side_by_side(
    arrays: dict[str, np.ndarray], members: list[list[int]], features: int, run: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values whose weights of a row in a run are neighbours, the place of each tile's first one, and the rows' sums.

    In a segment that is no multiple of `run`, zeros fill the last one.
    """
    rows, sums = arrays["rows"], np.zeros(features, np.int64)
    parts: list[np.ndarray] = []
    sizes = np.zeros(len(rows), np.int64)
    for tile, place in enumerate(arrays["offsets"].tolist()):
        tile_sums = np.zeros(rows.shape[1], np.int64)
        for (start, stop), used in zip(arrays["segments"][tile].tolist(), members, strict=True):
            if start == stop:
                continue
            size = (stop - start) * len(used)
            block = arrays["values"][place : place + size].reshape(-1, len(used))
            block = np.concatenate([block, np.zeros((-len(block) % run, len(used)), block.dtype)])
            parts.append(block.reshape(-1, run, len(used)).transpose(0, 2, 1).reshape(-1))
            tile_sums[used] += block.sum(axis=0, dtype=np.int64)
            sizes[tile] += block.size
            place += size
        sums[rows[tile]] = tile_sums
    offsets = (np.cumsum(sizes) - sizes).astype(np.int32)
    return np.concatenate([*parts, np.zeros(BYTES_PADDING, np.int8)]).astype(np.int8), offsets, sums
