"""Kernels whose threads work together (`gpu.barrier`), run on this machine: each thread of a workgroup is one of ours.

before:
    func.func private @k(%x: memref<8xf32>, %i: index, %j: index, %l: index) attributes {sparsity.threads = ...} {
      %s = memref.alloc() : memref<2x4xf32, #gpu.address_space<workgroup>>
      gpu.barrier
after:
    func.func private @k(%x: memref<8xf32>, %i: index, %j: index, %l: index, %s: memref<2x4xf32>, %together: i64) {
      func.call @pthread_barrier_wait(%together)

and a function `entry` that one thread runs: its place in every workgroup, one workgroup after the other.
"""

import ctypes
import math
import threading
from collections.abc import Callable, Sequence

import numpy as np
from torch_mlir import ir

_libc = ctypes.CDLL(None)
# More than `sizeof(pthread_barrier_t)` anywhere.
_BARRIER_BYTES = 128
_THREADS = "sparsity.threads"
_WAIT = "pthread_barrier_wait"


def works_together(kernel: ir.OpView) -> bool:
    """Whether threads of a workgroup wait for each other in `kernel`."""
    return bool(_found(kernel, "gpu.barrier"))


def _found(root: ir.OpView, name: str) -> list[ir.Operation]:
    found: list[ir.Operation] = []

    def visit(op: ir.Operation) -> ir.WalkResult:
        if op.name == name:
            found.append(op)
        return ir.WalkResult.ADVANCE

    root.operation.walk(visit)
    return found


def share(module: ir.Module, grid: Sequence[int], entry: str) -> tuple[ir.Module, list[ir.MemRefType]]:
    """A module in which the first function of `module`, a kernel, is rewritten as above, with
    `entry(memrefs, memory of the workgroup, place)`; and the types of that memory.

    A place is four numbers: the address of the barrier, and the thread's place in its workgroup.
    """
    kernel = module.body.operations[0]
    block, i64 = kernel.regions[0].blocks[0], ir.IntegerType.get_signless(64)
    given = [str(a.type) for a in list(block.arguments)[:-3]]
    memory = []
    for op in _found(kernel, "memref.alloc"):
        kind = ir.MemRefType(op.results[0].type)
        memory.append(ir.MemRefType.get(kind.shape, kind.element_type))
        op.results[0].replace_all_uses_with(block.add_argument(memory[-1], op.location))
        op.erase()
    together = block.add_argument(i64, kernel.location)
    for op in _found(kernel, "gpu.barrier"):
        with op.location, ir.InsertionPoint(op):
            callee = {"callee": ir.FlatSymbolRefAttr.get(_WAIT)}
            ir.Operation.create("func.call", [ir.IntegerType.get_signless(32)], [together], callee)
        op.erase()
    types = ir.FunctionType.get([a.type for a in block.arguments], [])
    kernel.attributes["function_type"] = ir.TypeAttr.get(types)
    name = ir.StringAttr(kernel.attributes["sym_name"]).value
    threads = list(ir.DenseI64ArrayAttr(kernel.attributes[_THREADS]))
    added = _entry(entry, name, given, [str(kind) for kind in memory], grid, threads)
    functions = "\n".join(str(op) for op in module.body.operations)
    return ir.Module.parse(f"{functions}\n{added}"), memory


def _entry(
    entry: str, name: str, memrefs: list[str], memory: list[str], grid: Sequence[int], threads: Sequence[int]
) -> str:
    given, held = [f"%m{i}" for i in range(len(memrefs))], [f"%s{i}" for i in range(len(memory))]
    named = zip((*given, *held, "%place"), (*memrefs, *memory, "memref<4xi64>"), strict=True)
    arguments = ", ".join(f"{name}: {kind}" for name, kind in named)
    passed = ", ".join([*given, "%i, %j, %l", *held])
    types = ", ".join([*memrefs, "index, index, index", *memory, "i64"])
    constants = "\n".join(f"  %n{d} = arith.constant {grid[d]} : index\n  %t{d} = arith.constant {threads[d]} : index"
                          for d in range(3))  # fmt: skip
    places = "\n".join(
        f"  %c{d} = arith.constant {d} : index\n  %p{d} = memref.load %place[%c{d}] : memref<4xi64>" for d in range(4)
    )
    own = "\n".join(f"  %o{d} = arith.index_cast %p{d + 1} : i64 to index" for d in range(3))
    return f"""
func.func private @{_WAIT}(i64) -> i32
func.func @{entry}({arguments}) attributes {{llvm.emit_c_interface}} {{
{constants}
{places}
{own}
  scf.for %z = %c0 to %n2 step %t2 {{
    scf.for %y = %c0 to %n1 step %t1 {{
      scf.for %x = %c0 to %n0 step %t0 {{
        %i = arith.addi %x, %o0 : index
        %j = arith.addi %y, %o1 : index
        %l = arith.addi %z, %o2 : index
        func.call @{name}({passed}, %p0) : ({types}) -> ()
        // The next workgroup takes the same memory.
        %done = func.call @{_WAIT}(%p0) : (i64) -> i32
      }}
    }}
  }}
  return
}}
"""


def run_together(kernel: ir.OpView, call: Callable[[np.ndarray], None]) -> None:
    """`call(place)` on as many threads as a workgroup of `kernel` has, which meet at one barrier."""
    sizes = list(ir.DenseI64ArrayAttr(kernel.attributes[_THREADS]))
    together = ctypes.create_string_buffer(_BARRIER_BYTES)
    _libc.pthread_barrier_init(together, None, math.prod(sizes))
    places = [np.array([ctypes.addressof(together), *at[::-1]], np.int64) for at in np.ndindex(*sizes[::-1])]
    threads = [threading.Thread(target=call, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _libc.pthread_barrier_destroy(together)
