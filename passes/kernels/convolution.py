"""The kernel of `sparsity.packed_conv`: that of a linear layer, whose tokens are positions of a plane.

A workgroup computes some tiles of filters for a block of positions: all of them, or as many as keep what they read of x
in the second-level cache, so that it is read once for all the workgroup's filters.
"""

from torch_mlir import ir
from torch_mlir.dialects import arith, scf

from secateur.dialects.sparsity.ops.conv import residual_first
from secateur.dialects.sparsity.rules import activation_of

from .build import Lanes, Value, add, index, largest_divisor, load_index, loop, mul
from .linear import build_tiles
from .places import PlanePlaces
from .plan import Plan, schedule_of


def plan_conv(op: ir.OpView, lanes: Lanes) -> Plan | None:
    """The kernel of a `packed_conv` for vectors of `lanes`; None where they do not divide its positions."""
    positions, schedule = op.pixels.type.shape[0], schedule_of(op)
    if positions % lanes.width:
        return None
    vectors = largest_divisor(positions // lanes.width, schedule.get("token_vectors", 4))
    batch, filters, _ = op.result.type.shape
    channels = op.x.type.shape[1]
    activation = activation_of(op)
    suffix = ("_" + activation if activation != "none" else "") + ("_residual" if op.residual else "")
    sizes = "x".join(map(str, op.planes.values()["sizes"]))
    name = f"conv_{filters}x{channels}_{sizes}{suffix}"
    blocks = -(-positions // _block(op, vectors * lanes.width))
    return Plan(build_conv, name, [op.work.type.shape[0] - 1, blocks, batch], vectors)


def _block(op: ir.OpView, at_once: int) -> int:
    """Positions that a workgroup computes: those of the schedule, as whole numbers of what is computed at once."""
    positions = op.pixels.type.shape[0]
    wanted = schedule_of(op).get("pixels", positions)
    return min(-(-wanted // at_once) * at_once, positions)


def build_conv(op: ir.OpView, arguments: dict[str, Value], place: list[Value], lanes: Lanes, vectors: int) -> None:
    """Adds the kernel's body. `place` is (workgroup, block of positions, image); a workgroup computes the row tiles
    `work[w] .. work[w + 1]` for one block. `vectors` of positions are held per row.
    """
    workgroup, block, batch = place
    positions, values = op.pixels.type.shape[0], op.planes.values()
    size = _block(op, vectors * lanes.width)
    first = mul(block, size)
    last = arith.minui(add(first, size), index(positions))
    places = PlanePlaces(arguments, batch, (first, last), values["origin"], residual_first(op))
    start, stop = load_index(arguments["work"], workgroup), load_index(arguments["work"], add(workgroup, 1))
    build_tiles(op, arguments, start, stop, lanes, vectors, places)

    def clear_rows(tile: Value, _: list[Value]) -> list[Value]:
        for i in range(op.row_tile.value):
            row = load_index(arguments["rows"], tile, index(i))
            places.clear(lanes, row, 0, values["origin"])
            places.clear(lanes, row, values["origin"] + positions, values["length"])
        return []

    is_first = arith.cmpi(arith.CmpIPredicate.eq, block, index(0))
    branch = scf.IfOp(is_first)
    with ir.InsertionPoint(branch.then_block):
        loop(start, stop, 1, [], clear_rows)
        scf.YieldOp([])
