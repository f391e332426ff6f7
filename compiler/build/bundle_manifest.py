"""What the manifest of a bundle says of a compilation."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from secateur.dialects.entry_points import RESET

from . import cache as caching
from .compile_options import TargetOptions
from .parameter_archives import Archive
from .report import Report
from .target_build import TargetCode

if TYPE_CHECKING:
    from torch_mlir import ir

    from secateur.frontends import CallForm, Loaded
    from secateur.runtime_targets.manifest import Function, Manifest, StateSpec, TargetFiles


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


def class_labels(config: Any) -> tuple[str, ...]:
    """The names of a classifier's classes in the order of its logits, by a config of transformers; none where it has
    none but the numbers that transformers gives each model (`LABEL_0`)."""
    named = getattr(config, "id2label", None) or {}
    found = {int(key): str(name) for key, name in named.items()}
    if sorted(found) != list(range(len(found))) or all(re.fullmatch(r"LABEL_\d+", name) for name in found.values()):
        return ()
    return tuple(found[key] for key in sorted(found))


def function_of(form: "CallForm", limits: Sequence[int | None], labels: tuple[str, ...] = ()) -> "Function":
    """How a function of the model is called. `limits`: of every input, and `labels` of its logits, see `TensorSpec`."""
    from secateur.runtime_targets.manifest import Function, TensorSpec

    inputs = []
    for spec, rows in zip(form.inputs, limits, strict=True):
        known = [limit for limit in (spec.limit, rows) if limit is not None]
        inputs.append(TensorSpec(**{**dataclasses.asdict(spec), "limit": min(known, default=None)}))
    outputs = []
    for spec in form.outputs:
        are_logits = spec.name == "logits" or len(form.outputs) == 1
        fit = bool(spec.shape) and spec.axes[-1] is None and spec.shape[-1] == len(labels)
        outputs.append(TensorSpec(**{**dataclasses.asdict(spec), "labels": labels if are_logits and fit else ()}))
    return Function(inputs=tuple(inputs), outputs=tuple(outputs), output_form=form.output_form)


def state_of_module(module: "ir.Module") -> "dict[str, StateSpec]":
    """The tensors that stay from call to call, by name."""
    from secateur.dialects.sparsity.reference_parts import dtype_of
    from secateur.dialects.sparsity.state import state_of, states
    from secateur.runtime_targets.manifest import StateSpec

    found = [state_of(op) for op in states(module)]
    return {s.name: StateSpec(dtype=dtype_of(s.type.element_type).name, shape=tuple(s.type.shape)) for s in found}


def manifest_of(
    loaded: "Loaded",
    functions: "Mapping[str, Function]",
    state: "Mapping[str, StateSpec]",
    report: Report,
    targets: "tuple[TargetFiles, ...]",
) -> "Manifest":
    """The manifest without its files."""
    from secateur.runtime_targets import manifest

    return manifest.Manifest(
        model=manifest.ModelInfo(name=loaded.name, sha256=report.model_hash),
        functions={**functions, **({RESET: manifest.NOTHING} if state else {})},
        state=dict(state),
        targets=targets,
        layers=tuple(manifest.LayerSparsity(**dataclasses.asdict(layer)) for layer in report.layers),
        tools=caching.tool_versions(),
        tokenizer=tuple(f"tokenizer/{file.name}" for file in loaded.tokenizer_files),
    )
