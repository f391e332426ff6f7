"""What `sparsity-opt` does once its command line is read."""

import dataclasses
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.compiler.pipeline.diagnostics import Diagnostic, DiagnosticLog
from secateur.compiler.pipeline.passmanager import (
    Instrumentation,
    PassManagerOptions,
    PassRecord,
    PipelineError,
    run_pipeline,
)
from secateur.compiler.pipeline.pipeline_text import PassNames, PipelineSyntaxError, parse_pipeline
from secateur.compiler.pipeline.pipelines import NAMED
from secateur.dialects.output_places import write_whole
from secateur.dialects.sparsity import Sparsity
from secateur.dialects.weight_store import WeightStore, WeightStoreError
from secateur.passes.base import PassContext

from .early_checks import check_dumped_passes, check_places, semantics_numbers
from .expected_diagnostics import MalformedExpectation, mismatches
from .flags import Arguments, UsageError, nearest_flag
from .ir_dumps import DumpOptions, IRDumps, PrintOptions
from .load_pass import folders_of, load_pass
from .nesting import too_deep
from .pass_list import pass_list
from .pass_reports import statistics_json, statistics_text, timing_report
from .reproducer import Reproducer, ReproducerError, WriteReproducer, read_reproducer
from .semantics_check import SemanticsCheck

log = logging.getLogger("sparsity-opt")

Listener = Callable[[Diagnostic], None]

_BYTECODE = b"ML\xefR"
_REPRODUCER_WARNING = "ignoring unknown external resources for 'mlir_reproducer'"


def run(arguments: Arguments) -> int:
    """Runs the tool; returns 0 or 1. Raises `UsageError`."""
    if arguments["debug"]:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, format="%(name)s: %(message)s")
    names = PassNames({c.name: c for c in map(load_pass, arguments.items("load-pass"))}, NAMED)
    if arguments["list-passes"]:
        text, broken = pass_list(names)
        print(text, end="")
        for line in broken:
            print(f"sparsity-opt: {line}", file=sys.stderr)
        return 1 if broken else 0
    context = make_context(bool(arguments["allow-unregistered-dialect"]))
    if arguments["emit-irdl"]:
        print(Sparsity._mlir_module)
        return 0
    return _Tool(arguments, context, names).run()


class _Tool:
    """One run over one input, in parts where it is split."""

    def __init__(self, arguments: Arguments, context: ir.Context, names: PassNames) -> None:
        self.arguments, self.context, self.names = arguments, context, names
        self.name = "<stdin>" if arguments.input == "-" else arguments.input
        self.verify = arguments.text("verify-diagnostics")
        elide = arguments.number("mlir-elide-elementsattrs-if-larger", int)
        self.printing = PrintOptions(
            bool(arguments["mlir-print-op-generic"]),
            bool(arguments["mlir-print-debuginfo"]),
            None if elide is None else int(elide),
            self.name,
        )
        self.records: list[PassRecord] = []
        self.parse_seconds = self.print_seconds = 0.0
        self.source: str | None = None

    def run(self) -> int:
        arguments = self.arguments
        self.pipeline = arguments.pipeline() or ""
        verify_each, weights = bool(arguments["verify-each"]), arguments.text("weights")
        loaded = arguments.items("load-pass")
        self.check = semantics_numbers(arguments)
        check_places(arguments)
        check_dumped_passes(arguments, self.context, self.names)
        self._check_pipeline()
        data = self._read()
        if arguments["run-reproducer"]:
            try:
                stored = read_reproducer(data.decode(errors="replace"))
            except ReproducerError as error:
                raise UsageError(f"'{self.name}': {error}") from None
            self.pipeline, verify_each, weights = stored.pipeline, stored.verify_each, weights or stored.weights
            self.check = self.check or stored.check
            sys.path += [folder for folder in stored.load_from if folder not in sys.path]
            self.names = PassNames(
                {**{c.name: c for c in map(load_pass, stored.load_pass)}, **self.names.loaded}, NAMED
            )
            loaded = (*loaded, *(c for c in stored.load_pass if c not in loaded))
            self._check_pipeline()
        self.weights = self._open_weights(weights)
        self.reproducer = None
        if (path := arguments.text("mlir-pass-pipeline-crash-reproducer")) is not None:
            absolute = None if weights is None else str(Path(weights).resolve())
            settings = Reproducer("", verify_each, absolute, loaded, folders_of(loaded), self.check)
            self.reproducer = WriteReproducer(Path(path), settings)
        self.options = PassManagerOptions(
            verify_each=verify_each,
            names=self.names,
            implicit_nesting=bool(arguments.passes),
            instrumentations=self._instrumentations(),
            source_name=self.name,
        )
        outputs = [self._part(part) for part in self._parts(data)]
        failed = any(output is None for output in outputs)
        self._report()
        if failed and arguments["o"] != "-":
            return 1
        self._write("// -----\n".join(text for text in outputs if text is not None))
        if not failed and (folder := arguments.text("save-weights")) is not None:
            try:
                self.weights.save(folder)
            except OSError as error:
                raise UsageError(f"--save-weights={folder}: cannot be written: {error.strerror}") from error
        return 1 if failed else 0

    def _check_pipeline(self) -> None:
        try:
            parse_pipeline(self.pipeline, self.context, self.names, implicit=bool(self.arguments.passes))
        except PipelineSyntaxError as error:
            unknown = re.search(r"unknown pass or pipeline '(.*?)'", error.message)
            if unknown and self.arguments.passes and (flag := nearest_flag(unknown[1])):
                error.nearest = [flag]
            raise UsageError(f"error: {error}") from error

    def _read(self) -> bytes:
        try:
            return sys.stdin.buffer.read() if self.arguments.input == "-" else Path(self.arguments.input).read_bytes()
        except OSError as error:
            raise UsageError(f"cannot open input file '{self.arguments.input}': {error.strerror}") from error

    def _open_weights(self, folder: str | None) -> WeightStore:
        try:
            return WeightStore() if folder is None else WeightStore.open(folder)
        except WeightStoreError as error:
            raise UsageError(f"--weights: {error}") from error

    def _instrumentations(self) -> list[Instrumentation]:
        a, found = self.arguments, list[Instrumentation]()
        if self.reproducer is not None:
            found.append(self.reproducer)
        tree = a.text("mlir-print-ir-tree-dir")
        when = DumpOptions(
            bool(a["mlir-print-ir-before-all"]),
            bool(a["mlir-print-ir-after-all"]),
            bool(a["mlir-print-ir-after-change"]),
            bool(a["mlir-print-ir-after-failure"]),
            a.items("mlir-print-ir-before"),
            a.items("mlir-print-ir-after"),
            None if tree is None else Path(tree),
        )
        if when.any():
            found.append(IRDumps(when, self.printing, sys.stderr))
        elif tree is not None:
            raise UsageError("--mlir-print-ir-tree-dir needs one of the --mlir-print-ir-before/after flags")
        if self.check is not None:
            found.append(SemanticsCheck(*self.check, on_skip=_tell_skipped))
        return found

    def _parts(self, data: bytes) -> Iterator[str | bytes]:
        """The inputs; each begins with as many empty lines as stand before it, so that line numbers hold."""
        if data.startswith(_BYTECODE):
            yield data
            return
        try:
            self.source = data.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"'{self.name}' is neither MLIR text nor bytecode: {error}") from error
        if "\0" in self.source:
            line = self.source.count("\n", 0, self.source.index("\0")) + 1
            raise UsageError(f"'{self.name}' is no MLIR text: line {line} holds a NUL byte")
        marker = self.arguments.text("split-input-file")
        if marker is None:
            yield self.source
            return
        part, start = list[str](), 0
        for number, line in enumerate(self.source.splitlines(keepends=True), 1):
            if line.rstrip() == marker:
                yield "\n" * start + "".join(part)
                part, start = [], number
            else:
                part.append(line)
        yield "\n" * start + "".join(part)

    def _part(self, part: str | bytes) -> str | None:
        """Processes one input. Returns its IR ("" where only its diagnostics count), None where it failed."""
        emitted: list[Diagnostic] = []

        def listen(diagnostic: Diagnostic) -> None:
            if diagnostic.message != _REPRODUCER_WARNING:
                emitted.append(diagnostic)
                if self.verify is None:
                    print(diagnostic.show(self.source), file=sys.stderr)

        text = self._process(part, listen)
        if self.verify is None:
            return text
        try:
            assert isinstance(part, str)
            wrong = mismatches(part, self.name, emitted, self.verify == "only-expected")
        except MalformedExpectation as error:
            raise UsageError(f"'{self.name}': {error}") from None
        for diagnostic in wrong:
            print(diagnostic.show(self.source), file=sys.stderr)
        return None if wrong else text or ""

    def _process(self, part: str | bytes, listen: Listener) -> str | None:
        rename = {"-": self.name}
        began = time.perf_counter()
        if isinstance(part, str) and (refused := too_deep(part, self.name)) is not None:
            listen(refused)
            return None
        try:
            with DiagnosticLog(self.context, rename, listen):
                module = ir.Module.parse(part, self.context)
        except ir.MLIRError:
            return None
        finally:
            self.parse_seconds += time.perf_counter() - began
        log.debug("pipeline: %s", self.pipeline)
        options = dataclasses.replace(self.options, on_diagnostic=listen)
        passes = PassContext(self.weights)
        try:
            result = run_pipeline(module, self.pipeline, passes, options)
        except PipelineError as error:
            self.records += error.finished
            self._tell(error, listen)
            return None
        self.records += result.passes
        began = time.perf_counter()
        text = self.printing.text(module)
        self.print_seconds += time.perf_counter() - began
        return text

    def _tell(self, error: PipelineError, listen: Listener) -> None:
        if self.arguments["debug"]:
            traceback.print_exception(error)
        if self.verify is not None:
            # A failure that no diagnostic speaks of must not pass for the expected one.
            if not any(d.severity == "error" for d in error.diagnostics):
                listen(Diagnostic("error", error.message))
            return
        print(f"sparsity-opt: {error.message}", file=sys.stderr)
        if self.reproducer is not None and self.reproducer.remains():
            print(f"sparsity-opt: reproducer: sparsity-opt --run-reproducer {self.reproducer.path}", file=sys.stderr)

    def _report(self) -> None:
        form = self.arguments.text("statistics")
        if form is not None:
            print((statistics_json if form == "json" else statistics_text)(self.records), end="", file=sys.stderr)
        if self.arguments["mlir-timing"]:
            others = (("Parser", self.parse_seconds), ("Output", self.print_seconds))
            print(timing_report(self.records, others), end="", file=sys.stderr)

    def _write(self, text: str) -> None:
        target = self.arguments.text("o") or "-"
        if target == "-":
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        try:
            write_whole(Path(target), text.encode())
        except OSError as error:
            raise UsageError(f"cannot write '{target}': {error.strerror}") from error


def _tell_skipped(step: str) -> None:
    print(
        f"sparsity-opt: --check-semantics: '{step}' leaves IR that cannot run; it is checked with the next pass",
        file=sys.stderr,
    )
