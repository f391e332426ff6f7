"""Exported programs as functions of level 1: torch ops over `sparsity.weight` symbols."""

import logging
import re
import traceback
from collections.abc import Callable, Collection, Mapping

import torch
from torch import nn
from torch._ops import OpOverload
from torch.export.graph_signature import OutputKind
from torch_mlir import ir, passmanager
from torch_mlir.extras.fx_importer import FxImporter

from secateur.dialects.weight_store import WeightStore

from .constant_folding import simplify
from .decomposition import ALWAYS, decomposable
from .errors import FrontendError
from .flattening import PREFIX
from .functional_graph import make_functional
from .fx_hooks import WeightHooks, make_importer
from .unsupported import Unsupported, as_written, describe, refused_ops, without_messages

# Ops that stay whole: the structural ops have a form for them, and their decomposition would hide it.
WHOLE_OPS = (
    "aten.batch_norm",
    "aten.linear",
    "aten.layer_norm",
    "aten.gelu",
    "aten.silu",
    "aten.scaled_dot_product_attention",
    "aten.embedding",
    "aten.matmul",
    "aten.softmax.int",
)


def import_programs(
    programs: Callable[[Collection[OpOverload]], Mapping[str, torch.export.ExportedProgram]],
    module: nn.Module,
    context: ir.Context,
    name: str,
    convert: Callable[[ir.Module], None] = lambda module: None,
) -> tuple[ir.Module, WeightStore]:
    """Level 1 of several programs of `module`, each as the function of its name, and the weights that they share.

    `programs` makes them, with the given ops taken apart; it is called again where torch-mlir refuses others.
    `convert` rewrites ops that torch-mlir does not know. Raises `FrontendError`, with a list of all ops that cannot be
    compiled where there are any.
    """
    apart: set[OpOverload] = set(ALWAYS)
    whole: list[Unsupported] = []
    while True:
        try:
            made = programs(apart)
        except FrontendError:
            if not whole:
                raise
            # An op whose parts cannot even be exported is reported as it was written.
            raise FrontendError(describe(dict.fromkeys(whole), name)) from None
        weights = WeightStore()
        hooks = WeightHooks(weights, {}, _tied_names(module))
        with context:
            importer = make_importer(context, hooks)
            for function, program in made.items():
                hooks.names = simplify(program)
                _import(importer, program, function, name)
            convert(importer.module)
        refused = _simplify(importer.module, name)
        # What torch-mlir refuses whole it may take in parts; the parts may again be refused.
        more = decomposable([op.op for op in refused]) - apart
        if not more:
            break
        apart |= more
        whole += refused
    if refused:
        raise FrontendError(describe(as_written(refused, whole), name))
    return importer.module, weights


def export_program(
    module: nn.Module, arguments: tuple[torch.Tensor, ...], name: str, apart: Collection[OpOverload]
) -> torch.export.ExportedProgram:
    """The program of `module` in functional ops, those `apart` taken apart. Raises `FrontendError`."""
    # PyTorch logs what it raises as well; the user reads it once.
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with torch.no_grad():
            program = make_functional(torch.export.export(module, arguments, strict=False), apart)
    except FrontendError:
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise FrontendError(f"PyTorch cannot export '{name}'{_at(error)}: {reason}") from error
    finally:
        log.setLevel(level)
    _keep_results(program, name)
    return program


def _keep_results(program: torch.export.ExportedProgram, name: str) -> None:
    """Leaves out what the module writes to its inputs; the results are the same, and the caller's inputs too.

    Raises `FrontendError` where it writes to a buffer: the next call would depend on this one.
    """
    signature = program.graph_signature
    for spec in signature.output_specs:
        if spec.kind == OutputKind.BUFFER_MUTATION:
            target = str(spec.target).removeprefix(PREFIX)
            raise FrontendError(
                f"'{name}' writes to its buffer '{target}' in forward; a compiled model keeps nothing from call to call"
            )
    kept = [spec.kind == OutputKind.USER_OUTPUT for spec in signature.output_specs]
    node = next(node for node in program.graph.nodes if node.op == "output")
    node.args = (tuple(result for result, keep in zip(node.args[0], kept, strict=True) if keep),)
    signature.output_specs = [spec for spec, keep in zip(signature.output_specs, kept, strict=True) if keep]
    program.graph.eliminate_dead_code()


def _tied_names(module: nn.Module) -> dict[str, str]:
    first: dict[int, str] = {}
    tied = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        tied[name] = first.setdefault(id(parameter), name)
    return tied


def _at(error: BaseException) -> str:
    """Where in Python the innermost frame outside PyTorch was."""
    ours = (str(torch.__path__[0]), str(__file__).rpartition("/")[0])
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _import(importer: FxImporter, program: torch.export.ExportedProgram, function: str, name: str) -> None:
    try:
        importer.import_program(program, func_name=function)
    except (NotImplementedError, TypeError, ValueError, RuntimeError, KeyError, AssertionError) as error:
        reason = re.sub(r"\s+", " ", str(error)).strip()[:300]
        raise FrontendError(f"torch-mlir cannot import '{name}': {reason}") from error


def _simplify(module: ir.Module, name: str) -> list[Unsupported]:
    """Torch-mlir's own simplification, with the ops that have a structural form kept whole.

    Returns the ops, as they were before it, that cannot be compiled.
    """
    legal = ",".join(WHOLE_OPS)
    pipeline = f"builtin.module(torchdynamo-export-to-torch-backend-pipeline{{backend-legal-ops={legal}}})"
    with module.context as context, without_messages(context):
        before = module.operation.clone()
        try:
            passmanager.PassManager.parse(pipeline).run(module.operation)
        except ir.MLIRError as error:
            # It stops at the first op it does not know; the user is told of all.
            refused = refused_ops(before)
            if refused:
                return refused
            found = "; ".join(f"{d.message} at {d.location}" for d in error.error_diagnostics)
            raise FrontendError(f"torch-mlir cannot lower '{name}': {found or error}") from error
    left = refused_ops(module)
    return (refused_ops(before) or left) if left else []
