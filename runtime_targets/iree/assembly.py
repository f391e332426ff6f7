"""Level 4 to the text that IREE compiles.

before:
    func.func private @k(%x: memref<?xf32>, %y: memref<8x16xf32>, %i: index, %j: index, %l: index) {... sparsity.kernel}
    func.func @main(%a: tensor<4xf32>) {
      %w = "sparsity.weight"() {source = "encoder.weight"} : () -> tensor<9216xf32>
      %0 = "sparsity.dispatch"(%w) {kernel = @k, grid = array<i64: 8, 2, 1>} : (tensor<9216xf32>) -> tensor<8x16xf32>
after:
    util.global private @weight_0 = #flow.parameter.named<"model"::"encoder.weight"> : tensor<9216xf32>
    stream.executable private @ex_k {
      stream.executable.export public @k workgroups(%x: index, %y: index, %z: index) ... // the grid, as it is
      builtin.module {
        func.func @k(%n: index, %b0: !stream.binding, %b1: !stream.binding) {
          %x = stream.binding.subspan %b0[%c0] : !stream.binding -> memref<?xf32>{%n}
          %i = hal.interface.workgroup.id[0] : index ...
    func.func @main(%a: tensor<4xf32>) {
      %w = util.global.load immutable @weight_0 : tensor<9216xf32>
      %0 = flow.dispatch @ex_k::@k[%c8, %c2, %c1](%c9216, %w) : (index, tensor<9216xf32>) -> tensor<8x16xf32>

A kernel is one executable, however often and on whatever grid it is dispatched: the grid is the dispatch's workload,
and sizes that the kernel leaves dynamic are passed as numbers. IREE's ops are built unregistered, in the module's
own context, and everything is printed in generic form, the one form that both builds of MLIR read alike.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch_mlir import ir

from secateur.dialects.sparsity.attributes import TARGET
from secateur.dialects.sparsity.state import State

from .accepted import GPU_KERNEL_OPS, KERNEL_OPS, MAIN_OPS
from .booleans import widen_booleans
from .byte_tables import refuse_bytes, words_of_tables
from .chains import Chains, chains_of, single
from .in_outs import apart, keep, keep_arguments, tied_operands
from .kernels import AssemblyError, Call, build_executable, call_sizes, check_dispatch, is_kernel, refuse
from .narrow import narrow_integers
from .reflection import ModuleFacts, describe
from .scratch import scratch_bytes
from .spirv import separate_reductions
from .state_globals import add_initializer, convert_states, declared_states
from .threads import as_iree_prints, threads_of
from .weight_globals import SCOPE, WeightGlobals

if TYPE_CHECKING:
    from ..manifest import Function
    from ..targets import Target as TargetMachine

__all__ = ["SCOPE", "Assembly", "AssemblyError", "assemble"]

_IREE_OPS = {
    "flow.dispatch",
    "flow.tensor.bitcast",
    "flow.tensor.splat",
    "util.global.load",
    "util.global.store",
    "iree_tensor_ext.compute_barrier.start",
    "util.optimization_barrier",
}


@dataclasses.dataclass(frozen=True)
class Assembly:
    """A module for IREE (`text`) and the arrays it reads at start (`parameters`, by symbol).

    `located` is the text with the location of every op. What ships is made of `text`, so that no path of the machine
    that compiled is in it. `subgroup`: the lanes of a GPU's subgroups that the target of the module relies on.
    """

    text: str
    parameters: dict[str, np.ndarray]
    located: str = ""
    subgroup: int | None = None


def assemble(
    module: ir.Module,
    weights: Mapping[str, np.ndarray],
    *,
    target: "TargetMachine | None" = None,
    functions: "Mapping[str, Function] | None" = None,
) -> Assembly:
    """Assembles a level-4 module, or one of tensor-level ops only. `module` is not changed.

    Its public functions can be called by name; one that has state (`dialects/sparsity/state.py`) gets `@reset` too.

    `target`: for a GPU, 64-bit integers are computed in 32 bits (`narrow_integers`), booleans lie in memory as 32-bit
    integers (`widen_booleans`), tables of bytes are read as words (`words_of_tables`), and reductions are kept apart
    from what reads them (`separate_reductions`). `weights`: the arrays that `sparsity.weight` symbols name; those used
    outlive the module as `parameters`, without a copy.
    `functions`: for a bundle, how its functions are called; the module then tells that, its target and its parameters.
    Raises `AssemblyError`, one sentence, for an op that IREE does not take, a dispatch that does not fit its kernel, or
    a weight that is missing or of another shape or dtype.
    """
    context = module.context
    allowed = context.allow_unregistered_dialects
    with context, ir.Location.unknown():
        context.allow_unregistered_dialects = True
        try:
            clone = module.operation.clone().operation
            gpu = target if target is not None and target.backend == "vulkan" else None
            state = declared_states(clone, gpu is not None)
            if gpu is not None:
                weights = {**weights, **_prepare_for_gpu(clone, weights, gpu)}
            parameters, activations = WeightGlobals(weights), _activations(clone)
            entries = _convert(clone, parameters, state)
            facts = ModuleFacts(_subgroup(clone), activations, target, parameters.used, state)
            describe(entries, facts, functions)
            _strip(clone)
            texts = (clone.get_asm(print_generic_op_form=True, enable_debug_info=d) for d in (False, True))
            text, located = map(as_iree_prints, texts)
            return Assembly(text + "\n", parameters.used, located + "\n", _subgroup(module.operation))
        finally:
            context.allow_unregistered_dialects = allowed


def _subgroup(module: ir.Operation) -> int | None:
    """The lanes of a subgroup in the description of the target; None where it relies on none."""
    if TARGET not in module.attributes:
        return None
    subgroup = module.attributes[TARGET].values().get("subgroup")
    return None if subgroup is None else int(subgroup)


def _activations(module: ir.Operation) -> str | None:
    """ "f16" where some kernel gives f16; else None."""
    dispatches = [op for op in _walk(module) if op.name == "sparsity.dispatch"]
    half = any(isinstance(r.type.element_type, ir.F16Type) for op in dispatches for r in op.results)
    return "f16" if half else None


def _prepare_for_gpu(
    module: ir.Operation, weights: Mapping[str, np.ndarray], target: "TargetMachine"
) -> dict[str, np.ndarray]:
    """Returns the weights that have other values now."""
    found: dict[str, np.ndarray] = {}
    for op in [o.operation for o in module.regions[0].blocks[0].operations]:
        if op.name == "func.func" and not is_kernel(op):
            found.update(narrow_integers(op, weights))
            found.update(widen_booleans(op, weights))
            found.update(words_of_tables(op, weights))
            if not target.f16:
                refuse_bytes(op)
            separate_reductions(op)
    return found


def _walk(op: ir.Operation) -> list[ir.Operation]:
    found: list[ir.Operation] = []

    def visit(inner: ir.Operation) -> ir.WalkResult:
        found.append(inner)
        return ir.WalkResult.ADVANCE

    op.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def _convert(module: ir.Operation, weights: WeightGlobals, state: dict[str, State]) -> list[ir.Operation]:
    """Makes ops of IREE's of what is not; returns the functions that a caller may call."""
    body = module.regions[0].blocks[0]
    kernels: dict[str, ir.Operation] = {}
    functions = []
    for op in [o.operation for o in body.operations]:
        if is_kernel(op):
            kernels[_symbol(op)] = op
        elif op.name == "func.func":
            functions.append(op)
        elif op.name != "ml_program.global":
            refuse(op, "is not accepted at the top of a module for IREE; functions are")
    reset = convert_states(module, functions, state) if state else None
    functions += [reset] if reset is not None else []
    called = _convert_functions(functions, kernels, weights)
    if reset is not None:
        add_initializer(reset)
    # Globals of other dialects stand there unused (torch-mlir adds a random seed to every module); a use is refused.
    for op in [o.operation for o in body.operations]:
        if op.name == "ml_program.global":
            op.erase()
    for name, kernel in kernels.items():
        if name in called:
            accepted = GPU_KERNEL_OPS if threads_of(kernel) else KERNEL_OPS
            _check_ops(kernel, accepted | {"func.func"}, "a kernel")
            scratch_bytes(kernel)
            build_executable(kernel, f"ex_{name}")
        kernel.erase()
    for op in functions:
        _check_ops(op, MAIN_OPS | _IREE_OPS, "a module for IREE")
    weights.declare(body)
    return [op for op in functions if _is_public(op)]


def _is_public(function: ir.Operation) -> bool:
    visibility = function.attributes.get("sym_visibility", None)
    return visibility is None or visibility.value == "public"


def _strip(module: ir.Operation) -> None:
    """Takes away what IREE does not know: attributes of this dialect and of torch's."""
    for op in _walk(module):
        for name in list(op.attributes):
            if name.startswith(("sparsity.", "torch.")):
                del op.attributes[name]
    module.attributes["sym_name"] = ir.StringAttr.get(SCOPE)


def _convert_functions(
    functions: list[ir.Operation], kernels: dict[str, ir.Operation], weights: WeightGlobals
) -> set[str]:
    """Replaces dispatches and weights; returns the kernels that are called."""
    called: set[str] = set()
    chains = Chains(kernels)
    for function in functions:
        dispatches = [op for op in _walk(function) if op.name == "sparsity.dispatch"]
        for op in dispatches:
            name = op.attributes["kernel"].value
            if name not in kernels:
                refuse(op, f"calls the kernel '@{name}', which the module does not define; {_known(kernels)}")
            check_dispatch(op.opview, kernels[name])
        for members in chains_of(dispatches):
            call = chains.merge(members) if len(members) > 1 else single(members[0])
            called.add(call.kernel)
            _dispatch(call, kernels[call.kernel])
    for function in functions:
        for op in _walk(function):
            if op.name == "sparsity.weight":
                weights.replace(op)
        if _is_public(function):
            keep_arguments(function)
    return called


def _known(kernels: dict[str, ir.Operation]) -> str:
    return f"it defines {', '.join('@' + k for k in sorted(kernels))}" if kernels else "it defines no kernel"


def _symbol(op: ir.Operation) -> str:
    return ir.StringAttr(op.attributes["sym_name"]).value


def _dispatch(call: Call, kernel: ir.Operation) -> None:
    index = ir.IndexType.get()
    location = ir.Location.fused([op.location for op in call.members]) if len(call.members) > 1 else call.at.location
    with location, ir.InsertionPoint(call.at):

        def number(value: int) -> ir.Value:
            attributes = {"value": ir.IntegerAttr.get(index, value)}
            return ir.Operation.create("arith.constant", [index], attributes=attributes).result

        threads = threads_of(kernel) or [1, 1, 1]
        grid = [number(-(-n // t)) for n, t in zip(call.grid, threads, strict=True)]
        sizes = [number(n) for n in call_sizes(call, kernel)]
        inputs, kept = apart(call.inputs, call.ties)
        arguments = sizes + inputs
        segments = ir.DenseI32ArrayAttr.get([len(grid), len(arguments), 0, 0])
        made = ir.Operation.create(
            "flow.dispatch",
            [r.type for r in call.results],
            [*grid, *arguments],
            {
                "entry_points": ir.ArrayAttr.get([ir.SymbolRefAttr.get([f"ex_{call.kernel}", call.kernel])]),
                "operandSegmentSizes": segments,
                **tied_operands(call.ties, len(sizes)),
            },
        )
        keep(kept)
    for old, new in zip(call.results, made.results, strict=True):
        old.replace_all_uses_with(new)
    for op in reversed(call.members):
        op.erase()


def _check_ops(root: ir.Operation, accepted: frozenset[str] | set[str], where: str) -> None:
    for op in _walk(root):
        if op.name not in accepted:
            refuse(op, f"is not accepted in {where} for IREE")
        for value in op.results:
            if "!torch" in (text := str(value.type)) or "#sparsity" in text:
                refuse(op, f"has the type {text}, which IREE does not know")
