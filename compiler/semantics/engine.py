"""Runs functions of upstream dialects on this machine: MLIR's pipelines to LLVM, then its execution engine.

A function of tensors (linalg, tensor, arith, math, tm_tensor; torch through torch-mlir's path to linalg) is bufferized
first. A kernel of memrefs is called from a loop over its grid.
"""

import ctypes
import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from torch_mlir import ir, passmanager
from torch_mlir.execution_engine import ExecutionEngine

from secateur.compiler.pipeline.diagnostics import DiagnosticLog
from secateur.dialects.sparsity.reference_parts import dtype_of

from .intrinsics import expand_intrinsics
from .workgroup_threads import run_together, share, works_together

_TORCH_TO_TENSORS = (
    # Ops that the importer kept whole (linear, gelu, layer_norm, ...) are decomposed here.
    "torchdynamo-export-to-torch-backend-pipeline",
    "torch-backend-to-linalg-on-tensors-backend-pipeline",
)
_TENSORS_TO_BUFFERS = (
    "func.func(linalg-generalize-named-ops)",
    "convert-elementwise-to-linalg",
    "convert-shape-to-std",
    "func.func(refback-generalize-tensor-pad)",
    "func.func(refback-generalize-tensor-concat)",
    "func.func(tm-tensor-bufferize)",
    "one-shot-bufferize{copy-before-write bufferize-function-boundaries"
    " function-boundary-type-conversion=identity-layout-map}",
    "refback-mlprogram-bufferize",
    # Every result is then memory of its own, which the caller may free.
    "buffer-deallocation-pipeline",
    "convert-bufferization-to-memref",
    "func.func(tm-tensor-to-loops)",
    # A copy as a loop needs no run-time library.
    "func.func(refback-munge-memref-copy)",
    "func.func(convert-linalg-to-loops)",
)
_BUFFERS_TO_LLVM = (
    "func.func(refback-expand-ops-for-llvm)",
    "func.func(arith-expand)",
    "func.func(convert-vector-to-scf)",
    "lower-affine",
    "convert-scf-to-cf",
    "expand-strided-metadata",
    "lower-affine",
    "func.func(convert-math-to-llvm)",
    "convert-math-to-libm",
    "convert-vector-to-llvm",
    "finalize-memref-to-llvm",
    "func.func(convert-arith-to-llvm)",
    "convert-index-to-llvm",
    "convert-ub-to-llvm",
    "convert-func-to-llvm",
    "convert-cf-to-llvm",
    "convert-complex-to-llvm",
    "reconcile-unrealized-casts",
)
_ENTRY = "entry"
# LLVM's level, 0 to 3: code that runs on few numbers takes longer to optimize than to run.
OPTIMIZATION = 2
# Compiled modules that a process keeps, each of some megabytes.
KEPT = 64
_libc = ctypes.CDLL(None)
_libc.free.argtypes = [ctypes.c_void_p]


class EngineError(Exception):
    """Code cannot be lowered or run; the text says which pass failed, or what the code did wrong."""


def _run(module: ir.Module, passes: Sequence[str]) -> None:
    for text in passes:
        with DiagnosticLog(module.context) as log:
            try:
                passmanager.PassManager.parse(f"builtin.module({text})", module.context).run(module.operation)
            except ir.MLIRError:
                reasons = "; ".join(d.message for d in log if d.severity == "error") or "no reason given"
                raise EngineError(f"'{text}' fails on the way to LLVM: {reasons}") from None


def _descriptor(rank: int) -> type[ctypes.Structure]:
    """MLIR's descriptor of a memref: allocated and aligned pointer, offset, sizes, strides (in elements)."""
    fields = [("allocated", ctypes.c_void_p), ("aligned", ctypes.c_void_p), ("offset", ctypes.c_int64)]
    if rank:
        fields += [("sizes", ctypes.c_int64 * rank), ("strides", ctypes.c_int64 * rank)]
    return type(f"Descriptor{rank}", (ctypes.Structure,), {"_fields_": fields})


def _describe(array: np.ndarray) -> ctypes.Structure:
    descriptor = _descriptor(array.ndim)()
    descriptor.allocated = descriptor.aligned = array.ctypes.data
    if array.ndim:
        descriptor.sizes[:] = array.shape
        descriptor.strides[:] = [s // array.itemsize for s in array.strides]
    return descriptor


def _aligned(array: np.ndarray) -> np.ndarray:
    """A private copy on a 64-byte boundary: code may assume that alignment, and may not write to the original."""
    raw = np.empty(array.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class _Compiled:
    """Machine code of the function `entry`, and the types of its results where it returns tensors."""

    def __init__(self, module: ir.Module, results: list[tuple[int, np.dtype]]) -> None:
        expand_intrinsics(module)
        _run(module, _BUFFERS_TO_LLVM)
        try:
            self.engine = ExecutionEngine(module, opt_level=OPTIMIZATION)
        except RuntimeError as error:
            raise EngineError(f"no machine code: {error}") from None
        self.results = results

    def invoke(self, *arguments: ctypes.Structure) -> None:
        self.engine.invoke(_ENTRY, *(ctypes.pointer(ctypes.pointer(a)) for a in arguments))

    def call(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        if not self.results:
            return []
        types = [_descriptor(rank) for rank, _ in self.results]
        fields = [(f"r{i}", kind) for i, kind in enumerate(types)]
        returned = type("Returned", (ctypes.Structure,), {"_fields_": fields})()
        copies = [_aligned(array) for array in inputs]
        self.invoke(returned, *map(_describe, copies))
        descriptors = [getattr(returned, name) for name, _ in fields]
        arrays = [_read(d, *kind) for d, kind in zip(descriptors, self.results, strict=True)]
        # Two results may be views of one allocation.
        for pointer in {d.allocated for d in descriptors} - {None}:
            _libc.free(pointer)
        return arrays


def _read(descriptor: ctypes.Structure, rank: int, dtype: np.dtype) -> np.ndarray:
    shape = tuple(descriptor.sizes) if rank else ()
    strides = tuple(s * dtype.itemsize for s in descriptor.strides) if rank else ()
    if 0 in shape:
        return np.empty(shape, dtype)
    extent = sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) + dtype.itemsize
    start = descriptor.aligned + descriptor.offset * dtype.itemsize
    data = (ctypes.c_uint8 * extent).from_address(start)
    return np.ndarray(shape, dtype, buffer=data, strides=strides).copy()


_kept: dict[str, _Compiled] = {}


def _compiled(module: ir.Module, compile: Callable[[ir.Module], _Compiled]) -> _Compiled:
    """What `compile` makes of `module`; the modules that were run last are kept, by their text."""
    key = hashlib.sha256(str(module).encode()).hexdigest()
    found = _kept.pop(key, None) or compile(module)
    while len(_kept) >= KEPT:
        _kept.pop(next(iter(_kept)), None)
    _kept[key] = found
    return found


def call_tensors(module: ir.Module, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Runs `entry` of `module`, a function of tensors (or `!torch.vtensor`), and lowers `module` for that.

    Machine code is kept by the module's text. Raises `EngineError` where a pass fails.
    """
    return _compiled(module, _compile_tensors).call(inputs)


def _compile_tensors(module: ir.Module) -> _Compiled:
    if "!torch." in str(module):
        _run(module, _TORCH_TO_TENSORS)
    entry = _entry(module)
    results = [(t.rank, dtype_of(t.element_type)) for t in ir.FunctionType(entry.type).results]
    entry.attributes["llvm.emit_c_interface"] = ir.UnitAttr.get(module.context)
    _run(module, _TENSORS_TO_BUFFERS)
    return _Compiled(module, results)


def _entry(module: ir.Module) -> ir.OpView:
    found = [op for op in module.body.operations if getattr(op, "sym_name", None) is not None]
    return next(op for op in found if ir.StringAttr(op.sym_name).value == _ENTRY)


def call_kernel(
    kernel: ir.OpView, module: ir.Module, grid: Sequence[int], inputs: Sequence[np.ndarray], results: Sequence[int]
) -> list[np.ndarray]:
    """Runs `kernel`, a function `(memrefs, index, index, index)` of `module`, at every point of `grid` (x, y, z).

    The first memrefs begin as `inputs`, those behind as memory that nothing was written to. `results` are the positions
    of the memrefs that are returned; the kernel may write to no other. Neither the module nor the inputs are changed.
    Raises `EngineError` where the arguments do not fit, where the kernel writes to an operand, or a pass fails.
    """
    types = ir.FunctionType(ir.TypeAttr(kernel.attributes["function_type"]).value).inputs
    buffers = [ir.MemRefType(t) for t in types if isinstance(t, ir.MemRefType)]
    name = ir.StringAttr(kernel.attributes["sym_name"]).value
    given = len(inputs) + sum(position >= len(inputs) for position in results)
    if len(types) != len(buffers) + 3 or len(buffers) != given:
        raise EngineError(f"expected kernel '{name}' to take {given} memrefs and three indices, found {types}")
    for number, (array, buffer) in enumerate(zip(inputs, buffers, strict=False)):
        if not _fits(array, buffer):
            found = f"{array.dtype}{list(array.shape)}"
            raise EngineError(f"expected operand {number} of kernel '{name}' to be {buffer}, found {found}")
    callees = "\n".join(str(op) for op in _callees(kernel, module))
    together = works_together(kernel)
    with module.context, ir.Location.unknown():
        if together:
            outlined, shared = share(ir.Module.parse(callees), grid, _ENTRY)
            buffers += shared
        else:
            outlined = ir.Module.parse(f"{callees}\n{_grid_loop(name, [str(t) for t in buffers], grid)}")
    compiled = _compiled(outlined, lambda module: _Compiled(module, []))
    memory = [_aligned(array) for array in inputs]
    memory += [_unwritten(*_shape_and_element(b)) for b in buffers[len(inputs) :]]
    if together:
        run_together(kernel, lambda place: compiled.invoke(*map(_describe, [*memory, place])))
    else:
        compiled.invoke(*map(_describe, memory))
    for number, (before, after) in enumerate(zip(inputs, memory, strict=False)):
        if number not in results and np.ascontiguousarray(before).tobytes() != after.tobytes():
            raise EngineError(f"kernel '{name}' writes to its operand {number}")
    return [memory[position] for position in results]


def _fits(array: np.ndarray, buffer: ir.MemRefType) -> bool:
    dynamic = ir.ShapedType.get_dynamic_size()
    same = all(d in (n, dynamic) for d, n in zip(buffer.shape, array.shape, strict=False))
    return same and array.ndim == buffer.rank and array.dtype == dtype_of(buffer.element_type)


def _shape_and_element(buffer: ir.MemRefType) -> tuple[list[int], np.dtype]:
    """Vectors as one more dimension."""
    element = buffer.element_type
    if isinstance(element, ir.VectorType):
        return [*buffer.shape, *element.shape], dtype_of(element.element_type)
    return list(buffer.shape), dtype_of(element)


def _unwritten(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """An array whose elements tell that no workgroup wrote them: NaN, or the largest integer."""
    if dtype.kind == "b":
        return _aligned(np.ones(shape, dtype))
    return _aligned(np.full(shape, np.iinfo(dtype).max if dtype.kind in "iu" else np.nan, dtype))


def _callees(kernel: ir.OpView, module: ir.Module) -> list[ir.OpView]:
    """The kernel and the symbols of `module` that it uses, directly or not."""
    symbols = {
        ir.StringAttr(op.attributes["sym_name"]).value: op
        for op in module.body.operations
        if "sym_name" in op.attributes
    }
    found: dict[str, ir.OpView] = {}

    def visit(op: ir.Operation) -> ir.WalkResult:
        for named in op.attributes:
            attribute = op.attributes[named] if isinstance(named, str) else named.attr
            if isinstance(attribute, ir.FlatSymbolRefAttr) and attribute.value in symbols:
                take(attribute.value)
        return ir.WalkResult.ADVANCE

    def take(name: str) -> None:
        if name not in found:
            found[name] = symbols[name]
            symbols[name].operation.walk(visit)

    take(ir.StringAttr(kernel.attributes["sym_name"]).value)
    return list(found.values())


def _grid_loop(name: str, buffers: list[str], grid: Sequence[int]) -> str:
    """A function `entry` of memrefs that calls the kernel at every point of the grid."""
    arguments = ", ".join(f"%m{i}: {t}" for i, t in enumerate(buffers))
    passed = ", ".join([*(f"%m{i}" for i in range(len(buffers))), "%x", "%y", "%z"])
    types = ", ".join([*buffers, "index", "index", "index"])
    return f"""
func.func @{_ENTRY}({arguments}) attributes {{llvm.emit_c_interface}} {{
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %nx = arith.constant {grid[0]} : index
  %ny = arith.constant {grid[1]} : index
  %nz = arith.constant {grid[2]} : index
  scf.for %z = %zero to %nz step %one {{
    scf.for %y = %zero to %ny step %one {{
      scf.for %x = %zero to %nx step %one {{
        func.call @{name}({passed}) : ({types}) -> ()
      }}
    }}
  }}
  return
}}
"""
