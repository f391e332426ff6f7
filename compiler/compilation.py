"""One compilation: from the imported module to a verified bundle, through the cache or past it."""

import dataclasses
import hashlib
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.dialects.sparsity.attributes import TARGET

from . import cache as caching
from . import verify
from .compiled_model import CompiledModel
from .errors import CompileError
from .input_limits import input_limits
from .layers import layers_of
from .levels import LEVELS, Dump, Lowering, Progress, pipeline_to, write_whole
from .report import Report

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch_mlir import ir

    from secateur.frontends import ImportedModel
    from secateur.runtime_targets.manifest import DispatchWork, Manifest
    from secateur.runtime_targets.targets import Target

    from .tune.tuned import Tuned
    from .work import LocatedWork

_BUNDLE, _REPORT = "bundle", "report.json"
_MODULE, _PARAMETERS = "model.vmfb", "weights.irpa"


@dataclasses.dataclass(frozen=True)
class Options:
    """What `compile_model` was asked for."""

    target: str
    threads: int
    verify: bool | str
    compile_to: str
    lowering: str
    schedule: dict[str, int] | None
    progress: Progress
    tuned: "Tuned | None" = None
    leave_out: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A module in evaluation mode that shares its parameters with the caller's, and what belongs to it."""

    module: "torch.nn.Module"
    example_inputs: "dict[str, torch.Tensor]"
    tokenizer_files: list[Path]
    config: Any
    name: str


class Compilation:
    """One compilation, from the imported module on."""

    def __init__(
        self, options: Options, target: "Target", loaded: Loaded, imported: "ImportedModel", dump: Dump | None
    ) -> None:
        self._options, self._loaded, self._imported, self._dump = options, loaded, imported, dump
        self._target = target
        self._limits: list[int | None] = []
        self._work: list[LocatedWork] = []
        self._tuned: Tuned | None = None
        self._tuned_folder: tempfile.TemporaryDirectory[str] | None = None
        self._dispatches: list[DispatchWork] = []
        self._lowering = Lowering(imported.module, imported.weights)
        self.report = Report(target=options.target, threads=options.threads, lowering=options.lowering)

    def cached(self, cache: caching.Cache) -> CompiledModel:
        """From the cache, else into it. An entry that cannot be read is made anew."""
        self._options.progress("looking into the cache")
        key = caching.cache_key(
            model=self._model_hash(),
            target=self._target.name,
            flags=list(self._target.iree_flags),
            description=dict(self._target.description),
            lowering=self._options.lowering,
            schedule=self._options.schedule,
            tuned=self._options.tuned.digest if self._options.tuned else "",
            signature=[
                [dataclasses.asdict(s) for s in side] for side in (self._imported.inputs, self._imported.outputs)
            ],
            form=self._imported.output_form,
            verified=bool(self._options.verify),
            threads=self._options.threads,
            name=self._loaded.name,
            tokenizer={f.name: caching.hash_file(f) for f in self._loaded.tokenizer_files},
        )
        entry = cache.find(key)
        if entry is not None:
            try:
                return self._open(entry, cached=True)
            except Exception:
                cache.discard(key)
        try:
            with cache.write(key) as folder:
                self._fill(folder)
        except OSError as error:
            raise CompileError(
                f"the cache cannot be written ({error}); set SECATEUR_CACHE to another folder, or to 'off'"
            ) from error
        entry = cache.find(key)
        if entry is None:
            raise CompileError("the cache entry vanished while it was written; set SECATEUR_CACHE to another folder")
        return self._open(entry)

    def uncached(self) -> CompiledModel:
        """Compiles, as far as was asked for, without the cache."""
        if self._options.compile_to != "iree":
            return CompiledModel(None, self.report, ir=self._lower())
        folder = tempfile.TemporaryDirectory(prefix="secateur-")
        self._fill(Path(folder.name))
        return self._open(Path(folder.name), keep=folder)

    def _open(self, entry: Path, cached: bool = False, keep: Any = None) -> CompiledModel:
        from secateur.runtime_targets.bundle import open_bundle

        report = Report.from_dict(json.loads((entry / _REPORT).read_text()))
        report.cached = cached
        return CompiledModel(open_bundle(entry / _BUNDLE), report, keep=keep)

    def _fill(self, folder: Path) -> None:
        """Compiles, verifies and writes bundle and report into `folder`."""
        from secateur.runtime_targets import iree
        from secateur.runtime_targets.bundle import Bundle, write_bundle
        from secateur.runtime_targets.iree.dispatches import dispatch_calls
        from secateur.runtime_targets.runner import Runner

        from .work import join_work

        options = self._options
        self.report.model_hash = self._model_hash()
        self._lower()
        options.progress("compiling with IREE")
        began = time.perf_counter()
        assembly = iree.assemble(self._lowering.module, self._lowering.weights)
        if self._dump is not None:
            self._dump.write("iree", assembly.text)
        code = iree.compile_assembly(assembly, self._target)
        self._dispatches = join_work(self._work, dispatch_calls(assembly, self._target))
        self.report.level = "iree"
        self.report.seconds["iree"] = time.perf_counter() - began
        with tempfile.TemporaryDirectory(dir=folder, prefix="parameters-") as scratch:
            archive = Path(scratch) / "weights.irpa"
            iree.write_parameters(archive, assembly.parameters)
            self.report.unverified_reason = "it was not asked for" if not options.verify else self._unfit()
            if not self.report.unverified_reason:
                options.progress("verifying")
                began = time.perf_counter()
                session = iree.Session(code, archive, threads=options.threads)
                self._verify(Runner(Bundle(Path(scratch), self._manifest()), session).run)
                self.report.seconds["verify"] = time.perf_counter() - began
            options.progress("writing the bundle")
            files = {_MODULE: code, _PARAMETERS: archive, **self._tokenizer(), **self._records()}
            write_bundle(folder / _BUNDLE, self._manifest(), files)
        write_whole(folder / _REPORT, json.dumps(self.report.to_dict()).encode())

    def _model_hash(self) -> str:
        text = str(self._imported.module) + caching.hash_weights(self._imported.weights)
        return hashlib.sha256(text.encode()).hexdigest()

    def _unfit(self) -> str:
        """Why the code cannot run on this machine; empty where it can."""
        from secateur.runtime_targets.cpu import cpu_features

        if self._target.architecture != platform.machine():
            return f"it is made for {self._target.architecture}, and this machine is {platform.machine()}"
        lacking = sorted(set(self._target.cpu_features) - cpu_features())
        return f"this machine lacks {', '.join(lacking)}" if lacking else ""

    def _tokenizer(self) -> dict[str, Path]:
        return {f"tokenizer/{file.name}": file for file in self._loaded.tokenizer_files}

    def _records(self) -> dict[str, bytes]:
        """The records of tuning that were used, as a file of the bundle."""
        from .tune.tuned import RECORDS_IN_BUNDLE

        used = self._tuned.used(self._lowering.statistics) if self._tuned is not None else b""
        return {RECORDS_IN_BUNDLE: used} if used else {}

    def _manifest(self) -> "Manifest":
        from secateur.runtime_targets import manifest

        reason = self.report.unverified_reason
        target = manifest.TargetFiles(
            name=self._target.name,
            module=_MODULE,
            parameters=_PARAMETERS,
            architecture=self._target.architecture,
            cpu_features=self._target.cpu_features,
            workers=self._options.threads,
            note=f"unverified: {reason}" if reason else "verified against PyTorch on random and padded inputs",
            dispatches=tuple(self._dispatches),
        )
        limits = dict(zip((spec.name for spec in self._imported.inputs), self._limits, strict=True))
        specs = [
            tuple(manifest.TensorSpec(**dataclasses.asdict(s), limit=known.get(s.name)) for s in side)
            for side, known in ((self._imported.inputs, limits), (self._imported.outputs, {}))
        ]
        return manifest.Manifest(
            model=manifest.ModelInfo(name=self._loaded.name, sha256=self.report.model_hash),
            inputs=specs[0],
            outputs=specs[1],
            output_form=self._imported.output_form,
            targets=(target,),
            layers=tuple(manifest.LayerSparsity(**dataclasses.asdict(layer)) for layer in self.report.layers),
            tools=caching.tool_versions(),
            tokenizer=tuple(self._tokenizer()),
        )

    def _verify(self, run: "Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]") -> None:
        examples = {name: tensor.detach().cpu().numpy() for name, tensor in self._loaded.example_inputs.items()}
        cases = verify.cases(self._imported.inputs, examples, self._loaded.config)
        differences = verify.verify(
            lambda arrays: list(run(arrays).values()),
            lambda arrays: verify.torch_outputs(self._loaded.module, arrays),
            cases,
            [spec.name for spec in self._imported.outputs],
        )
        self.report.verification = differences
        where = ""
        if self._options.verify == "layers" and not all(d.passed for d in differences):
            where = self._first_wrong_layer(cases["random"])
        verify.check(differences, where)

    def _first_wrong_layer(self, arrays: "dict[str, np.ndarray]") -> str:
        from secateur.frontends import import_model
        from secateur.runtime_targets import iree

        from .first_wrong_layer import first_wrong_layer

        options = self._options
        again = import_model(self._loaded.module, self._loaded.example_inputs)
        structural = Lowering(again.module, again.weights)
        structural.lower("structural", "torch-to-structural")
        self._describe_target(again.module)

        def run(module: "ir.Module") -> "np.ndarray":
            lowering = Lowering(module, again.weights, level="structural")
            lowering.lower("structural", "sparsity-detect")
            for level in ("scheduled", "kernels"):
                lowering.lower(level, self._pipeline(level))
            assembly = iree.assemble(lowering.module, lowering.weights)
            code = iree.compile_assembly(assembly, self._target)
            with tempfile.TemporaryDirectory(prefix="secateur-") as scratch:
                archive = Path(scratch) / "weights.irpa"
                iree.write_parameters(archive, assembly.parameters)
                session = iree.Session(code, archive, threads=options.threads)
                return session.run([arrays[spec.name] for spec in again.inputs])[0]

        return first_wrong_layer(structural.module, self._loaded.module, arrays, run, options.progress)

    def _describe_target(self, module: "ir.Module") -> None:
        from torch_mlir import ir

        with module.context:
            module.operation.attributes[TARGET] = ir.Attribute.parse(self._target.description_text())

    def _lower(self) -> str:
        """Lowers to the level that was asked for, or to the last before IREE. Returns its text."""
        from .work import work_of_module

        options, lowering = self._options, self._lowering
        self._describe_target(lowering.module)
        try:
            text = self._reached()
            for level in LEVELS[1:-1]:
                if lowering.level == options.compile_to:
                    break
                options.progress(level)
                lowering.lower(level, self._pipeline(level))
                if level == "structural":
                    self._limits = input_limits(lowering.module)
                    self.report.layers = layers_of(lowering.module, lowering.weights)
                elif level == "scheduled":
                    self._work = work_of_module(lowering.module, lowering.weights)
                text = self._reached()
        finally:
            if self._dump is not None:
                options.progress("writing the weights of the dump")
                self._dump.write_weights(lowering.weights)
        self.report.level = lowering.level
        self.report.seconds.update(lowering.seconds)
        self.report.statistics = lowering.statistics
        return text

    def _pipeline(self, level: str) -> str:
        """The pipeline that leads to `level`, with what tuning found."""
        options = self._options
        if options.tuned is not None and level == "scheduled":
            self._tuned = options.tuned.fitting(self._lowering.module, self._lowering.weights)
            self._tuned_folder = self._tuned_folder or tempfile.TemporaryDirectory(prefix="secateur-tuned-")
            found = self._tuned.pass_options(Path(self._tuned_folder.name))
            return pipeline_to(level, options.lowering, options.schedule, found, options.leave_out)
        return pipeline_to(level, options.lowering, options.schedule, leave_out=options.leave_out)

    def _reached(self) -> str:
        if self._dump is None and self._lowering.level != self._options.compile_to:
            return ""
        text = str(self._lowering.module)
        if self._dump is not None:
            self._dump.write(self._lowering.level, text)
        return text
