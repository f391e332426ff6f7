"""Which inputs of a model are row numbers of a table, and how many rows it has."""

from torch_mlir import ir

from secateur.dialects.entry_points import MAIN
from secateur.passes.base import walk


def input_limits(module: ir.Module, function: str = MAIN) -> list[int | None]:
    """Per argument of `function`: the fewest rows of the tables that it indexes (`sparsity.embedding`), else None.

    Executables gather without a check, so an id beyond the table reads memory that is not its own.
    """
    found: dict[int, int] = {}
    body = next(op for op in walk(module, "func.func") if ir.StringAttr(op.attributes["sym_name"]).value == function)
    arguments = list(body.regions[0].blocks[0].arguments)
    for op in walk(body, "sparsity.embedding"):
        for position, argument in enumerate(arguments):
            if op.indices == argument:
                rows = op.table.type.shape[0]
                found[position] = min(rows, found.get(position, rows))
    return [found.get(position) for position in range(len(arguments))]
