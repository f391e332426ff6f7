"""Dispatches that run as one (`sparsity.chain`): their kernels become one, which does them one after the other.

before:
    %a = "sparsity.dispatch"(%q, %mask) {kernel = @attention, grid = array<i64: 12, 2, 1>, sparsity.chain = 0}
    %o = "sparsity.dispatch"(%a, %w) {kernel = @linear, grid = array<i64: 8, 2, 1>, sparsity.chain = 0}
after:
    func.func private @chain_attention_linear(%q, %mask, %w, %a, %o: memref<...>, %x: index, %y: index, %z: index) {
      %scratch = memref.alloca() : memref<32768xi8>   // all kernels', one after the other
      scf.for %i = 0 to 12 { /* body of @attention at (%i, %y, %z) */ }
      scf.for %i = 0 to 8 { /* body of @linear at (%i, %y, %z) */ }
    }
    %a, %o = a call of @chain_attention_linear on the grid (1, 2, 1), where the last of the dispatches was

Whether a workgroup may do so is for the pass that set the attribute; here only the form is checked. Kernels begin with
undefined scratch memory, so a chain needs no more of it than the kernel that needs the most.
"""

import dataclasses
import itertools
import re
from collections.abc import Sequence

from torch_mlir import ir

from secateur.dialects.sparsity.kernel_ops import CHAIN, kernel_positions, ties_of

from .kernels import Call, kernel_memrefs, refuse
from .scratch import SharedScratch


def chains_of(dispatches: Sequence[ir.Operation]) -> list[list[ir.Operation]]:
    """The dispatches of one function in program order, those of a chain together. Raises `AssemblyError`."""
    found: list[list[ir.Operation]] = []
    known: dict[int, list[ir.Operation]] = {}
    for op in dispatches:
        if CHAIN not in op.attributes:
            found.append([op])
            continue
        number = ir.IntegerAttr(op.attributes[CHAIN]).value
        if number not in known:
            found.append(known.setdefault(number, []))
        known[number].append(op)
    return found


@dataclasses.dataclass
class _Buffers:
    """The tensors of a chain and the memrefs that its kernels take them as."""

    values: list[ir.Value]
    types: list[ir.MemRefType]

    def place(self, value: ir.Value, type_: ir.MemRefType) -> int:
        for i, pair in enumerate(zip(self.values, self.types, strict=True)):
            if pair == (value, type_):
                return i
        self.values.append(value)
        self.types.append(type_)
        return len(self.values) - 1


class _Wires:
    """Which memref of a chain's kernel each of its members takes for each of their arguments.

    Memrefs are numbered: those of `inputs` from 0 up, those of `outputs`, which members make, from -1 down. A result
    that takes an operand's storage lies in the memref of the operand.
    """

    def __init__(self) -> None:
        self.inputs = _Buffers([], [])
        self.outputs: list[ir.MemRefType] = []
        self.of_arguments: list[int] = []
        self._made: dict[ir.Value, int] = {}
        self._last: dict[int, ir.Value] = {}

    def add(self, op: ir.Operation, memrefs: list[ir.MemRefType]) -> None:
        """Takes the next member, whose kernel takes `memrefs`. Raises `AssemblyError`."""
        places = []
        for value, type_ in zip(op.operands, memrefs, strict=False):
            place = self._made.get(value)
            if place is None:
                place = self.inputs.place(value, type_)
            elif (found := self._type(place)) != type_:
                refuse(op, f"takes {type_} of its chain, which makes {found}")
            places.append(place)
        for type_ in memrefs[len(op.operands) :]:
            self.outputs.append(type_)
            places.append(-len(self.outputs))
        for result, position in zip(op.results, kernel_positions(op), strict=True):
            self._made[result] = places[position]
            self._last[places[position]] = result
        self.of_arguments += places

    def _type(self, place: int) -> ir.MemRefType:
        return self.inputs.types[place] if place >= 0 else self.outputs[-1 - place]

    def results(self) -> tuple[list[ir.Value], list[int | None]]:
        """What lies in the memrefs that members write when all are done, and the input whose storage each takes."""
        made = [self._last[-1 - i] for i in range(len(self.outputs))]
        taken = sorted(place for place in self._last if place >= 0)
        return made + [self._last[place] for place in taken], [None] * len(made) + taken


def _kernel_name(op: ir.Operation) -> str:
    return op.attributes["kernel"].value


def single(op: ir.Operation) -> Call:
    """The call of a dispatch that is in no chain."""
    return Call(op, _kernel_name(op), list(op.operands), list(op.results), ties_of(op), list(op.opview.grid), [op])


def _check_readers(members: list[ir.Operation]) -> None:
    """Refuses readers that would come too early for what a chain makes, or too late for what it overwrites."""
    last, made = members[-1], [result for op in members for result in op.results]
    for result in made:
        for use in result.uses:
            user = use.owner.operation
            if user not in members and user.block == last.block and user.is_before_in_block(last):
                refuse(user, "reads a result of a chain before its last dispatch")
    for op in members:
        for tie in [tie for tie in ties_of(op) if tie is not None]:
            value = op.operands[tie]
            for use in value.uses:
                user = use.owner.operation
                twice = user == op and use.operand_number != tie
                in_chain = user in members and op.is_before_in_block(user)
                if twice or in_chain or (value in made and user not in members):
                    refuse(user, f"reads what '@{_kernel_name(op)}' overwrites in its chain")


class Chains:
    """Makes the kernels of chains; chains of the same kernels that are wired alike share one."""

    def __init__(self, kernels: dict[str, ir.Operation]) -> None:
        self._kernels = kernels
        self._made: dict[tuple, str] = {}

    def merge(self, members: list[ir.Operation]) -> Call:
        """The call that does the work of `members`, whose kernel is added to the kernels."""
        last, grids = members[-1], [list(op.opview.grid) for op in members]
        wires = _Wires()
        for op, grid in zip(members, grids, strict=True):
            if grid[1:] != grids[0][1:]:
                refuse(op, f"is in a chain on panels and batches {grids[0][1:]}, but has {grid[1:]}")
            wires.add(op, kernel_memrefs(self._kernel(op)))
        _check_readers(members)
        key = (tuple(map(_kernel_name, members)), tuple(wires.of_arguments), tuple(grid[0] for grid in grids))
        if key not in self._made:
            self._made[key] = self._build(members, grids, wires)
        results, ties = wires.results()
        return Call(last, self._made[key], wires.inputs.values, results, ties, [1, *grids[0][1:]], members)

    def _kernel(self, op: ir.Operation) -> ir.Operation:
        return self._kernels[_kernel_name(op)]

    def _build(self, members: list[ir.Operation], grids: list[list[int]], wires: "_Wires") -> str:
        name = self._name([_kernel_name(op) for op in members])
        index, inputs = ir.IndexType.get(), len(wires.inputs.types)
        types = [*wires.inputs.types, *wires.outputs, index, index, index]
        with ir.Location.fused([op.location for op in members]), ir.InsertionPoint(self._kernel(members[0])):
            function = ir.Operation.create(
                "func.func",
                attributes={
                    "sym_name": ir.StringAttr.get(name),
                    "sym_visibility": ir.StringAttr.get("private"),
                    "function_type": ir.TypeAttr.get(ir.FunctionType.get(types, [])),
                    "sparsity.kernel": ir.UnitAttr.get(),
                },
                regions=1,
            )
        block = function.regions[0].blocks.append(*types)
        arguments = list(block.arguments)
        place = iter(wires.of_arguments)
        with ir.Location.unknown(), ir.InsertionPoint(block):
            end = ir.Operation.create("func.return")
            scratch = SharedScratch([self._kernel(op) for op in members], end)
        for op, grid in zip(members, grids, strict=True):
            wired = [next(place) for _ in kernel_memrefs(self._kernel(op))]
            given = [arguments[i] if i >= 0 else arguments[inputs - 1 - i] for i in wired]
            _append(self._kernel(op), given, arguments[-2:], grid[0], end, scratch)
        self._kernels[name] = function
        return name

    def _name(self, kernels: list[str]) -> str:
        # What a kernel does stands before its sizes: linear_768x768_residual.
        base = "_".join(["chain", *(re.split(r"_\d", kernel)[0] for kernel in kernels)])
        return next(n for i in itertools.count() if (n := base + (f"_{i}" if i else "")) not in self._kernels)


def _append(
    kernel: ir.Operation,
    given: list[ir.Value],
    place: list[ir.Value],
    count: int,
    end: ir.Operation,
    scratch: SharedScratch,
) -> None:
    """Adds `count` runs of the kernel's body before `end`, at x = 0 .. count - 1 and (y, z) = `place`."""
    index = ir.IndexType.get()
    copy = kernel.clone(ir.InsertionPoint(kernel)).operation
    body = copy.regions[0].blocks[0]
    scratch.lend(copy, end)
    with kernel.location, ir.InsertionPoint(end):

        def number(value: int) -> ir.Value:
            attributes = {"value": ir.IntegerAttr.get(index, value)}
            return ir.Operation.create("arith.constant", [index], attributes=attributes).result

        x, before = number(0), end
        if count > 1:
            loop = ir.Operation.create("scf.for", operands=[x, number(count), number(1)], regions=1)
            inner = loop.regions[0].blocks.append(index)
            with ir.InsertionPoint(inner):
                before = ir.Operation.create("scf.yield")
            x = inner.arguments[0]
    for old, new in zip(body.arguments, [*given, x, *place], strict=True):
        old.replace_all_uses_with(new)
    for op in list(body.operations)[:-1]:
        op.operation.move_before(before)
    copy.erase()
