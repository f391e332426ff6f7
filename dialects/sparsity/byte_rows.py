"""Rows of bytes: a row holds a feature of all tokens of a panel, in an order that makes quads of features cheap.

Products of bytes read four features of a token as neighbours. Out of four rows, two rounds of unpacking make them so:
bytes of rows 0 and 1 (and of 2 and 3) alternate after the first, pairs of bytes after the second. On x86 an instruction
unpacks within 16 bytes, so that quads come out in another order than the bytes went in. In rows for vectors of `lanes`
quads the tokens stand in such an order that the quads come out by token: in each run of `4 * lanes` bytes,

    position 16 L + 4 v + k   has the token   lanes * v + 4 L + k      (L < lanes / 4,  v < 4,  k < 4)

With `lanes = 4` that is the order of tokens itself.
"""

import numpy as np

LANES = (4, 8, 16)
"""Quads in a vector that rows may be made for."""


def token_order(panel: int, lanes: int) -> np.ndarray:
    """The token at each position of a row of `panel` tokens, for one of `LANES`; `4 * lanes` divides the panel."""
    run = np.arange(4 * lanes).reshape(4, lanes // 4, 4).transpose(1, 0, 2).reshape(-1)
    return (np.arange(0, panel, 4 * lanes)[:, None] + run).reshape(-1)


def unpacked(rows: int, unit: int) -> list[list[int]]:
    """Shuffles of two runs of `rows` bytes that alternate units of `unit` bytes, within 16 bytes: the lower halves,
    then the upper ones. Positions in the first run are `0 .. rows - 1`, in the second `rows .. 2 * rows - 1`.
    """
    block = min(16, rows)
    found: list[list[int]] = []
    for half in (0, block // 2):
        places = [
            start + half + at + i
            for start in range(0, rows, block)
            for at in range(0, block // 2, unit)
            for i in (*range(unit), *range(rows, rows + unit))
        ]
        found.append(places)
    return found
