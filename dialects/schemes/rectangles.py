"""The rows and columns to keep of every block of a matrix, so that the norm kept within a budget is largest.

With a price for each kept weight the blocks are independent: of each the rows R and columns C are wanted for which
sum over R x C of (square - price) is largest. What is kept at a price is the largest norm for as many weights
(Everett 1963, generalised Lagrange multipliers), so the price is searched at which the budget is just not exceeded.
"""

import dataclasses

import numpy as np

_ENUMERATED_ROWS = 4  # 15 subsets of rows; 8 rows would have 255
_CHUNK_BYTES = 1 << 20  # of what is evaluated at once: what a core's cache holds
_SAMPLED_BLOCKS = 512
_STEPS = 40
_LEAST_PRICE = 1e-14
_FEW_BLOCKS = 8


@dataclasses.dataclass
class Rectangles:
    """What is kept of blocks: `rows` [blocks, block rows] and `columns` [blocks, block columns], booleans, and the
    `counts` of kept weights [blocks]."""

    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray

    def take(self, blocks: np.ndarray) -> "Rectangles":
        return Rectangles(self.rows[blocks], self.columns[blocks], self.counts[blocks])

    def put(self, blocks: np.ndarray, other: "Rectangles") -> None:
        """Sets `blocks` to what `other` has of them."""
        self.rows[blocks], self.columns[blocks], self.counts[blocks] = other.rows, other.columns, other.counts


def keep_rectangles(squares: np.ndarray, block: tuple[int, int], budget: int) -> np.ndarray:
    """The mask of at most `budget` weights of a matrix of squared weights, rows and columns of each block.

    Where the smaller side of a block has up to 4 rows (or columns), all subsets of them are tried, and what is kept is
    the largest norm for its number of weights; else a local optimum (`_best_by_prefixes`). Either way less than one
    block of the budget is left then, which single rows and columns fill.
    """
    if block[0] > block[1]:
        return keep_rectangles(squares.T, (block[1], block[0]), budget).T
    largest = float(squares.max(initial=0.0))
    # Zeros are kept too where the budget is not spent otherwise: a little norm makes them candidates.
    scaled = (squares / largest if largest else squares).astype(np.float32) + np.float32(1e-12)
    blocks = _to_blocks(scaled, block)
    real = _to_blocks(np.ones(squares.shape, np.float32), block) > 0
    kept, wider = _at_budget(blocks, budget)
    left = _take_changes(blocks, kept, wider, budget - int(kept.counts.sum()))
    _fill(blocks, real, kept, left)
    mask = kept.rows.T[:, :, None] & kept.columns[None, :, :]
    return _to_matrix(mask, squares.shape, block)


def _to_blocks(matrix: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """[rows, columns] -> [block rows, blocks, block columns], padded with zeros."""
    rows, columns = matrix.shape
    height, width = block
    down, across = -(-rows // height), -(-columns // width)
    if rows % height or columns % width:
        padded = np.zeros((down * height, across * width), matrix.dtype)
        padded[:rows, :columns] = matrix
        matrix = padded
    blocks = matrix.reshape(down, height, across, width).transpose(1, 0, 2, 3)
    return np.ascontiguousarray(blocks).reshape(height, down * across, width)


def _to_matrix(blocks: np.ndarray, shape: tuple[int, ...], block: tuple[int, int]) -> np.ndarray:
    height, width = block
    down, across = -(-shape[0] // height), -(-shape[1] // width)
    matrix = blocks.reshape(height, down, across, width).transpose(1, 0, 2, 3).reshape(down * height, across * width)
    return np.ascontiguousarray(matrix[: shape[0], : shape[1]])


def _at_price(blocks: np.ndarray, price: float) -> Rectangles:
    """The best rectangle of each block of [block rows, blocks, block columns] at a price per weight."""
    height, count, width = blocks.shape
    best = _best_of_all_subsets if height <= _ENUMERATED_ROWS else _best_by_prefixes
    copies = (1 << height) if height <= _ENUMERATED_ROWS else 3 * height
    chunk = max(1, _CHUNK_BYTES // (4 * copies * width))
    rows, columns = np.empty((count, height), bool), np.empty((count, width), bool)
    counts = np.empty(count, np.int64)
    for start in range(0, count, chunk):
        part = slice(start, start + chunk)
        rows[part], columns[part] = best(blocks[:, part], np.float32(price))
        of_rows, of_columns = (_row_sums(kept[part].astype(np.float32)) for kept in (rows, columns))
        counts[part] = of_rows * of_columns
    return Rectangles(rows, columns, counts)


def _row_sums(values: np.ndarray) -> np.ndarray:
    """Sums over the last axis, which is too short for NumPy's own loop to be fast."""
    width = values.shape[-1]
    return (values.reshape(-1, width) @ np.ones(width, np.float32)).reshape(values.shape[:-1])


def _best_of_all_subsets(blocks: np.ndarray, price: np.float32) -> tuple[np.ndarray, np.ndarray]:
    height, count, width = blocks.shape
    members = (np.arange(1, 1 << height)[:, None] >> np.arange(height)) & 1
    subsets = members.astype(np.float32)
    profit = subsets @ blocks.reshape(height, -1)
    profit -= price * subsets.sum(axis=1, keepdims=True)
    np.maximum(profit, 0, out=profit)
    profit = profit.reshape(len(subsets), count, width)
    chosen = np.argmax(_row_sums(profit), axis=0)
    columns = profit[chosen, np.arange(count)] > 0
    rows = members.astype(bool)[chosen] & columns.any(axis=1, keepdims=True)
    return rows, columns


def _best_by_prefixes(blocks: np.ndarray, price: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order of what each would bring alone: of the first k, all k, the best, then rows for the columns and
    columns for the rows in turn, which never loses."""
    height, count, width = blocks.shape
    profit = blocks - price
    order = np.argsort(-_row_sums(np.maximum(profit, 0)), axis=0, kind="stable")
    lines = profit.reshape(-1, width)
    places = order * count + np.arange(count)
    best, columns = np.zeros(count, np.float32), np.zeros((count, width), bool)
    sums = np.zeros((count, width), np.float32)
    for k in range(height):
        sums += lines[places[k]]
        positive = np.maximum(sums, 0)
        total = _row_sums(positive)
        better = total > best
        np.copyto(best, total, where=better)
        np.copyto(columns, positive > 0, where=better[:, None])
    rows = np.zeros((height, count), bool)
    for _ in range(2):
        rows = _row_sums(profit * columns) > 0
        sums[:] = 0
        for k in range(height):
            sums += profit[k] * rows[k][:, None]
        columns = sums > 0
    return (rows & columns.any(axis=1)).T, columns


def _at_budget(blocks: np.ndarray, budget: int) -> tuple[Rectangles, Rectangles]:
    """What is kept within the budget, and what is kept at a price so little lower that few blocks differ."""
    guess = _sampled_price(blocks, budget)
    low, high = guess * 0.97, guess * 1.03
    narrow, wide = _at_price(blocks, high), _at_price(blocks, low)
    while narrow.counts.sum() > budget:
        low, wide = high, narrow
        high *= 1.2
        narrow = _at_price(blocks, high)
    while wide.counts.sum() <= budget and low > _LEAST_PRICE:
        high, narrow = low, wide
        low /= 1.2
        wide = _at_price(blocks, low)
    undecided = np.arange(blocks.shape[1])
    for step in range(_STEPS):
        # More is kept of no block at a higher price; where as much is kept, it is the same or as good.
        undecided = undecided[narrow.counts[undecided] != wide.counts[undecided]]
        few, many = int(narrow.counts.sum()), int(wide.counts.sum())
        share = min(max((budget - few) / max(many - few, 1), 0.05), 0.95) if step % 3 < 2 else 0.5
        price = float(np.float32(high + (low - high) * share))
        if len(undecided) <= _FEW_BLOCKS or not low < price < high:
            break
        tried = _at_price(np.ascontiguousarray(blocks[:, undecided]), price)
        if few + int((tried.counts - narrow.counts[undecided]).sum()) <= budget:
            high = price
            narrow.put(undecided, tried)
        else:
            low = price
            wide.put(undecided, tried)
    return narrow, wide


def _sampled_price(blocks: np.ndarray, budget: int) -> float:
    """The price at which some of the blocks keep their share of the budget, within a few percent."""
    count = blocks.shape[1]
    stride = max(1, count // _SAMPLED_BLOCKS)
    stride += stride > 1 and stride % 2 == 0  # an even stride could meet the same columns of blocks again and again
    sample = np.ascontiguousarray(blocks[:, ::stride])
    wanted = budget * sample.shape[1] / count

    def too_low(price: float) -> bool:
        return _at_price(sample, price).counts.sum() > wanted

    flat = sample.reshape(-1)
    place = min(int(flat.size - wanted), flat.size - 1)
    price = max(float(np.partition(flat, place)[place]), 2 * _LEAST_PRICE)
    low, high = price, price
    while too_low(high):
        low, high = high, 2 * high
    while low > _LEAST_PRICE and not too_low(low):
        low, high = low / 2, low
    while high > 1.02 * low:
        price = float(np.sqrt(low * high))
        low, high = (price, high) if too_low(price) else (low, price)
    return high


def _take_changes(blocks: np.ndarray, kept: Rectangles, wider: Rectangles, left: int) -> int:
    """Blocks of `kept` become as in `wider`, those that gain most per weight first, while the budget holds; returns
    what is left of it."""
    more = wider.counts - kept.counts
    changed = np.flatnonzero(more > 0)
    if not len(changed):
        return left
    gain = _norms(blocks[:, changed], wider.take(changed)) - _norms(blocks[:, changed], kept.take(changed))
    order = changed[np.argsort(-gain / more[changed], kind="stable")]
    total = np.cumsum(more[order])
    fitting = int(np.searchsorted(total, left, side="right"))
    taken, left = list(order[:fitting]), left - (int(total[fitting - 1]) if fitting else 0)
    for block in order[fitting : fitting + 64]:
        if more[block] <= left:
            taken.append(block)
            left -= int(more[block])
    chosen = np.array(taken, np.int64)
    kept.put(chosen, wider.take(chosen))
    return left


def _norms(blocks: np.ndarray, kept: Rectangles) -> np.ndarray:
    within = (blocks * kept.columns[None]).sum(axis=2, dtype=np.float64)
    return (within * kept.rows.T).sum(axis=0)


def _fill(blocks: np.ndarray, real: np.ndarray, kept: Rectangles, left: int) -> None:
    """Spends what is left of the budget: mostly less than a block, so that some blocks are enough to choose from."""
    height, count, width = blocks.shape
    if count > 2 * _SAMPLED_BLOCKS and left <= height * width:
        some = np.arange(0, count, count // _SAMPLED_BLOCKS)
        part = kept.take(some)
        left = _fill_blocks(blocks[:, some], real[:, some], part, left)
        kept.put(some, part)
    if left >= height:
        _fill_blocks(blocks, real, kept, left)


def _fill_blocks(blocks: np.ndarray, real: np.ndarray, kept: Rectangles, left: int) -> int:
    """Adds single columns, then single rows, of the largest norm per weight, then starts blocks that are empty;
    returns what is left. The counts of `kept` are not kept up."""
    if left > 0:
        rows = kept.rows.T[:, :, None]
        height = np.count_nonzero(kept.rows, axis=1)
        free = ~kept.columns & real[0] & (height > 0)[:, None]
        scores = (blocks * rows).sum(axis=0) / np.maximum(height, 1)[:, None]
        left = _add(kept.columns, np.where(free, scores, -1), height, left)
    if left > 0:
        width = np.count_nonzero(kept.columns, axis=1)
        free = (~kept.rows & real[:, :, 0].T) & (width > 0)[:, None]
        scores = (blocks * kept.columns[None]).sum(axis=2).T / np.maximum(width, 1)[:, None]
        left = _add(kept.rows, np.where(free, scores, -1), width, left)
    empty = np.flatnonzero(~kept.rows.any(axis=1)) if left > 0 else np.zeros(0, np.int64)
    for block in empty[np.argsort(-blocks[:, empty].max(axis=(0, 2)), kind="stable")] if len(empty) else ():
        values = blocks[:, block]
        row = int(np.argmax(values.max(axis=1)))
        columns = np.argsort(-values[row], kind="stable")[: min(left, int(real[row, block].sum()))]
        kept.rows[block, row] = True
        kept.columns[block, columns] = True
        left -= len(columns)
        if left <= 0:
            break
    return left


def _add(chosen: np.ndarray, scores: np.ndarray, costs: np.ndarray, left: int) -> int:
    """Sets entries of `chosen` [blocks, units] by falling score (negative: not free) while the cost of their block
    fits into what is left; returns what is left then."""
    flat = scores.reshape(-1)
    most = min(left + 256, flat.size)
    best = np.argpartition(-flat, most - 1)[:most]
    for index in best[np.lexsort((best, -flat[best]))]:
        block, unit = divmod(int(index), scores.shape[1])
        if flat[index] > 0 and costs[block] <= left:
            chosen[block, unit] = True
            left -= int(costs[block])
    return left
