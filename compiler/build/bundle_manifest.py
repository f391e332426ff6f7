"""What the manifest of a bundle says of a compilation."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from . import cache as caching
from .compile_options import TargetOptions
from .parameter_archives import Archive
from .report import Report
from .target_build import TargetCode

if TYPE_CHECKING:
    from secateur.frontends import ImportedModel, Loaded
    from secateur.runtime_targets.manifest import Manifest, TargetFiles


def module_names(targets: Sequence[TargetOptions], codes: Mapping[str, TargetCode]) -> dict[str, str]:
    """Target -> the file of its module. Android's and Linux's for one CPU are the same bytes, and so one file."""
    if len(targets) == 1:
        return {targets[0].target.name: "model.vmfb"}
    files: dict[bytes, str] = {}
    for chosen in targets:
        files.setdefault(codes[chosen.target.name].module, f"modules/{chosen.file_name}.vmfb")
    return {name: files[code.module] for name, code in codes.items()}


def target_files(
    targets: Sequence[TargetOptions], codes: Mapping[str, TargetCode], archives: Sequence[Archive], threads: int
) -> "tuple[TargetFiles, ...]":
    """The entries of the targets, in their order."""
    from secateur.runtime_targets.manifest import TargetFiles

    modules = module_names(targets, codes)
    return tuple(
        TargetFiles(
            name=target.name,
            module=modules[target.name],
            parameters=tuple(archive.name for archive in archives if target.name in archive.targets),
            architecture=target.architecture,
            backend=target.backend,
            subgroup=target.subgroup,
            cpu_features=target.cpu_features,
            workers=threads,
            note="unverified: it is being compiled",
            dispatches=codes[target.name].dispatches,
        )
        for target in (chosen.target for chosen in targets)
    )


def manifest_of(
    loaded: "Loaded",
    imported: "ImportedModel",
    limits: Sequence[int | None],
    report: Report,
    targets: "tuple[TargetFiles, ...]",
) -> "Manifest":
    """The manifest without its files. `limits`: of every input, see `TensorSpec`."""
    from secateur.runtime_targets import manifest

    known = dict(zip((spec.name for spec in imported.inputs), limits, strict=True))
    inputs = [manifest.TensorSpec(**dataclasses.asdict(s), limit=known[s.name]) for s in imported.inputs]
    outputs = [manifest.TensorSpec(**dataclasses.asdict(s)) for s in imported.outputs]
    return manifest.Manifest(
        model=manifest.ModelInfo(name=loaded.name, sha256=report.model_hash),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        output_form=imported.output_form,
        targets=targets,
        layers=tuple(manifest.LayerSparsity(**dataclasses.asdict(layer)) for layer in report.layers),
        tools=caching.tool_versions(),
        tokenizer=tuple(f"tokenizer/{file.name}" for file in loaded.tokenizer_files),
    )
