"""Marks runs of dispatches that workgroups can do panel by panel, without waiting for each other in between.

before:
    %q = "sparsity.dispatch"(%x, ...) {kernel = @linear_2304x768, grid = array<i64: 8, 2, 1>}
    %a = "sparsity.dispatch"(%q, %mask) {kernel = @attention_12x64, grid = array<i64: 12, 2, 1>}
    %o = "sparsity.dispatch"(%a, ..., %x) {kernel = @linear_768x768_residual, grid = array<i64: 8, 2, 1>}
    %n = "sparsity.dispatch"(%o, ...) {kernel = @layer_norm_768, grid = array<i64: 1, 2, 1>}
after:
    %q = "sparsity.dispatch"(%x, ...) {...}
    %a = "sparsity.dispatch"(%q, %mask) {..., sparsity.chain = 0 : i64}
    %o = "sparsity.dispatch"(%a, ..., %x) {..., sparsity.chain = 0 : i64}
    %n = "sparsity.dispatch"(%o, ...) {..., sparsity.chain = 0 : i64}

Dispatches of one chain become one executable, whose grid is (1, panels, batch): a workgroup does all the work of its
panel, kernel after kernel. A panel then stays in the cache of one core from one attention to the next; as dispatches
of their own, kernels find half of their input in the cache of the other core, and wait for the slowest worker each
time. Attention reads all panels of its keys and values, so those are finished before: it begins a chain.

Preconditions, for a dispatch to join the chain before it:
  both have the same panels and batch, and panels * batch is a multiple of the target's workers (more than one).
    Rationale: a chain has no other parallelism, and an uneven share would leave workers idle.
  it reads the chain's results, and each kernel of the chain writes its own, only at the place (z, y) of its workgroup.
    Rationale: other panels may not be there yet. Read off the kernel's body: the first two indices of every access.
  no other op reads a result of the chain before its last dispatch. Rationale: the chain runs at that place.
  nothing reads later what it overwrites (`tied_operands`), and the chain reads that only at (z, y). Rationale: the
    chain's kernel has one memref for the old value and the new one.
  the chain's tensors are at most as many as an executable can take buffers.
"""

import dataclasses

from torch_mlir import ir

from secateur.dialects.sparsity.kernel_ops import CHAIN, kernel_positions, ties_of

from ..base import Pass, PassContext, functions, walk
from ..target import target_of

# IREE's runtime refuses executables with more.
_MOST_BUFFERS = 32
_ACCESSES = {"memref.load": 0, "vector.load": 0, "memref.store": 1, "vector.store": 1}


def accesses_own_panel(kernel: ir.Operation, position: int) -> bool:
    """Whether the kernel touches its argument `position` only at [z, y, ...], the place of the workgroup."""
    arguments = list(kernel.regions[0].blocks[0].arguments)
    return _accessed_at(arguments[position], arguments[-2], arguments[-1])


def _accessed_at(memory: ir.Value, panel: ir.Value, batch: ir.Value) -> bool:
    """Whether all accesses to `memory`, and to views of it that keep its first two dimensions, begin `batch, panel`."""
    for use in memory.uses:
        user = use.owner.operation
        if user.name in ("memref.collapse_shape", "memref.reinterpret_cast"):
            view = user.results[0]
            if _first_two(view) != _first_two(memory) or not _accessed_at(view, panel, batch):
                return False
            continue
        place = _ACCESSES.get(user.name)
        if place is None or use.operand_number != place:
            return False
        indices = list(user.operands)[place + 1 : place + 3]
        if len(indices) != 2 or indices[0] != batch or indices[1] != panel:
            return False
    return True


def _first_two(memory: ir.Value) -> tuple[list[int], list[int], int]:
    """Sizes and strides of the first two dimensions of a memref, and where it begins."""
    kind = ir.MemRefType(memory.type)
    strides, offset = kind.get_strides_and_offset()
    return kind.shape[:2], strides[:2], offset


def _is_last_reader(op: ir.Operation, value: ir.Value) -> bool:
    """Whether nothing reads `value` beside this operand of `op`, but ops that stand before `op` in its block."""
    users = [use.owner.operation for use in value.uses]
    before = [user for user in users if user.block == op.block and user != op and user.is_before_in_block(op)]
    return len(before) == len(users) - 1


def _reads_elsewhere(op: ir.Operation, kernels: dict[str, ir.Operation], values: list[ir.Value]) -> bool:
    """Whether workgroups of the dispatch `op` read one of `values` at other places than their own."""
    kernel = kernels[op.attributes["kernel"].value]
    return any(v in values and not accesses_own_panel(kernel, i) for i, v in enumerate(op.operands))


@dataclasses.dataclass
class _Chain:
    """Dispatches found to run as one, and the tensors they touch."""

    shape: list[int]
    members: list[ir.OpView]
    tensors: set[ir.Value]


@dataclasses.dataclass(frozen=True)
class SparsityChain(Pass):
    """Marks runs of dispatches that workgroups can do panel by panel."""

    name = "sparsity-chain"

    def run(self, module: ir.Module, context: PassContext) -> None:
        workers = target_of(module).workers
        if workers < 2:
            return
        kernels = {ir.StringAttr(f.attributes["sym_name"]).value: f.operation for f in walk(module, "func.func")}
        chains: list[_Chain] = []
        for function in functions(module):
            if "sparsity.kernel" not in function.attributes:
                chains += self._chains(function, kernels, workers)
        for number, chain in enumerate(chains):
            i64 = ir.IntegerType.get_signless(64, module.context)
            for op in chain.members:
                op.attributes[CHAIN] = ir.IntegerAttr.get(i64, number)
            context.count("chains")
            context.count("dispatches-chained", len(chain.members))

    def _chains(self, function: ir.OpView, kernels: dict[str, ir.Operation], workers: int) -> list[_Chain]:
        found: list[_Chain] = []
        current: _Chain | None = None
        for op in function.regions[0].blocks[0].operations:
            operation = op.operation
            made = {r for m in current.members for r in m.operation.results} if current is not None else set()
            if operation.name != "sparsity.dispatch":
                current = None if any(v in made for v in operation.operands) else current
                continue
            shape, kernel = list(op.grid)[1:], kernels[op.kernel.value]
            tensors = {*operation.operands, *operation.results}
            written = kernel_positions(operation)
            fits = shape[0] * shape[1] % workers == 0 and all(accesses_own_panel(kernel, i) for i in written)
            overwritten = [operation.operands[tie] for tie in ties_of(operation) if tie is not None]
            fits = fits and all(_is_last_reader(operation, value) for value in overwritten)
            reads = [i for i, value in enumerate(operation.operands) if value in made]
            if (
                current is not None
                and fits
                and current.shape == shape
                and len(current.tensors | tensors) <= _MOST_BUFFERS
                and all(accesses_own_panel(kernel, i) for i in reads)
                and not any(_reads_elsewhere(m.operation, kernels, overwritten) for m in current.members)
            ):
                current.members.append(op)
                current.tensors |= tensors
                continue
            current = _Chain(shape, [op], tensors) if fits else None
            if current is not None:
                found.append(current)
        return [chain for chain in found if len(chain.members) > 1]
