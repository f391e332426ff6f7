"""What `sparsity-opt` checks of its command line before it reads the input. Each check raises `UsageError`."""

from pathlib import Path

from torch_mlir import ir

from secateur.compiler.pipeline.pipeline_text import PassNames, PipelineSyntaxError, parse_pipeline
from secateur.dialects.errors import SecateurError
from secateur.dialects.output_places import check_file_place, check_folder_place

from .flags import Arguments, UsageError

_PLACES = {
    "o": check_file_place,
    "mlir-pass-pipeline-crash-reproducer": check_file_place,
    "save-weights": check_folder_place,
    "mlir-print-ir-tree-dir": check_folder_place,
}


def check_places(arguments: Arguments) -> None:
    """What flags name can be written; folders around a file are there."""
    for flag, check in _PLACES.items():
        path = arguments.text(flag)
        if path is None or (flag == "o" and path == "-"):
            continue
        try:
            check(Path(path))
            around = Path(path).absolute().parent
            if check is check_file_place and not around.is_dir():
                raise SecateurError(f"there is no folder '{around}'")
        except SecateurError as error:
            raise UsageError(f"{'-' if flag == 'o' else '--'}{flag}: {error}") from None


def check_dumped_passes(arguments: Arguments, context: ir.Context, names: PassNames) -> None:
    """The passes before and after which the IR is to be printed are known."""
    for flag in ("mlir-print-ir-before", "mlir-print-ir-after"):
        for name in arguments.items(flag):
            try:
                parse_pipeline(name, context, names, implicit=True)
            except PipelineSyntaxError as error:
                raise UsageError(f"--{flag}: {error}") from error


def semantics_numbers(arguments: Arguments) -> tuple[int, float] | None:
    """Seed and tolerance of `--check-semantics`, where that was asked for."""
    seed, tolerance = arguments.number("check-seed", int), arguments.number("check-tolerance", float)
    assert seed is not None and tolerance is not None
    if seed < 0:
        raise UsageError(f"--check-seed: expected 0 or more, found {seed}")
    if not 0 <= tolerance < float("inf"):
        raise UsageError(f"--check-tolerance: expected a number from 0 on, found {tolerance}")
    return (int(seed), float(tolerance)) if arguments["check-semantics"] else None
