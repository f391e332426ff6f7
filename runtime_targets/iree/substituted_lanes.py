"""A check for GPUs whose number of lanes nothing here has: their code, made for another number.

Qualcomm's GPUs have 64 lanes, lavapipe at most 16. With the number changed in the description of the GPU that IREE's
code generator reads, after everything above it has run, the same kernels come out for subgroups of another size. That
shows that the model, its dispatches and its kernels are right; what depends on 64 itself is not shown.
"""

from typing import TYPE_CHECKING

from iree.compiler import tools

from .assembly import Assembly
from .compile import CompilationError, first_error
from .dot_products import compile_for_gpu

if TYPE_CHECKING:
    from ..targets import Target


def compile_with_lanes(assembly: Assembly, target: "Target", lanes: int) -> bytes:
    """The module for a GPU as `target` but with subgroups of `lanes` lanes. Raises `CompilationError`."""
    try:
        text = tools.compile_str(
            assembly.text, extra_args=[*target.iree_flags, "--compile-to=flow"], input_type="auto"
        ).decode()
        for found, wanted in (
            (f"subgroup_size_choices = [{target.subgroup}]", f"subgroup_size_choices = [{lanes}]"),
            (f"\\22subgroup\\22:{target.subgroup}", f"\\22subgroup\\22:{lanes}"),
        ):
            if found not in text:
                raise CompilationError(f"the target '{target.name}' is not described by '{found}'", text)
            text = text.replace(found, wanted)
        return compile_for_gpu(text, target.iree_flags, "flow")
    except tools.CompilerToolError as error:
        raise CompilationError(first_error(str(error), target.name), str(error)) from None
