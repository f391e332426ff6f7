"""Default blocks of registers for CPUs whose multiply-adds take a lane of a register (NEON), by their instructions.

Instructions are what counts, as far as can be told without the machine. Those of a loop are the multiply-adds, the
loads of x and of weights, column indices, and the loop's own (counted in the compiled code).
"""

import math

import numpy as np

from secateur.dialects.sparsity.ops.quantized_linear import QUAD

from ..target import TargetDescription

# The fourth column of an iteration still saves, in the loop's own and in pairs of indices.
UNROLL = 4
_ROW_TILES = (1, 2, 3, 4, 5, 6, 8, 12, 16)
_LOOP = 5
# Products of matrices (`smmla`): sums, vectors of x, their halves and weights take 28 registers. A taller or wider
# block does not fit, nor a second run in an iteration, and with four rows the shuffles of x take what is won.
MATRICES = {"row_tile": 8, "token_vectors": 2}
# Instructions for eight columns of bytes: products, loads and shuffles of x, weights, indices, the loop's own. Halved:
# for four, as the products of the others.
_OF_A_MATRIX = (16 + 3 + 4 + 2 + 2 + _LOOP) / 2
# Row tile and token vectors where rows differ: each subset of the rows of a tile has a loop of its own.
_MIXED_BLOCKS = ((4, 4), (2, 8))
# Instructions around such a loop: its bounds, and columns that are no whole iteration.
_SUBSET = 20


def _instructions(row_tile: int, token_vectors: int) -> float:
    """Instructions for a column of a tile."""
    # A load brings two vectors of x, eight weights or two column indices; an index becomes an address.
    loads = math.ceil(token_vectors / 2) + row_tile / 8 + 1 / 2
    return row_tile * token_vectors + loads + 1 + _LOOP / UNROLL


def default_block(band: int, target: TargetDescription, row_tile: int = 0, on_bytes: bool = False) -> dict[str, int]:
    """Row tile (the given one, if any), token vectors and unrolling with the fewest instructions for bands of rows.

    The model is of a column in f32; of four columns of bytes the loads are others, but the same blocks are best. Where
    bytes are multiplied in matrices, `MATRICES` stands beside them.
    """

    def cost(block: tuple[int, int]) -> tuple[float, int]:
        tile, vectors = block
        padded = math.ceil(band / tile) * tile
        return padded * _instructions(tile, vectors) / (tile * vectors), -tile

    def fits(tile: int, vectors: int) -> bool:
        # Sums, vectors of x and the weights of a column.
        return (tile + 1) * vectors + math.ceil(tile / 4) <= target.registers

    tiles = [row_tile] if row_tile else _ROW_TILES
    blocks = [(tile, vectors) for tile in tiles for vectors in (4, 2, 1) if fits(tile, vectors)]
    tile, vectors = min(blocks, key=cost, default=(row_tile, 1))
    tall = MATRICES["row_tile"]
    if on_bytes and target.matrices and row_tile in (0, tall):
        in_matrices = math.ceil(band / tall) * tall * _OF_A_MATRIX / (tall * MATRICES["token_vectors"])
        if in_matrices < cost((tile, vectors))[0]:
            return dict(MATRICES)
    return {"row_tile": tile, "token_vectors": vectors, "unroll": UNROLL}


def default_mixed_block(keep: np.ndarray) -> tuple[int, int]:
    """Row tile and token vectors with the fewest instructions, for bytes whose rows keep columns of their own.

    `keep` [rows, columns]: what is kept. Rows that keep few columns in common are best in twos, with more tokens each:
    four have many subsets, each of which is filled up to fours of columns and has a loop.
    """
    return min(_MIXED_BLOCKS, key=lambda block: _mixed_instructions(keep, *block))


def _mixed_instructions(keep: np.ndarray, row_tile: int, token_vectors: int) -> float:
    """Instructions for a vector of tokens, with neighbouring rows in a tile."""
    keep = np.pad(keep, ((0, -len(keep) % row_tile), (0, 0)))
    tiles = len(keep) // row_tile
    rows = keep.reshape(tiles, row_tile, -1).astype(np.int64)
    subsets = (rows << np.arange(row_tile)[:, None]).sum(axis=1) + (np.arange(tiles)[:, None] << row_tile)
    counts = np.bincount(subsets.reshape(-1), minlength=tiles << row_tile).reshape(tiles, -1)[:, 1:]
    sizes = np.array([subset.bit_count() for subset in range(1, 1 << row_tile)])
    # Of four columns: products, loads of x, shuffles that make fours of bytes, indices, weights, the loop's own.
    of_four = sizes * token_vectors + token_vectors + 2 * token_vectors + QUAD / 2 + np.maximum(sizes / 8, 1) + 2
    # Where the rows of every tile are alike, there is no other subset.
    loops = tiles * (counts.shape[1] if counts[:, :-1].any() else 1)
    return float((-(-counts // QUAD) * of_four).sum() + _SUBSET * loops) / token_vectors
