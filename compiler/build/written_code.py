"""The code of the targets of one compilation, as a bundle."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from secateur.compiler.records.tuned import RECORDS_IN_BUNDLE
from secateur.compiler.verify.reference import Reference

from .bundle_manifest import manifest_of, module_names, target_files
from .compile_options import TargetOptions
from .parameter_archives import Archive, parameter_archives
from .report import Report
from .target_build import TargetBuild, TargetCode

if TYPE_CHECKING:
    from secateur.frontends import Loaded
    from secateur.runtime_targets.manifest import Function, Manifest, StateSpec


def write_code(
    path: Path,
    loaded: "Loaded",
    targets: Sequence[TargetOptions],
    made: Sequence[tuple[TargetBuild, TargetCode]],
    reference: Reference,
    functions: "Mapping[str, Function]",
    state: "Mapping[str, StateSpec]",
    report: Report,
) -> "Manifest":
    """Writes the bundle `path`; one that stood there is replaced. `made`: the build of each of `targets`, and its code.
    `report` gets the sizes. Raises `BundleError` or `ParameterError`."""
    from secateur.runtime_targets import iree
    from secateur.runtime_targets.bundle import write_bundle

    codes = {build.report.name: code for build, code in made}
    archives = parameter_archives({name: code.parameters for name, code in codes.items()})
    _sizes(report, codes, archives)
    test = reference.self_test(list(codes))
    files: dict[str, Any] = {f"tokenizer/{file.name}": file for file in loaded.tokenizer_files}
    files |= test[1] if test else {}
    # The records of tuning that were used.
    records = b"".join(build.records() for build, _ in made)
    files |= {RECORDS_IN_BUNDLE: records} if records else {}
    modules = module_names(targets, codes)
    files |= {modules[name]: code.module for name, code in codes.items()}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="parameters-") as scratch:
        for number, archive in enumerate(archives):
            files[archive.name] = Path(scratch) / f"{number}.irpa"
            iree.write_parameters(files[archive.name], archive.arrays)
        entries = target_files(targets, codes, archives, report.threads)
        manifest = manifest_of(loaded, functions, state, report, entries)
        manifest = manifest.model_copy(update={"self_test": test[0] if test else None})
        return write_bundle(path, manifest, files)


def _sizes(report: Report, codes: Mapping[str, TargetCode], archives: Sequence[Archive]) -> None:
    report.weights_bytes = sum(archive.array_bytes for archive in archives)
    report.common_bytes = sum(a.array_bytes for a in archives if len(a.targets) == len(codes))
    for target in report.targets:
        read = [archive for archive in archives if target.name in archive.targets]
        target.module_bytes = len(codes[target.name].module)
        target.parameter_bytes = sum(archive.array_bytes for archive in read)
        target.own_parameter_bytes = sum(archive.array_bytes for archive in read if len(archive.targets) == 1)
