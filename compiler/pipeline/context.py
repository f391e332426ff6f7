"""The one place where an MLIR context is made. Imports neither torch nor IREE."""

from torch_mlir import ir, passmanager
from torch_mlir.dialects import torch as torch_dialect

from secateur.dialects import sparsity


def make_context(allow_unregistered_dialects: bool = False) -> ir.Context:
    """A context with every upstream dialect, `torch`, `torch_c` and `sparsity`.

    Multi-threading is off: a diagnostic handler or a verifier written in Python that is called from a worker
    thread waits for the interpreter lock, which the thread that runs the pass manager holds.
    Errors go to diagnostic handlers; where none is attached, MLIR prints them on standard error.
    """
    context = ir.Context()
    context.enable_multithreading(False)
    context.allow_unregistered_dialects = allow_unregistered_dialects
    context.emit_error_diagnostics = True
    torch_dialect.register_dialect(context)
    with context, ir.Location.unknown():
        # `torch_c` has no Python registration; a pass that depends on it loads it.
        empty = ir.Module.create()
        passmanager.PassManager.parse("builtin.module(torch-func-backend-type-conversion)").run(empty.operation)
    sparsity.load(context)
    return context
