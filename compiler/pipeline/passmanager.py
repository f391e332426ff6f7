"""Runs pipelines of Python and upstream passes on a module.

The passes run one at a time, each upstream pass in a pass manager of its own: so printing, timing, statistics
and checks between passes are the same for both kinds, and no op handle of ours outlives an upstream pass.
"""

import dataclasses
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence

from torch_mlir import ir, passmanager

from secateur.passes.base import PassContext, PassFailure

from .diagnostics import Diagnostic, DiagnosticLog
from .pipeline_text import PassNames, PipelineSyntaxError, Step, parse_pipeline
from .pipelines import NAMED

__all__ = [
    "Instrumentation",
    "PassManagerOptions",
    "PassRecord",
    "PipelineError",
    "PipelineResult",
    "PipelineSyntaxError",
    "run_pipeline",
]


class PipelineError(Exception):
    """A pass failed, or left IR that does not verify.

    `step` is the pass's text in the pipeline (empty where the fault lies before the first pass), `diagnostics`
    what was emitted, `finished` the records of the passes before it.
    """

    finished: Sequence["PassRecord"] = ()

    def __init__(self, message: str, step: str = "", diagnostics: Sequence[Diagnostic] = ()) -> None:
        self.message, self.step, self.diagnostics = message, step, list(diagnostics)
        super().__init__("\n".join([*(str(d) for d in self.diagnostics if d.severity == "error"), message]))


class Instrumentation:
    """Told of every pass; it may raise `PipelineError` to stop the pipeline. All methods are optional."""

    def begin(self, module: ir.Module, steps: Sequence[Step], context: PassContext) -> None:
        """Before the first pass."""

    def before(self, step: Step, module: ir.Module) -> None:
        """Before each pass."""

    def after(self, step: Step, module: ir.Module) -> None:
        """After each pass that succeeded, once the module is verified."""

    def failed(self, step: Step, module: ir.Module) -> None:
        """After a pass that failed, or that another instrumentation refused; the module may not verify."""

    def end(self, module: ir.Module) -> None:
        """After the last pass, where all succeeded."""


@dataclasses.dataclass(frozen=True)
class PassManagerOptions:
    """How a pipeline runs.

    `verify_each`: verify the module after each pass. `names`: further passes and the named pipelines.
    `implicit_nesting`: an upstream pass that runs on functions only is nested by itself.
    `source_name`: what to call a module that was parsed from a string. `on_diagnostic`: told of every
    diagnostic as it is emitted.
    """

    verify_each: bool = True
    names: PassNames = dataclasses.field(default_factory=lambda: PassNames(pipelines=NAMED))
    implicit_nesting: bool = False
    instrumentations: Sequence[Instrumentation] = ()
    source_name: str = "-"
    on_diagnostic: Callable[[Diagnostic], None] | None = None


@dataclasses.dataclass(frozen=True)
class PassRecord:
    """What one pass did: its text, wall time and statistics by name."""

    name: str
    text: str
    seconds: float
    verify_seconds: float
    statistics: dict[str, float]


@dataclasses.dataclass
class PipelineResult:
    """A record per pass, in order, and the diagnostics that were no errors."""

    passes: list[PassRecord] = dataclasses.field(default_factory=list)
    diagnostics: list[Diagnostic] = dataclasses.field(default_factory=list)

    def statistics(self) -> Counter[str]:
        """The statistics of all passes together, by name."""
        total: Counter[str] = Counter()
        for record in self.passes:
            total.update(record.statistics)  # type: ignore[arg-type]
        return total


def run_pipeline(
    module: ir.Module, text: str, context: PassContext, options: PassManagerOptions | None = None
) -> PipelineResult:
    """Runs the pipeline `text` on `module` in place.

    `context.weights` is what the passes read and add to; their counts are added to `context.statistics` and
    stand by pass in the result. Raises `PipelineSyntaxError` before anything ran, `PipelineError` where a pass fails
    (the module is then as the pass left it).
    """
    options = options or PassManagerOptions()
    steps = parse_pipeline(text, module.context, options.names, options.implicit_nesting)
    result = PipelineResult()
    rename = {"-": options.source_name}
    with (
        module.context,
        ir.Location.unknown(module.context),
        DiagnosticLog(module.context, rename, options.on_diagnostic) as log,
    ):
        for observer in options.instrumentations:
            observer.begin(module, steps, context)
        for step in steps:
            for observer in options.instrumentations:
                observer.before(step, module)
            try:
                result.passes.append(_run_step(module, step, context, options, log))
                for observer in options.instrumentations:
                    observer.after(step, module)
            except PipelineError as error:
                error.finished = result.passes
                for observer in options.instrumentations:
                    observer.failed(step, module)
                raise
        for observer in options.instrumentations:
            observer.end(module)
        result.diagnostics = list(log)
    return result


def _run_step(
    module: ir.Module, step: Step, context: PassContext, options: PassManagerOptions, log: DiagnosticLog
) -> PassRecord:
    first, errors_before = len(log.diagnostics), log.errors()
    own = dataclasses.replace(context, statistics=Counter())
    began = time.perf_counter()
    try:
        if step.python is None:
            manager = passmanager.PassManager.parse(step.pipeline)
            manager.enable_verifier(False)
            manager.run(module.operation)
        else:
            step.python.run(module, own)
    except PassFailure as failure:
        failure.location.emit_error(failure.message)
        raise _failure(step, log, first) from failure
    except ir.MLIRError as error:
        raise _failure(step, log, first, "" if log.errors() > errors_before else f": {error}") from error
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
        raise _failure(step, log, first, f": internal error: {type(error).__name__}: {error} ({place})") from error
    finally:
        context.statistics.update(own.statistics)
    ran = time.perf_counter()
    if step.python is not None and log.errors() > errors_before:
        raise _failure(step, log, first)
    if options.verify_each:
        try:
            valid = module.operation.verify()
        except ir.MLIRError:
            valid = False
        if not valid:
            raise _failure(step, log, first, ": the IR it left does not verify")
    return PassRecord(step.name, step.text, ran - began, time.perf_counter() - ran, dict(own.statistics))


def _failure(step: Step, log: DiagnosticLog, first: int, detail: str = "") -> PipelineError:
    return PipelineError(f"pass '{step.text}' failed{detail}", step.text, log.diagnostics[first:])
