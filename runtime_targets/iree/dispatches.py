"""The dispatches that IREE makes of an assembled module: in program order, with the places in the model they come from.

IREE keeps our kernels as they are and forms dispatches of its own out of the tensor-level ops that are left. Both are
read from the level of its compiler where dispatches are formed (`flow`). For those of its own

    operations = sum over the linalg ops inside: points of the iteration space * float operations of the body
    bytes      = every operand (the slices that are read) and result once; of a table that is only indexed (an
                 embedding): the elements read

where a float operation of `arith` or `math` counts as one and a fused multiply-add as two.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from iree.compiler import ir, tools

from secateur.dialects.entry_points import MAIN
from secateur.dialects.locations import module_paths

from .assembly import Assembly
from .compile import UNCHECKED, CompilationError, first_error

if TYPE_CHECKING:
    from ..targets import Target

_FLOW_FLAGS = ("--compile-to=flow", "--mlir-print-debuginfo", "--mlir-elide-elementsattrs-if-larger=16", UNCHECKED)
_FLOAT_OPS = {f"arith.{n}" for n in ("addf", "subf", "mulf", "divf", "negf", "remf", "maximumf", "minimumf", "maxnumf",
                                     "minnumf")}  # fmt: skip
_MATRIX_PRODUCTS = ("linalg.matmul", "linalg.batch_matmul", "linalg.matvec", "linalg.vecmat", "linalg.dot",
                    "linalg.batch_matvec")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class DispatchCall:
    """One call of a dispatch in `@main`.

    `kernel`: the name under which a profile lists it; `paths`: the modules of the model it works for; `results`: types
    of its results; `own`: whether it is a kernel of ours, whose `flops` are not counted here (0). Bytes: constants
    read, other arrays read, arrays written; `flops` is None where a shape is not known or an op is not linalg.
    """

    kernel: str
    paths: tuple[str, ...]
    results: tuple[str, ...]
    own: bool
    flops: int | None
    weight_bytes: int
    read_bytes: int
    written_bytes: int


def dispatch_calls(assembly: Assembly, target: "Target") -> list[DispatchCall]:
    """The dispatches of `@main`, in program order; not those that run once, when the module is loaded.

    Raises `CompilationError` where IREE's compiler fails.
    """
    try:
        text = tools.compile_str(assembly.located, extra_args=[*target.iree_flags, *_FLOW_FLAGS], input_type="auto")
    except tools.CompilerToolError as error:
        raise CompilationError(first_error(str(error), target.name), str(error)) from None
    with ir.Context():
        module = ir.Module.parse(text)
        executables, calls = {}, []
        for op in module.body.operations:
            if op.operation.name == "flow.executable":
                executables[_symbol(op)] = op
        for op in module.body.operations:
            # The initializers of globals run once, and other functions are none of the model's runs.
            if op.operation.name in ("util.func", "func.func") and _symbol(op) == MAIN:
                # Inlining adds the place of the function, which is no place in the model.
                place = module_paths(op.operation.location)
                calls += [_call(found, executables, place) for found in _walk(op, "flow.dispatch")]
    return calls


def _symbol(op: Any) -> str:
    return ir.StringAttr(op.operation.attributes["sym_name"]).value


def _walk(root: Any, *names: str) -> list[Any]:
    found = []

    def visit(op: Any) -> ir.WalkResult:
        if not names or op.name in names:
            found.append(op.operation)
        return ir.WalkResult.ADVANCE

    root.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def _call(op: Any, executables: dict[str, Any], place: tuple[str, ...]) -> DispatchCall:
    name, kernel = next(iter(ir.ArrayAttr(op.attributes["entry_points"]))).value
    own = name not in executables
    read = {} if own else _bytes_read(executables[name])
    paths = module_paths(op.location)
    if not own and not paths:
        paths = _inner_paths(executables[name])
    paths = tuple(path for path in paths if path not in place)
    weight_bytes = read_bytes = 0
    tensors = [v for v in op.operands if isinstance(v.type, ir.RankedTensorType)]
    seen = set()
    for position, value in enumerate(tensors):
        if value in seen:
            continue
        seen.add(value)
        size = min(_bytes(value.type), read.get(position, _bytes(value.type)))
        if _is_constant(value):
            weight_bytes += size
        else:
            read_bytes += size
    return DispatchCall(
        kernel=kernel,
        paths=paths,
        results=tuple(str(r.type) for r in op.results),
        own=own,
        flops=0 if own else _flops(executables[name]),
        weight_bytes=weight_bytes,
        read_bytes=read_bytes,
        written_bytes=sum(_bytes(r.type) for r in op.results),
    )


def _is_constant(value: Any) -> bool:
    while not isinstance(value.owner, ir.Block):
        name = value.owner.name
        if name in ("util.global.load", "arith.constant", "flow.tensor.constant"):
            return True
        if name not in ("flow.tensor.reshape", "flow.tensor.bitcast"):
            return False
        value = value.owner.operands[0]
    return False


def _elements(type_: Any) -> int:
    return math.prod(0 if type_.is_dynamic_dim(i) else type_.get_dim_size(i) for i in range(type_.rank))


def _width(type_: Any) -> int:
    """Bytes of an element."""
    return max(1, getattr(type_.element_type, "width", 64) // 8)


def _bytes(type_: Any) -> int:
    return _elements(type_) * _width(type_)


def _function(executable: Any) -> Any:
    return _walk(executable, "func.func")[0]


def _inner_paths(executable: Any) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for op in _walk(executable):
        if op.name.startswith(("linalg.", "iree_linalg_ext.", "tensor.")):
            found.update(dict.fromkeys(module_paths(op.location)))
    return tuple(found)


def _bytes_read(executable: Any) -> dict[int, int]:
    """Bytes read of each operand, by its position: the slices that are loaded, or the elements that are indexed."""
    found = {}
    arguments = list(_function(executable).regions[0].blocks[0].arguments)
    tensors = [a for a in arguments if "dispatch.tensor" in str(a.type)]
    for position, argument in enumerate(tensors):
        loads = [use.owner.operation for use in argument.uses]
        if loads and all(op.name.endswith("dispatch.tensor.load") for op in loads):
            found[position] = sum(_bytes_loaded(op.results[0]) for op in loads)
    return found


def _bytes_loaded(value: Any) -> int:
    """Bytes of a loaded slice; of one that is only indexed by data: of the elements read, however often."""
    readers = [use.owner.operation for use in value.uses]
    if readers and all(op.name == "tensor.extract" for op in readers):
        points = [_points(op.parent) for op in readers]
        return sum(p for p in points if p is not None) * _width(value.type)
    return _bytes(value.type)


def _points(op: Any) -> int | None:
    """Points of the iteration space of a linalg op; None where a size is not known."""
    op = op.operation
    tensors = [v for v in op.operands if isinstance(v.type, ir.RankedTensorType)]
    if any(not t.type.has_static_shape for t in tensors):
        return None
    if "indexing_maps" in op.attributes:
        maps = [ir.AffineMapAttr(a).value for a in ir.ArrayAttr(op.attributes["indexing_maps"])]
        sizes: dict[int, int] = {}
        for map_, tensor in zip(maps, tensors, strict=False):
            for axis, expression in enumerate(map_.results):
                if isinstance(expression, ir.AffineDimExpr):
                    sizes[expression.position] = tensor.type.get_dim_size(axis)
        return math.prod(sizes.values())
    result = _elements(tensors[-1].type)
    if op.name in _MATRIX_PRODUCTS:
        last = tensors[0].type
        return result * (last.get_dim_size(last.rank - 1) if op.name != "linalg.vecmat" else last.get_dim_size(0))
    return max(_elements(t.type) for t in tensors)


def _flops(executable: Any) -> int | None:
    total = 0
    for op in _walk(_function(executable)):
        if op.name.startswith("iree_linalg_ext."):
            return None
        if not op.name.startswith("linalg.") or not len(op.regions) or not len(op.results):
            continue
        points = _points(op)
        if points is None:
            return None
        body = sum(_operations(inner) for inner in op.regions[0].blocks[0].operations)
        total += points * body
    return total


def _operations(op: Any) -> int:
    name = op.operation.name
    if name == "math.fma":
        return 2
    return int(name in _FLOAT_OPS or name.startswith("math."))
