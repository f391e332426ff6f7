"""What a module computes, at every level of IR: an interpreter over the body of a function.

`sparsity` ops are computed by the NumPy reference, kernels run on this machine at every point of their grid, and all
other ops are outlined, as many at a time as can run together, into a function that MLIR's execution engine runs.
PyTorch is never imported: torch ops take torch-mlir's path to linalg.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from torch_mlir import ir
from torch_mlir.dialects import func, tensor

from secateur.dialects.entry_points import MAIN
from secateur.dialects.sparsity import reference, state
from secateur.dialects.sparsity.dialect import VerifyError
from secateur.dialects.sparsity.kernel_ops import kernel_positions
from secateur.dialects.sparsity.ops import OPS
from secateur.dialects.sparsity.ops.weight import WeightError
from secateur.dialects.sparsity.reference_parts import EvaluationError
from secateur.dialects.weight_store import WeightStore

from .engine import EngineError, call_kernel, call_tensors
from .tensor_types import array_type, is_torch_tensor

Values = dict[ir.Value, np.ndarray]
Observer = Callable[[ir.OpView, list[np.ndarray]], list[np.ndarray]]
"""Sees the results of an op that is computed by itself; what it returns is taken for them."""
_IN_ORDER = (state.LOAD, state.STORE, "func.call")


class SemanticsError(Exception):
    """A function cannot be evaluated. The text names the op or argument at fault; `location` is the op's."""

    def __init__(self, message: str, location: ir.Location | None = None) -> None:
        super().__init__(message)
        self.location = location


def evaluate(
    module: ir.Module,
    inputs: Sequence[np.ndarray],
    weights: WeightStore,
    function: str = MAIN,
    kept: dict[str, np.ndarray] | None = None,
    observe: Observer | None = None,
) -> list[np.ndarray]:
    """The results of `function` on `inputs`, one array per argument; scalars are arrays without dimensions.

    `kept`: the module's state by name, as the last call left it (what is missing has its first value) and, afterwards,
    as this call leaves it. `observe` is called for every op that has a rule of its own. The module is not changed.
    Raises `SemanticsError` where the function is missing, inputs do not fit it, or an op cannot be evaluated.
    """
    with module.context, ir.Location.unknown():
        return _Interpreter(module, weights, {} if kept is None else kept, observe).call(function, inputs)


def find_function(module: ir.Module, name: str) -> ir.OpView:
    """The function `name` of `module`, which must have a body. Raises `SemanticsError`."""
    for op in module.body.operations:
        if op.operation.name == "func.func" and ir.StringAttr(op.attributes["sym_name"]).value == name:
            if not op.regions[0].blocks:
                raise SemanticsError(f"function '{name}' has no body", op.location)
            return op
    raise SemanticsError(f"the module has no function '{name}'")


def _location_error(op: ir.OpView, message: object) -> SemanticsError:
    return SemanticsError(f"'{op.operation.name}' op {message}", op.location)


class _Interpreter:
    def __init__(
        self, module: ir.Module, weights: WeightStore, kept: dict[str, np.ndarray], observe: Observer | None
    ) -> None:
        self.module, self.weights, self.state = module, weights, kept
        self._observe = observe or (lambda _, results: results)
        for op in state.states(module):
            try:
                declared = state.state_of(op)
                if declared.name not in kept:
                    kept[declared.name] = state.initial_array(declared, weights)
            except (VerifyError, WeightError) as error:
                raise _location_error(op.opview, error) from None

    def call(self, name: str, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        function = find_function(self.module, name)
        if len(function.regions[0].blocks) != 1:
            raise SemanticsError(f"function '{name}' has several blocks; only straight code is evaluated")
        block = function.regions[0].blocks[0]
        values = _bind(name, block.arguments, inputs)
        *body, end = block.operations
        pending = [_Pending(number, op, self._own_rule(op)) for number, op in enumerate(body)]
        scheduled = {result: p for p in pending for result in p.op.operation.results}
        done: set[ir.Value] = set(values)
        while pending:
            # Loads and stores of state, and calls, which may do either, keep their order.
            turn = next((p for p in pending if p.op.operation.name in _IN_ORDER), None)
            ready = [p for p in pending if p.rule is not None and p.captured <= values.keys()]
            ready = [p for p in ready if p.op.operation.name not in _IN_ORDER or p is turn]
            for p in ready:
                self._apply(p, values)
                done.update(p.op.operation.results)
            run = _maximal_run(pending, done) if not ready else []
            if not ready and not run:
                raise _location_error(pending[0].op, "needs a value that no evaluated op gives")
            gone = {p.number for p in (*ready, *run)}
            pending = [p for p in pending if p.number not in gone]
            if run:
                wanted = set(end.operation.operands).union(*(p.captured for p in pending))
                _run_outlined(run, wanted, scheduled, values)
                done.update(r for p in run for r in p.op.operation.results)
        missing = [v for v in end.operation.operands if v not in values]
        if missing:
            raise _location_error(end, f"returns a {missing[0].type}, which is no array")
        return [values[v] for v in end.operation.operands]

    def _own_rule(self, op: ir.OpView) -> Callable[[ir.OpView, list[np.ndarray]], list[np.ndarray]] | None:
        """How an op is computed by itself, or None for an op that is outlined."""
        name = op.operation.name
        if name == "sparsity.dispatch":
            return self._dispatch
        if name in (state.LOAD, state.STORE) and state.state_read(op.operation) in self.state:
            return self._load if name == state.LOAD else self._store
        if name in OPS:
            return lambda op, operands: reference.evaluate(op, operands, self.weights)
        if name == "func.call":
            return lambda op, operands: self.call(op.attributes["callee"].value, operands)
        # torch-mlir's path to linalg does not know literals of booleans.
        if name == "torch.vtensor.literal" and str(op.attributes["value"].type.element_type) == "i1":
            return lambda op, _: [np.array(op.attributes["value"], dtype=np.bool_)]
        return None

    def _apply(self, pending: "_Pending", values: Values) -> None:
        op, rule = pending.op, pending.rule
        assert rule is not None
        try:
            results = self._observe(op, rule(op, [values[v] for v in op.operation.operands]))
        except (EngineError, EvaluationError) as error:
            raise _location_error(op, error) from error
        for value, array in zip(op.operation.results, results, strict=True):
            expected = array_type(value.type)
            if expected is None or not expected.fits(array):
                found = f"{array.dtype}{list(array.shape)}"
                raise _location_error(op, f"expected a result of {value.type}, found {found}")
            values[value] = array

    def _load(self, op: ir.OpView, _: list[np.ndarray]) -> list[np.ndarray]:
        return [self.state[state.state_read(op.operation)]]

    def _store(self, op: ir.OpView, operands: list[np.ndarray]) -> list[np.ndarray]:
        self.state[state.state_read(op.operation)] = operands[0]
        return []

    def _dispatch(self, op: ir.OpView, operands: list[np.ndarray]) -> list[np.ndarray]:
        kernel = find_function(self.module, op.attributes["kernel"].value)
        return call_kernel(kernel, self.module, list(op.attributes["grid"]), operands, kernel_positions(op))


def _bind(name: str, arguments: Iterable[ir.Value], inputs: Sequence[np.ndarray]) -> Values:
    arguments = list(arguments)
    if len(inputs) != len(arguments):
        raise SemanticsError(f"function '{name}' takes {len(arguments)} inputs, found {len(inputs)}")
    values: Values = {}
    for number, (argument, array) in enumerate(zip(arguments, inputs, strict=True)):
        expected, array = array_type(argument.type), np.asarray(array)
        if expected is None or not expected.fits(array):
            found = f"{array.dtype}{list(array.shape)}"
            raise SemanticsError(f"expected input {number} of '{name}' to be {argument.type}, found {found}")
        values[argument] = array
    return values


class _Pending:
    """An op that waits for its operands. `captured` are all values from outside that it or its regions use."""

    def __init__(self, number: int, op: ir.OpView, rule: Callable | None) -> None:
        self.number, self.op, self.rule = number, op, rule
        inside: set[ir.Value] = set()
        used: list[ir.Value] = []

        def visit(nested: ir.Operation) -> ir.WalkResult:
            if nested != op.operation and nested.name.startswith("sparsity."):
                raise _location_error(
                    nested.opview, f"stands inside a '{op.operation.name}', where it has no reference"
                )
            inside.update(nested.results)
            inside.update(a for region in nested.regions for block in region.blocks for a in block.arguments)
            used.extend(nested.operands)
            return ir.WalkResult.ADVANCE

        op.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
        self.captured = {value for value in used if value not in inside}


def _maximal_run(pending: list[_Pending], done: set[ir.Value]) -> list[_Pending]:
    """The ops to outline that depend on nothing but `done` and each other, in program order."""
    run, known = [], set(done)
    for p in pending:
        if p.rule is None and p.captured <= known:
            run.append(p)
            known.update(p.op.operation.results)
    return run


def _run_outlined(
    run: list[_Pending], wanted: set[ir.Value], scheduled: dict[ir.Value, _Pending], values: Values
) -> None:
    """Computes the results of `run` that are arrays and among `wanted`, and adds them to `values`.

    Values that are no arrays (torch's numbers and lists) cannot cross functions, so the ops that made them are
    copied into every run that uses them: they have no side effects.
    """
    results = [v for p in run for v in p.op.operation.results if v in wanted and array_type(v.type) is not None]
    if not results:
        return
    copied: dict[int, _Pending] = {}
    arguments: dict[ir.Value, None] = {}
    waiting = list(run)
    while waiting:
        p = waiting.pop()
        if p.number not in copied:
            copied[p.number] = p
            arguments.update(dict.fromkeys(v for v in p.captured if v in values))
            waiting += [scheduled[v] for v in p.captured if v not in values]
    body = [copied[number] for number in sorted(copied)]
    order = {v: i for i, v in enumerate(v for p in body for v in _in_order(p, arguments))}
    captured = sorted(arguments, key=order.__getitem__)
    try:
        arrays = call_tensors(_outline([p.op for p in body], captured, results), [values[v] for v in captured])
    except (EngineError, EvaluationError) as error:
        names = ", ".join(sorted({p.op.operation.name for p in body}))
        raise SemanticsError(f"cannot run {names}: {error}", run[0].op.location) from error
    values.update(zip(results, arrays, strict=True))


def _in_order(p: _Pending, arguments: Iterable[ir.Value]) -> list[ir.Value]:
    """The captured values of an op that are arguments, in the order in which the op uses them."""
    found: list[ir.Value] = []

    def visit(nested: ir.Operation) -> ir.WalkResult:
        found.extend(v for v in nested.operands if v in p.captured and v in arguments)
        return ir.WalkResult.ADVANCE

    p.op.operation.walk(visit, ir.WalkOrder.PRE_ORDER)
    return found


def _outline(ops: Sequence[ir.OpView], captured: Sequence[ir.Value], results: Sequence[ir.Value]) -> ir.Module:
    """A module with one function `entry` that computes `results` from `captured`; scalars travel as tensors
    without dimensions.
    """
    module = ir.Module.create()
    inputs, outputs = ([_as_tensor(v.type) for v in some] for some in (captured, results))
    with ir.InsertionPoint(module.body):
        function = func.FuncOp("entry", (inputs, outputs))
        block = function.add_entry_block()
    copies: dict[ir.Value, ir.Value] = {}
    with ir.InsertionPoint(block):
        for value, argument in zip(captured, block.arguments, strict=True):
            copies[value] = argument if argument.type == value.type else tensor.extract(argument, [])
        for op in ops:
            copy = op.operation.clone()
            _replace_operands(copy, copies)
            copies.update(zip(op.operation.results, copy.results, strict=True))
        returned = []
        for value, kind in zip(results, outputs, strict=True):
            same = value.type == kind
            returned.append(copies[value] if same else tensor.from_elements(kind, [copies[value]]))
        func.ReturnOp(returned)
    return module


def _as_tensor(kind: ir.Type) -> ir.Type:
    if isinstance(kind, ir.RankedTensorType) or is_torch_tensor(kind):
        return kind
    return ir.RankedTensorType.get([], kind)


def _replace_operands(op: ir.Operation, copies: dict[ir.Value, ir.Value]) -> None:
    def visit(nested: ir.Operation) -> ir.WalkResult:
        for number, operand in enumerate(nested.operands):
            if operand in copies:
                nested.operands[number] = copies[operand]
        return ir.WalkResult.ADVANCE

    op.walk(visit, ir.WalkOrder.PRE_ORDER)
