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

from secateur.dialects.sparsity.kernel_ops import CHAIN

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


class Chains:
    """Makes the kernels of chains; chains of the same kernels that are wired alike share one."""

    def __init__(self, kernels: dict[str, ir.Operation]) -> None:
        self._kernels = kernels
        self._made: dict[tuple, str] = {}

    def merge(self, members: list[ir.Operation]) -> Call:
        """The call that does the work of `members`, whose kernel is added to the kernels."""
        last, results = members[-1], [op.results[0] for op in members]
        grids = [list(op.opview.grid) for op in members]
        outputs = {result: kernel_memrefs(self._kernel(op))[-1] for op, result in zip(members, results, strict=True)}
        inputs = _Buffers([], [])
        wiring = []
        for op, grid in zip(members, grids, strict=True):
            if grid[1:] != grids[0][1:]:
                refuse(op, f"is in a chain on panels and batches {grids[0][1:]}, but has {grid[1:]}")
            for value, type_ in zip(op.operands, kernel_memrefs(self._kernel(op)), strict=False):
                if value in outputs and outputs[value] != type_:
                    refuse(op, f"takes {type_} of its chain, which makes {outputs[value]}")
                wiring.append(-1 - results.index(value) if value in outputs else inputs.place(value, type_))
        for result in results:
            for use in result.uses:
                user = use.owner.operation
                if user not in members and user.block == last.block and user.is_before_in_block(last):
                    refuse(user, "reads a result of a chain before its last dispatch")
        names = tuple(op.attributes["kernel"].value for op in members)
        key = (names, tuple(wiring), tuple(grid[0] for grid in grids))
        if key not in self._made:
            self._made[key] = self._build(members, grids, wiring, inputs.types, list(outputs.values()))
        return Call(last, self._made[key], inputs.values, results, [1, *grids[0][1:]], members)

    def _kernel(self, op: ir.Operation) -> ir.Operation:
        return self._kernels[op.attributes["kernel"].value]

    def _build(
        self,
        members: list[ir.Operation],
        grids: list[list[int]],
        wiring: list[int],
        inputs: list[ir.MemRefType],
        outputs: list[ir.MemRefType],
    ) -> str:
        name = self._name([op.attributes["kernel"].value for op in members])
        index = ir.IndexType.get()
        types = [*inputs, *outputs, index, index, index]
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
        place = iter(wiring)
        with ir.Location.unknown(), ir.InsertionPoint(block):
            end = ir.Operation.create("func.return")
            scratch = SharedScratch([self._kernel(op) for op in members], end)
        for number, (op, grid) in enumerate(zip(members, grids, strict=True)):
            wired = [next(place) for _ in op.operands]
            given = [arguments[i] if i >= 0 else arguments[len(inputs) - 1 - i] for i in wired]
            given.append(arguments[len(inputs) + number])
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
