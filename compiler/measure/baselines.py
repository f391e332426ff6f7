"""What a compiled model is timed against: PyTorch, and the same model compiled dense by stock IREE."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from secateur.compiler.pipeline.passmanager import run_pipeline
from secateur.compiler.verify.comparison import torch_outputs
from secateur.dialects.scratch import ScratchFolder
from secateur.passes.base import PassContext

if TYPE_CHECKING:
    import torch

    from secateur.frontends import TensorSpec
    from secateur.runtime_targets.targets import Target

Run = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


def torch_eager(module: "torch.nn.Module", threads: int) -> Run:
    """PyTorch in evaluation mode on `threads` threads. The number of threads holds for the whole process."""
    import torch

    from secateur.frontends import evaluation_copy

    torch.set_num_threads(threads)
    model = evaluation_copy(module)

    def run(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            return torch_outputs(model, arrays)

    return run


def compile_stock(
    module: "torch.nn.Module", example_inputs: "Mapping[str, torch.Tensor]", target: "Target"
) -> "tuple[bytes, dict[str, np.ndarray], list[TensorSpec]]":
    """The code of `stock_iree` for a CPU `target`, its parameters, and its inputs in order."""
    from secateur.frontends import evaluation_copy, import_model
    from secateur.runtime_targets import iree
    from secateur.runtime_targets.iree.compile import STOCK_FLAGS

    copy = evaluation_copy(module)
    if hasattr(copy, "set_attn_implementation"):
        copy.set_attn_implementation("eager")
        # The frontend takes the fused attention op of every model that says it has it.
        copy._supports_sdpa = False  # type: ignore[assignment]
    imported = import_model(copy, example_inputs)
    run_pipeline(imported.module, "torch-to-linalg", PassContext(imported.weights))
    assembly = iree.assemble(imported.module, imported.weights)
    code = iree.compile_assembly(assembly, target, flags=STOCK_FLAGS)
    return code, dict(assembly.parameters), imported.inputs


def stock_iree(module: "torch.nn.Module", example_inputs: "Mapping[str, torch.Tensor]", threads: int) -> Run:
    """torch-mlir's own lowering and IREE with its best flags for dense models; none of Secateur's passes takes part.

    Attention is the one of separate matrix products and softmax, which torch-mlir lowers. Weights are parameters
    beside the module, as in a bundle. The module is not changed.
    """
    from secateur.runtime_targets import iree
    from secateur.runtime_targets.targets import get_target
    from secateur.runtime_targets.token_count import in_order

    code, parameters, specs = compile_stock(module, example_inputs, get_target("host-cpu", workers=threads))
    scratch = ScratchFolder("stock")
    archive = Path(scratch.name) / "weights.irpa"
    iree.write_parameters(archive, parameters)
    session = iree.Session(code, archive, threads=threads)

    def run(arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        # The archive is mapped: the folder must live as long as the session.
        assert scratch.name
        return session.run(in_order(specs, arrays))

    return run
