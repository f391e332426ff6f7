"""`--check-semantics`: the reference runs before the first pass and after every pass, on the same random inputs."""

from collections.abc import Callable, Sequence

import numpy as np
from torch_mlir import ir

from secateur.compiler.pipeline.diagnostics import file_location
from secateur.compiler.pipeline.passmanager import Instrumentation, PipelineError
from secateur.compiler.pipeline.pipeline_text import Step
from secateur.compiler.semantics.tensor_types import array_type
from secateur.dialects.sparsity.reference_parts import EvaluationError
from secateur.dialects.weight_store import WeightStore
from secateur.passes.base import PassContext, functions

Evaluate = Callable[[ir.Module, list[np.ndarray], WeightStore, str], list[np.ndarray]]


def public_functions(module: ir.Module) -> list[ir.OpView]:
    """The functions with a body that a caller of the module can reach."""
    found = []
    for function in functions(module):
        attributes = function.operation.attributes
        if "sym_visibility" not in attributes or attributes["sym_visibility"].value == "public":
            found.append(function)
    return found


def random_inputs(function: ir.OpView, seed: int, dynamic_size: int = 3) -> list[np.ndarray]:
    """Inputs for a function on tensors (builtin or torch) and numbers: normal floats, integers valid everywhere.

    An integer argument that indexes an embedding takes values below its number of entries, another 0 or 1.
    An unknown dimension becomes `dynamic_size`. Raises `ValueError` for an argument that is neither.
    """
    random = np.random.default_rng(seed)
    inputs = []
    for number, argument in enumerate(function.regions[0].blocks[0].arguments):
        kind = array_type(argument.type)
        if kind is None:
            raise ValueError(f"argument {number} is a {argument.type}; expected a ranked tensor or a number")
        sizes = [dynamic_size if size is None else size for size in kind.shape]
        if kind.dtype.kind == "f":
            inputs.append(np.asarray(random.standard_normal(sizes), kind.dtype))
        else:
            inputs.append(np.asarray(random.integers(0, _entries(argument), sizes), kind.dtype))
    return inputs


def _entries(argument: ir.Value) -> int:
    """How many values an integer argument may take: the entries of the smallest table it indexes; otherwise two."""
    bounds = []
    for use in argument.uses:
        owner = use.owner.operation
        table = {"sparsity.embedding": 1, "torch.aten.embedding": 0}.get(owner.name)
        if table is not None and table != use.operand_number:
            kind = array_type(owner.operands[table].type)
            if kind is not None and kind.shape[0] is not None:
                bounds.append(kind.shape[0])
    return min(bounds, default=2)


def difference(found: Sequence[np.ndarray], expected: Sequence[np.ndarray], tolerance: float) -> str | None:
    """How two lists of results differ by more than `tolerance` (of the largest expected value); None where they agree.

    Integers have to be equal; NaN and infinity have to stand in the same places.
    """
    if len(found) != len(expected):
        return f"{len(found)} results instead of {len(expected)}"
    for number, (new, old) in enumerate(zip(found, expected, strict=True)):
        new, old = np.asarray(new), np.asarray(old)
        if new.shape != old.shape:
            return f"result {number} has shape {list(new.shape)} instead of {list(old.shape)}"
        if old.dtype.kind != "f":
            if not np.array_equal(new, old):
                return f"result {number} differs in {np.count_nonzero(new != old)} of {old.size} integers"
            continue
        finite = np.isfinite(old)
        if not np.array_equal(new[~finite], old[~finite], equal_nan=True) or not np.isfinite(new[finite]).all():
            return f"result {number} has NaN or infinity in other places"
        if not finite.any():
            continue
        scale = max(float(np.abs(old[finite]).max()), float(np.finfo(np.float32).tiny))
        error = float(np.abs(new[finite].astype(np.float64) - old[finite]).max()) / scale
        if error > tolerance:
            return f"result {number} is off by {error:.3g} of its largest value, tolerated is {tolerance:.3g}"
    return None


class SemanticsCheck(Instrumentation):
    """Fails at the first pass that changes what a public function computes.

    `evaluate(module, inputs, weights, function)` is the reference; by default `compiler.semantics.evaluate`.
    Between two upstream passes a module may be half converted, so that nothing can run it: such a pass is checked
    together with the next ones, and `on_skip` is told its text. Ours, and the last one, have to leave IR that runs.
    """

    def __init__(
        self,
        seed: int = 0,
        tolerance: float = 1e-4,
        evaluate: Evaluate | None = None,
        on_skip: Callable[[str], None] = lambda step: None,
    ) -> None:
        self.seed, self.tolerance, self.on_skip = seed, tolerance, on_skip
        self._evaluate = evaluate
        self._inputs: dict[str, list[np.ndarray]] = {}
        self._expected: dict[str, list[np.ndarray]] = {}

    def begin(self, module: ir.Module, steps: Sequence[Step], context: PassContext) -> None:
        self._weights = context.weights
        self._remaining = len(steps)
        self._inputs.clear()
        self._expected.clear()
        for function in public_functions(module):
            name = function.operation.attributes["sym_name"].value
            try:
                self._inputs[name] = random_inputs(function, self.seed)
            except (ValueError, EvaluationError) as error:
                raise PipelineError(f"--check-semantics: function @{name}: {error}") from None
        for name in self._inputs:
            self._expected[name] = self._run(module, name, "")
        if not self._expected:
            raise PipelineError("--check-semantics: the module has no public function to run")

    def after(self, step: Step, module: ir.Module) -> None:
        self._remaining -= 1
        present = {f.operation.attributes["sym_name"].value for f in public_functions(module)}
        for name, expected in self._expected.items():
            if name not in present:
                raise PipelineError(f"--check-semantics: pass '{step.text}' removed function @{name}", step.text)
            try:
                found = self._run(module, name, step.text)
            except PipelineError:
                if step.python is not None or self._remaining == 0:
                    raise
                self.on_skip(step.text)
                continue
            wrong = difference(found, expected, self.tolerance)
            if wrong is not None:
                message = f"--check-semantics: pass '{step.text}' changes what @{name} computes: {wrong}"
                raise PipelineError(message, step.text)

    def _run(self, module: ir.Module, name: str, step: str) -> list[np.ndarray]:
        evaluate = self._evaluate or _reference()
        try:
            return [np.array(a) for a in evaluate(module, self._inputs[name], self._weights, name)]
        except Exception as error:
            moment = f"after pass '{step}'" if step else "before the first pass"
            place = file_location(location) if (location := getattr(error, "location", None)) else None
            where = f" (line {place.start_line})" if place is not None else ""
            text = f"--check-semantics: function @{name} cannot be evaluated {moment}: {error}{where}"
            raise PipelineError(text, step) from error


def _reference() -> Evaluate:
    from secateur.compiler.semantics.evaluation import (
        evaluate,  # the execution engine behind it is slow to load
    )

    def results_and_state(
        module: ir.Module, inputs: list[np.ndarray], weights: WeightStore, function: str
    ) -> list[np.ndarray]:
        state: dict[str, np.ndarray] = {}
        return [*evaluate(module, inputs, weights, function, state), *(state[name] for name in sorted(state))]

    return results_and_state
