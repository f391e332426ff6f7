"""One compilation: from the imported module to a verified bundle of all targets, through the cache or past it."""

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.compiler.errors import CompileError
from secateur.compiler.pipeline.levels import Dump, Lowering, pipeline_to
from secateur.compiler.verify.quantized_model import StoredRows, quantized_reference
from secateur.compiler.verify.reference import Reference
from secateur.compiler.verify.reference_logits import reference_of
from secateur.compiler.verify.verification_place import verification_place
from secateur.dialects.errors import SecateurError
from secateur.dialects.locations import module_paths
from secateur.dialects.number_formats import NumberFormatError, NumberPlan
from secateur.dialects.output_places import write_whole
from secateur.dialects.scratch import ScratchFolder
from secateur.passes.base import walk

from . import cache as caching
from .bundle_manifest import class_labels, function_of, state_of_module
from .compile_options import Options, TargetOptions
from .compiled_model import CompiledModel
from .input_limits import input_limits
from .layers import layers_of
from .memory import csr_bytes, dense_bytes
from .report import Report, TargetReport
from .target_build import TargetBuild, describe_target
from .verified_build import note_of, verify_build
from .written_code import write_code

if TYPE_CHECKING:
    from torch_mlir import ir

    from secateur.frontends import ImportedModel, Loaded
    from secateur.runtime_targets.manifest import Manifest

_BUNDLE, _REPORT = "bundle", "report.json"


class Compilation:
    """One compilation, from the imported module on."""

    def __init__(
        self,
        options: Options,
        targets: Sequence[TargetOptions],
        loaded: "Loaded",
        imported: "ImportedModel",
        dump: Dump | None,
    ) -> None:
        self._options, self._loaded, self._imported, self._dump = options, loaded, imported, dump
        self._targets, self._alone = list(targets), len(targets) == 1
        self._limits: dict[str, list[int | None]] = {}
        self._labels = class_labels(loaded.config)
        self._stored = StoredRows({})
        self.report = Report(options.threads, [TargetReport(t.target.name, t.lowering) for t in targets])

    def cached(self, cache: caching.Cache) -> CompiledModel:
        """From the cache, else into it. An entry that cannot be read is made anew."""
        self._options.progress("looking into the cache")
        key = self._key()
        entry = cache.find(key)
        if entry is not None:
            with contextlib.suppress(Exception):
                known = self._open(entry, cached=True)
                # What failed before may go well now.
                if not known.report.failed:
                    return known
            cache.discard(key)
        try:
            with cache.write(key) as folder:
                self._fill(folder)
            entry = cache.find(key)
        except (OSError, SecateurError) as error:
            # What is written into an entry fails in words of its own: the folder tells whether that is why.
            fault = cache.write_fault()
            if fault is None and not isinstance(error, OSError):
                raise
            found = self.uncached()
            found.report.notes.append(
                f"the cache '{cache.folder}' cannot be written ({fault or error}), so the next compilation takes as "
                "long; set SECATEUR_CACHE to another folder, or to 'off'"
            )
            return found
        # Another process may have removed it to make room.
        return self._open(entry) if entry is not None else self.uncached()

    def uncached(self) -> CompiledModel:
        """Compiles, as far as was asked for, without the cache."""
        if self._options.compile_to != "iree":
            (build,), text = self._builds()
            text = build.lower() or text
            self._lowered([build])
            return CompiledModel(None, self.report, ir=text)
        folder = ScratchFolder("compiled")
        with folder.explained():
            self._fill(Path(folder.name))
            return self._open(Path(folder.name), keep=folder)

    def _key(self) -> str:
        options = self._options
        return caching.cache_key(
            model=self._model_hash(),
            targets=[
                {
                    "name": chosen.target.name,
                    "flags": list(chosen.target.iree_flags),
                    "description": dict(chosen.target.description),
                    "lowering": chosen.lowering,
                    "tuned": chosen.tuned.digest if chosen.tuned else "",
                    # Code that was compiled while an emulator was missing is compared when it is there.
                    "verified": repr(verification_place(chosen.target)) if options.verify else "",
                }
                for chosen in self._targets
            ],
            schedule=options.schedule,
            numbers=str(options.numbers),
            functions={name: dataclasses.asdict(form) for name, form in self._imported.functions.items()},
            labels=self._labels,
            threads=options.threads,
            name=self._loaded.name,
            tokenizer={f.name: caching.hash_file(f) for f in self._loaded.tokenizer_files},
        )

    def _open(self, entry: Path, cached: bool = False, keep: Any = None) -> CompiledModel:
        from secateur.runtime_targets.bundle import open_bundle

        report = Report.from_dict(json.loads((entry / _REPORT).read_text()))
        report.cached = cached
        return CompiledModel(open_bundle(entry / _BUNDLE, runnable=False), report, keep=keep)

    def _fill(self, folder: Path) -> None:
        """Compiles, verifies and writes bundle and report into `folder`."""
        from secateur.runtime_targets.bundle import Bundle
        from secateur.runtime_targets.manifest import MANIFEST, dump_manifest

        options = self._options
        self.report.model_hash = self._model_hash()
        builds, _ = self._builds()
        forms = self._imported.functions
        functions = {name: function_of(form, self._limits[name], self._labels) for name, form in forms.items()}
        state = state_of_module(self._imported.module)
        codes = self._each(builds, lambda build: build.code(functions))
        builds = [build for build in builds if build.report.name in codes]
        self._lowered(builds)
        self.report.level = "iree"
        options.progress("running PyTorch")
        reference = self._reference(builds)

        def written(builds: list[TargetBuild]) -> "Manifest":
            options.progress("writing the bundle")
            made = [(build, codes[build.report.name]) for build in builds]
            path, targets = folder / _BUNDLE, self._targets
            return write_code(path, self._loaded, targets, made, reference, functions, state, self.report)

        bundle = Bundle(folder / _BUNDLE, written(builds))
        began = time.perf_counter()
        verified = self._each(builds, lambda build: verify_build(build, bundle, reference, options, alone=self._alone))
        self.report.seconds["verify"] = time.perf_counter() - began
        manifest = bundle.manifest
        if len(verified) < len(builds):
            # Code that computes something else than PyTorch is not kept.
            builds = [build for build in builds if build.report.name in verified]
            self.report.targets = [build.report for build in builds]
            manifest = written(builds)
        # What was found of the code's correctness is known last.
        notes = {report.name: note_of(report) for report in self.report.targets}
        targets = tuple(t.model_copy(update={"note": notes[t.name]}) for t in manifest.targets)
        manifest = manifest.model_copy(update={"targets": targets})
        write_whole(folder / _BUNDLE / MANIFEST, dump_manifest(manifest))
        write_whole(folder / _REPORT, json.dumps(self.report.to_dict()).encode())

    def _each(self, builds: list[TargetBuild], work: Callable[[TargetBuild], Any]) -> dict[str, Any]:
        """Target -> what `work` gives for it. A target that fails does not keep the others from it: it is noted.

        Raises the fault of a target that was asked for alone, and `CompileError` where all of several fail.
        """
        found, faults = {}, {}
        for build in builds:
            try:
                found[build.report.name] = work(build)
            except SecateurError as error:
                if self._alone:
                    raise
                faults[build.report.name] = str(error)
        self.report.failed.update(faults)
        if not found:
            told = "; ".join(f"'{name}': {fault}" for name, fault in self.report.failed.items())
            raise CompileError(f"no target could be compiled: {told}")
        self._targets = [chosen for chosen in self._targets if chosen.target.name not in faults]
        return found

    def _reference(self, builds: list[TargetBuild]) -> Reference:
        """What code is compared with: PyTorch on the weights as they are stored."""
        reference = reference_of(self._loaded, self._imported)
        numbers = self._options.numbers
        if numbers.is_f32:
            return reference
        statistics = [build.report.statistics for build in builds]
        stored, self.report.quantization = quantized_reference(reference, self._stored, statistics)
        stored.accepted = numbers.accepted or stored.accepted
        return stored

    def _model_hash(self) -> str:
        text = str(self._imported.module) + caching.hash_weights(self._imported.weights)
        return hashlib.sha256(text.encode()).hexdigest()

    def _builds(self) -> tuple[list[TargetBuild], str]:
        """The structural module once per target, and the text of the last level where it was asked for.

        Each target has a weight store of its own, so that its code is the same whatever the others are.
        """
        options, imported = self._options, self._imported
        lowering = Lowering.of_copy(imported.module, imported.weights)
        self.report.dense_bytes = dense_bytes(imported.weights)
        if len(self._targets) == 1:
            describe_target(lowering.module, self._targets[0].target)
        text = self._reached(lowering)
        if options.compile_to != "torch":
            options.progress("structural")
            try:
                lowering.lower("structural", pipeline_to("structural"))
            except CompileError:
                if self._dump is not None:
                    self._dump.write_weights(lowering.weights)
                raise
            self._limits = {name: input_limits(lowering.module, name) for name in self._imported.functions}
            self.report.layers = layers_of(lowering.module, lowering.weights)
            if not options.numbers.is_f32:
                self._options = options = dataclasses.replace(options, numbers=_by_layer(options, lowering.module))
                self._stored = StoredRows.of(lowering.module, lowering.weights, options.numbers)
            self.report.csr_bytes = csr_bytes(self.report.dense_bytes, self.report.layers)
            text = self._reached(lowering)
        self.report.seconds.update(lowering.seconds)
        if len(self._targets) == 1:
            return [TargetBuild(options, self._targets[0], lowering, self._dump)], text
        builds = []
        for chosen in self._targets:
            own = Lowering.of_copy(lowering.module, lowering.weights, "structural")
            own.statistics.update(lowering.statistics)
            dump = Dump(self._dump.folder / chosen.file_name) if self._dump is not None else None
            builds.append(TargetBuild(options, chosen, own, dump))
        return builds, text

    def _reached(self, lowering: Lowering) -> str:
        if self._dump is None and lowering.level != self._options.compile_to:
            return ""
        text = str(lowering.module)
        if self._dump is not None:
            self._dump.write(lowering.level, text)
        return text

    def _lowered(self, builds: list[TargetBuild]) -> None:
        """Takes over what the builds report."""
        self.report.targets = [build.report for build in builds]
        self.report.level = self._options.compile_to
        for build in builds:
            for stage, amount in build.seconds.items():
                self.report.seconds[stage] = self.report.seconds.get(stage, 0.0) + amount


def _by_layer(options: Options, module: "ir.Module") -> NumberPlan:
    """The formats of the layers of a structural module, each by its name."""
    ops = walk(module, "sparsity.linear", "sparsity.embedding", "sparsity.attention")
    names = dict.fromkeys(path for op in ops for path in module_paths(op.location))
    try:
        return options.numbers.expanded(list(names))
    except NumberFormatError as error:
        raise CompileError(str(error), usage=True) from None


def compile_imported(
    loaded: "Loaded",
    imported: "ImportedModel",
    targets: Sequence[TargetOptions],
    options: Options,
    *,
    dump: Dump | None = None,
    cache: bool = True,
    import_seconds: float = 0.0,
) -> CompiledModel:
    """Compiles an imported model, with the records that each target brings, and compares it with PyTorch.

    `imported` stays as it is. `dump`: where the IR of every level goes. `cache`: reuse what was compiled before. Raises
    what `compile_model` raises.
    """
    compilation = Compilation(options, targets, loaded, imported, dump)
    compilation.report.seconds["import"] = import_seconds
    # A dump shows every level, which an entry of the cache does not hold.
    folder = caching.cache_folder() if cache and dump is None and options.compile_to == "iree" else None
    return compilation.cached(caching.Cache(folder)) if folder is not None else compilation.uncached()
