"""The default schedule of a linear layer on a GPU: rows and tokens of a thread, and threads that share columns.

A thread has a tile of rows for some vectors of four tokens; their sums stay in registers. More sums mean fewer loads
for a multiply-add and fewer threads. Where a layer would have too few of them to fill the GPU, several can share the
columns of a tile; their sums are then written to workgroup memory and read again.
"""

import itertools

from ..target import TOKENS_OF_A_THREAD, TargetDescription

# A thread loads weights of as many rows as a vector has tokens.
_ROW_TILES = (4, 8, 16)
_TOKEN_VECTORS = (1, 2)
_COLUMN_PIECES = (1, 2, 4)


def schedule_of_threads(
    band: int, rows: int, columns: int, tokens: int, target: TargetDescription, row_tile: int = 0
) -> dict[str, int]:
    """The schedule with the least work for a row and a vector of tokens, among those that leave threads enough.

    `band`: neighbouring rows that share a column list, `columns` entries long; `tokens` of all sequences; `row_tile`:
    the only one that may be taken, if any. Where no schedule leaves threads enough, that with the most threads.
    """

    def fits(tile: int, vectors: int) -> bool:
        # Sums, the vectors of x, the weights of a column, and two for addresses.
        return (tile + 1) * vectors + tile // TOKENS_OF_A_THREAD + 2 <= target.registers

    def threads(tile: int, vectors: int, pieces: int) -> int:
        return -(-tokens // (TOKENS_OF_A_THREAD * vectors)) * -(-rows // tile) * pieces

    def work(tile: int, vectors: int, pieces: int) -> float:
        # A column: a multiply-add a row and vector, loads of x, of weights and of an index. A piece: two for its sums.
        column = (tile + 1) * vectors + tile / TOKENS_OF_A_THREAD + 1
        padded = -(-band // tile) * tile / band
        return padded * (columns * column / (tile * vectors) + (2 * pieces if pieces > 1 else 0))

    tiles = (row_tile,) if row_tile else _ROW_TILES
    fitting = [(t, v) for t, v in itertools.product(tiles, _TOKEN_VECTORS) if fits(t, v)] or [(tiles[0], 1)]
    all_ = [(*block, p) for block, p in itertools.product(fitting, _COLUMN_PIECES) if p == 1 or block[0] % p == 0]
    enough = [choice for choice in all_ if threads(*choice) >= target.threads]
    most = max(threads(*choice) for choice in all_)
    taken = enough or [choice for choice in all_ if threads(*choice) == most]
    # Of equal ones that with more rows, whose weights all threads of a tile read from one address.
    tile, vectors, pieces = min(taken, key=lambda choice: (work(*choice), -choice[0]))
    found = {"row_tile": tile, "token_vectors": vectors}
    return found | ({"column_pieces": pieces} if pieces > 1 else {})
