"""A PyTorch module as level 1: torch ops over `sparsity.weight` symbols, and its weights in a store."""

import dataclasses
from collections.abc import Collection, Mapping

import torch
from torch import nn
from torch._ops import OpOverload
from torch_mlir import ir, passmanager
from torch_mlir.dialects import torch as torch_dialect

from secateur.dialects import sparsity
from secateur.dialects.entry_points import MAIN
from secateur.dialects.weight_store import WeightStore

from .axes import TensorSpec, find_axes
from .calling import check_names
from .errors import FrontendError
from .flattening import FlatModule, OutputForm
from .padding_mask import hide_padding
from .private_copy import private_copy
from .programs import export_program, import_programs
from .unsupported import Unsupported, refused_ops


@dataclasses.dataclass
class CallForm:
    """`inputs` and `outputs` describe the arguments and results of a function in order. `output_form` is what the
    module returned: "tensor", "dict" (by the outputs' names), "tuple" or "tuple:N" (see `OutputForm`)."""

    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    output_form: str


@dataclasses.dataclass
class ImportedModel:
    """Level 1 of a model and what belongs to it.

    `weights` holds views of the parameters' memory under their names in the state dict; the tensors stay alive
    with it. `functions` tells how those of the module are called, by name: `main` alone, but for models that keep state
    from call to call.
    """

    context: ir.Context
    module: ir.Module
    weights: WeightStore
    functions: dict[str, CallForm]

    @property
    def inputs(self) -> list[TensorSpec]:
        """Those of `main`."""
        return self.functions[MAIN].inputs

    @property
    def outputs(self) -> list[TensorSpec]:
        """Those of `main`."""
        return self.functions[MAIN].outputs

    @property
    def output_form(self) -> str:
        """That of `main`."""
        return self.functions[MAIN].output_form


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
    described: OutputForm | None = None
    specs: tuple[list[TensorSpec], list[TensorSpec]] = ([], [])
    counts: list[TensorSpec] = []

    def programs(apart: Collection[OpOverload]) -> dict[str, torch.export.ExportedProgram]:
        nonlocal described, specs, counts

        def export(given: tuple[torch.Tensor, ...]) -> torch.export.ExportedProgram:
            return export_program(flat, (*given, torch.ones(1, dtype=torch.int32)), name, apart)

        program = export(arguments)
        if described is None:
            # Running the module again describes its outputs again.
            described = dataclasses.replace(flat.outputs)
            made = dict(zip(described.names, _results(program), strict=True))
            specs = find_axes(flat, dict(zip(names, arguments, strict=True)), made)
        counts = hide_padding(program, copy, specs[0], arguments, export)
        return {MAIN: program}

    imported, weights = import_programs(programs, copy, prepare_context(context), name)
    assert described is not None
    main = CallForm([*specs[0], *counts], specs[1], described.form)
    return ImportedModel(imported.context, imported, weights, {MAIN: main})


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


def _results(program: torch.export.ExportedProgram) -> list[torch.Tensor]:
    node = next(node for node in program.graph.nodes if node.op == "output")
    return [result.meta["val"] for result in node.args[0]]
