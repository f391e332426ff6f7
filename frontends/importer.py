"""A PyTorch module as level 1: torch ops over `sparsity.weight` symbols, and its weights in a store."""

import dataclasses
import logging
import re
import traceback
from collections.abc import Collection, Mapping
from functools import partial

import torch
from torch import nn
from torch._ops import OpOverload
from torch.export.graph_signature import OutputKind
from torch_mlir import ir, passmanager
from torch_mlir.dialects import torch as torch_dialect

from secateur.dialects import sparsity
from secateur.dialects.entry_points import MAIN
from secateur.dialects.weight_store import WeightStore

from .axes import TensorSpec, find_axes
from .calling import check_names
from .constant_folding import simplify
from .decomposition import ALWAYS, decomposable
from .errors import FrontendError
from .flattening import PREFIX, FlatModule, OutputForm
from .functional_graph import make_functional
from .fx_hooks import WeightHooks, make_importer
from .padding_mask import hide_padding
from .private_copy import private_copy
from .unsupported import Unsupported, as_written, describe, refused_ops, without_messages

# Ops that stay whole: the structural ops have a form for them, and their decomposition would hide it.
WHOLE_OPS = (
    "aten.linear",
    "aten.layer_norm",
    "aten.gelu",
    "aten.silu",
    "aten.scaled_dot_product_attention",
    "aten.embedding",
    "aten.matmul",
    "aten.softmax.int",
)


@dataclasses.dataclass
class ImportedModel:
    """Level 1 of a model and what belongs to it.

    `weights` holds views of the parameters' memory under their names in the state dict; the tensors stay alive
    with it. `inputs` and `outputs` describe the arguments and results of `@main` in order. `output_form` is
    what the module returned: "tensor", "dict" (by the outputs' names), "tuple" or "tuple:N" (see `OutputForm`).
    """

    context: ir.Context
    module: ir.Module
    weights: WeightStore
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    output_form: str


def import_model(
    module: nn.Module, example_inputs: Mapping[str, torch.Tensor], context: ir.Context | None = None
) -> ImportedModel:
    """Imports `module` in evaluation mode for inputs of the shapes and types of `example_inputs`.

    The names of the inputs are those of the arguments of `forward`. Their values do not matter. The module is not
    changed. 16-bit weights become f32. `context` (default: a new one) gets the torch and the sparsity dialect.
    Raises `FrontendError` where PyTorch cannot export the module, or with a list of all ops that cannot be compiled.
    """
    names = _check_inputs(example_inputs)
    copy = private_copy(module)
    check_names(copy, names)
    _check_parameters(copy)
    flat = FlatModule(copy, names).eval()
    arguments = tuple(_plain(example_inputs[name]) for name in names)
    name = type(module).__name__
    context = prepare_context(context)
    apart: set[OpOverload] = set(ALWAYS)
    whole: list[Unsupported] = []
    described: OutputForm | None = None
    while True:
        try:
            program = _export(flat, arguments, name, apart)
        except FrontendError:
            if not whole:
                raise
            # An op whose parts cannot even be exported is reported as it was written.
            raise FrontendError(describe(dict.fromkeys(whole), name)) from None
        if described is None:
            # Running the module again describes its outputs again.
            described = dataclasses.replace(flat.outputs)
            made = dict(zip(described.names, _results(program), strict=True))
            inputs, outputs = find_axes(flat, dict(zip(names, arguments, strict=True)), made)
        counts = hide_padding(program, copy, inputs, arguments, partial(_export, flat, name=name, apart=apart))
        weights = WeightStore()
        folded = simplify(program)
        with context:
            imported = _import(program, context, WeightHooks(weights, folded, _tied_names(copy)), name)
        refused = _simplify(imported, name)
        # What torch-mlir refuses whole it may take in parts; the parts may again be refused.
        more = decomposable([op.op for op in refused]) - apart
        if not more:
            break
        apart |= more
        whole += refused
    if refused:
        raise FrontendError(describe(as_written(refused, whole), name))
    return ImportedModel(context, imported, weights, [*inputs, *counts], outputs, described.form)


def unsupported_ops(imported: ImportedModel) -> list[Unsupported]:
    """The ops of a model that cannot be compiled; none for what `import_model` returns."""
    return refused_ops(imported.module)


def prepare_context(context: ir.Context | None = None) -> ir.Context:
    """`context`, or a new one, with the dialects `torch`, `torch_c` and `sparsity` loaded."""
    context = context or ir.Context()
    torch_dialect.register_dialect(context)
    sparsity.load(context)
    with context, ir.Location.unknown():
        # `torch_c` has no Python registration; a pass that depends on it loads it.
        empty = ir.Module.create()
        passmanager.PassManager.parse("builtin.module(torch-func-backend-type-conversion)").run(empty.operation)
    return context


def _check_inputs(example_inputs: Mapping[str, torch.Tensor]) -> list[str]:
    if not example_inputs:
        raise FrontendError("no example inputs are given; accepted is a dict of one tensor or more by argument name")
    for name, value in example_inputs.items():
        if not isinstance(value, torch.Tensor):
            raise FrontendError(
                f"example input '{name}' is a {type(value).__name__}; accepted are tensors (a module that takes"
                " anything else needs a wrapper whose forward takes the tensors one by one)"
            )
        if value.dtype not in (torch.float32, torch.float64, torch.int64, torch.int32, torch.bool):
            accepted = "float32, float64, int64, int32, bool"
            raise FrontendError(f"example input '{name}' has the type {value.dtype}; accepted are {accepted}")
    return list(example_inputs)


def _check_parameters(module: nn.Module) -> None:
    # Layers compute in f32; IREE has no f64 forms of some functions either.
    for name, parameter in module.named_parameters():
        if parameter.dtype == torch.float64:
            raise FrontendError(
                f"parameter '{name}' has the type torch.float64; accepted are float32, float16 and bfloat16 (convert"
                " the module with .float())"
            )


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().contiguous()


def _export(
    flat: FlatModule, arguments: tuple[torch.Tensor, ...], name: str, apart: Collection[OpOverload]
) -> torch.export.ExportedProgram:
    """The program of `flat`, whose last input is the number of tokens. Raises `FrontendError`."""
    # PyTorch logs what it raises as well; the user reads it once.
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with torch.no_grad():
            given = (*arguments, torch.ones(1, dtype=torch.int32))
            program = make_functional(torch.export.export(flat, given, strict=False), apart)
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


def _results(program: torch.export.ExportedProgram) -> list[torch.Tensor]:
    node = next(node for node in program.graph.nodes if node.op == "output")
    return [result.meta["val"] for result in node.args[0]]


def _at(error: BaseException) -> str:
    """Where in Python the innermost frame outside PyTorch was."""
    ours = (str(torch.__path__[0]), str(__file__).rpartition("/")[0])
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(ours)]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _import(program: torch.export.ExportedProgram, context: ir.Context, hooks: WeightHooks, name: str) -> ir.Module:
    importer = make_importer(context, hooks)
    try:
        importer.import_program(program, func_name=MAIN)
    except (NotImplementedError, TypeError, ValueError, RuntimeError, KeyError, AssertionError) as error:
        reason = re.sub(r"\s+", " ", str(error)).strip()[:300]
        raise FrontendError(f"torch-mlir cannot import '{name}': {reason}") from error
    return importer.module


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
