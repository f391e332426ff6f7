"""`compile_model`: from a PyTorch module to a bundle that runs."""

import dataclasses
import itertools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from secateur.dialects.number_formats import NumberFormatError, NumberPlan, number_format, parse_format

from .build.compilation import compile_imported
from .build.compile_options import Options, TargetOptions
from .build.compiled_model import CompiledModel
from .errors import CompileError
from .pipeline.levels import LEVELS, LOWERINGS, Dump, Progress

if TYPE_CHECKING:
    import torch

    from secateur.dialects.number_formats import Arithmetic, Storage
    from secateur.runtime_targets.targets import Target

    from .records.tuned import Tuned
    from .tune.options import TuneOptions

__all__ = ["CompileError", "CompiledModel", "compile_model"]


def compile_model(
    model: "torch.nn.Module | str | os.PathLike[str]",
    example_inputs: "Mapping[str, torch.Tensor] | Sequence[torch.Tensor] | None" = None,
    *,
    target: str | Sequence[str] = "host-cpu",
    seq_len: int = 128,
    batch: int = 1,
    threads: int = 1,
    verify: bool | Literal["layers"] = True,
    compile_to: str | None = None,
    dump_ir: str | os.PathLike[str] | None = None,
    cache: bool = True,
    schedule: Mapping[str, int] | None = None,
    records: "bool | Tuned" = True,
    tune: "bool | TuneOptions" = False,
    lowering: str | None = None,
    weights: str = "f32",
    arithmetic: str = "f32",
    formats: Mapping[str, str] | None = None,
    context: int | None = None,
    chunks: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> CompiledModel:
    """Compiles a model and compares it with PyTorch.

    `model`: a module with `example_inputs` (tensors by argument name, or in the order of `forward`), whose shapes are
    the largest that the compiled model takes; or a Hugging Face folder, for `batch` sequences of `seq_len` tokens. The
    module is not changed. `target`: a name of the registry, or several: the model is imported once, lowered for each,
    and the bundle holds the code of all; where one of several fails, `report.failed` says why, and the others are
    there. `verify`: compare the outputs with PyTorch's; `"layers"` also looks for the first layer that differs where
    they do. `compile_to`: a level of IR to stop at (`torch`, `structural`, `scheduled`, `kernels`); the result then has
    its text as `ir` and cannot be called. `dump_ir`: a folder for the IR of every level and the weights. `cache`: reuse
    what was compiled before. `schedule`: options of `sparsity-schedule`. `records`: use what was tuned for the target
    before, or what is given. `tune`: first tune the layers that were not. `lowering`: `kernels`, `gpu` or `portable`
    (plain linalg); by default the target's. `weights`: what weights of layers and tables are stored as: `f32`, `f16` or
    `int8`; the code is then compared with PyTorch on the rounded weights, and the error of the rounding is reported.
    `arithmetic`: what layers of many tokens multiply and sum in: `f32`; `int8`, beside weights of `int8`, on CPUs and
    on GPUs that are named (activations are rounded too, token by token); `f16`, beside weights of `f16`, on Arm CPUs
    with half-precision arithmetic and on GPUs that are named, whose kernels hand activations on in f16 too. `formats`:
    weights and arithmetic of single layers, by patterns of module names, such as `{"*.layer.0.*": "int8 x int8",
    "*.query": "f16"}`; the first that fits counts. `context`: compile a causal language model for generating sequences
    of up to so many tokens; in the place of `main` it has `prefill_N` for each N of `chunks` (by default 32 and 128),
    `decode` and `reset`, which `secateur.runtime_targets.Generator` calls; one sequence at a time, on CPUs. `progress`
    is called with the name of each stage.

    Raises `CompileError` (for a wrong argument, a model that cannot be lowered), `VerificationError` (a kind of it).
    """
    try:
        numbers = number_format(weights, arithmetic)
        plan = NumberPlan(numbers, tuple((name, parse_format(text)) for name, text in (formats or {}).items()))
    except NumberFormatError as error:
        raise CompileError(str(error), usage=error.usage) from None
    options = Options(
        threads,
        verify,
        compile_to or "iree",
        dict(schedule) if schedule else None,
        progress or (lambda stage: None),
        numbers=plan,
    )
    _check(options, lowering, seq_len, batch)
    targets = _targets([target] if isinstance(target, str) else target, options, lowering)
    if context is not None:
        _check_generation(targets, options, batch, bool(tune))
    elif chunks is not None:
        raise CompileError("'chunks' are those of prompts; they need a 'context'", usage=True)
    kernels = [chosen.target for chosen in targets if chosen.lowering == "kernels"]
    if tune and not (records and len(kernels) == len(targets)):
        raise CompileError(
            "'tune' makes records for the lowering 'kernels'; it needs that lowering and 'records'", usage=True
        )
    from secateur.frontends import CHUNKS, Generation, import_decoder, import_model, load

    from .records.tuned import Tuned

    options.progress("loading")
    began = time.perf_counter()
    # A generating model is called with tokens of its own choice.
    loaded = load(model, example_inputs, seq_len, batch) if context is None else load(model, {}, 1, 1)
    options.progress("importing")
    if context is None:
        imported = import_model(loaded.module, loaded.example_inputs)
    else:
        imported = import_decoder(loaded.module, Generation(context, tuple(chunks or CHUNKS)))
    if tune:
        from .tune.options import COMPILE_OPTIONS
        from .tune.tuner import tune_parts

        options.progress("tuning")
        for machine, chosen_format in itertools.product(kernels, plan.formats):
            asked = dataclasses.replace(COMPILE_OPTIONS if tune is True else tune, numbers=chosen_format)
            tune_parts(imported, machine, threads, asked, options.progress)
    if records and kernels:
        text = str(imported.module)
        targets = [
            chosen
            if chosen.lowering != "kernels"
            else dataclasses.replace(
                chosen, tuned=Tuned.of(chosen.target, text, numbers=numbers) if records is True else records
            )
            for chosen in targets
        ]
    return compile_imported(
        loaded,
        imported,
        targets,
        options,
        dump=Dump(Path(dump_ir)) if dump_ir is not None else None,
        cache=cache,
        import_seconds=time.perf_counter() - began,
    )


def _targets(names: Sequence[str], options: Options, lowering: str | None) -> list[TargetOptions]:
    """The targets of these names, each with its lowering. Raises `CompileError` or `TargetError`."""
    from secateur.runtime_targets.targets import get_target

    found = [get_target(name, workers=options.threads) for name in names]
    if not found:
        raise CompileError("expected at least one 'target', found none", usage=True)
    full = [target.name for target in found]
    twice = [name for name in full if full.count(name) > 1]
    if twice:
        raise CompileError(f"the target '{twice[0]}' is given twice", usage=True)
    if len(found) > 1 and options.compile_to != "iree":
        raise CompileError(
            f"to stop at level '{options.compile_to}' takes one target, found {', '.join(full)}", usage=True
        )
    for chosen, numbers in itertools.product(found, options.numbers.formats):
        storage, arithmetic = numbers.storage, numbers.arithmetic
        if chosen.backend == "vulkan" and not chosen.f16 and not _reads(storage, lowering or chosen.lowering):
            text = f"the target '{chosen.name}' has numbers of 32 bits only and cannot read weights of {storage.name}"
            raise CompileError(
                f"{text}; name the GPU's family (`secateur targets` lists them), or compile it with f32 or, in the "
                "lowering 'gpu', with int8",
                usage=True,
            )
        if arithmetic.name != "f32" and not _multiplies(arithmetic, chosen, lowering or chosen.lowering):
            text = f"the target '{chosen.name}' has no arithmetic in {arithmetic.name} that is used"
            raise CompileError(
                f"{text}; accepted are {arithmetic.machines} (`secateur targets` lists them)", usage=True
            )
    return [TargetOptions(target, lowering or target.lowering) for target in found]


def _reads(storage: "Storage", lowering: str) -> bool:
    """Whether a GPU with numbers of 32 bits reads weights of `storage`: kernels take bytes out of words."""
    return storage.name == "f32" or (storage.name == "int8" and lowering == "gpu")


def _multiplies(arithmetic: "Arithmetic", target: "Target", lowering: str) -> bool:
    """Whether the kernels of a target, in this lowering, multiply in `arithmetic`."""
    if lowering == "gpu":
        return bool(arithmetic.gpu_feature) and bool(getattr(target, arithmetic.gpu_feature))
    return lowering == "kernels" and arithmetic.runs_with(target.cpu_features)


def _check_generation(targets: Sequence[TargetOptions], options: Options, batch: int, tune: bool) -> None:
    """Raises `CompileError` for what generating models do not have yet."""
    for chosen in targets:
        if chosen.target.backend == "vulkan":
            raise CompileError(
                f"the target '{chosen.target.name}' is a GPU, on which caches of keys and values were never tried; "
                "accepted for a 'context' are CPUs",
                usage=True,
            )
    faults = {
        f"a batch of {batch}": batch != 1,
        "arithmetic in other numbers than f32": any(f.arithmetic.name != "f32" for f in options.numbers.formats),
        "tuning": tune,
        "'verify=\"layers\"'": options.verify == "layers",
    }
    for what, found in faults.items():
        if found:
            raise CompileError(
                f"{what} is not accepted with a 'context': models that generate have none of it", usage=True
            )


def _check(options: Options, lowering: str | None, seq_len: int, batch: int) -> None:
    for name, value in (("seq_len", seq_len), ("batch", batch), ("threads", options.threads)):
        if value < 1:
            raise CompileError(f"expected '{name}' to be 1 or more, found {value}", usage=True)
    for name, choice, accepted in (
        ("compile_to", options.compile_to, LEVELS),
        ("lowering", lowering or LOWERINGS[0], LOWERINGS),
    ):
        if choice not in accepted:
            raise CompileError(f"unknown '{name}' {choice!r}; accepted: {', '.join(accepted)}", usage=True)
    if options.verify not in (True, False, "layers"):
        raise CompileError(f"unknown 'verify' {options.verify!r}; accepted: True, False, 'layers'", usage=True)
