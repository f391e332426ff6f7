"""Kernels with products of packed bytes (`spirv.SDot`), which IREE compiles for a later SPIR-V than the others.

MLIR takes them for SPIR-V 1.6 alone. For versions from 1.4 on, IREE's compiler marks sums that do not wrap, but
declares the oldest version that a module's instructions need, where that mark is invalid (iree-org/iree issue 24724).
A module with a product of bytes needs 1.6, so that the mark is valid there; every other one stays at 1.3. Vulkan 1.3,
which the run time needs, takes both, and has these products: `shaderIntegerDotProduct` is mandatory there. So IREE's
table of GPUs is not asked for them.

before, in the text of the module where executables are not compiled yet:
    hal.executable.variant public @vulkan_spirv_fb target(<... features = "spirv:v1.3,cap:Shader" ...>) {
      ... spirv.SDot ...
after:
    hal.executable.variant public @vulkan_spirv_fb target(<... features = "spirv:v1.6,cap:Shader,cap:DotProduct ...>) {
"""

from collections.abc import Sequence

from iree.compiler import tools

PRODUCT = "spirv.SDot"
_SPLIT, _PHASE = "hal.executable.variant", "executable-sources"
_OLDER = 'features = "spirv:v1.3,cap:Shader"'
_NEWER = (
    'features = "spirv:v1.6,cap:Shader,cap:DotProduct,cap:DotProductInput4x8BitPacked,ext:SPV_KHR_integer_dot_product"'
)


def compile_for_gpu(text: str, flags: Sequence[str], start: str = "") -> bytes:
    """The module (`.vmfb`) of a text, as IREE's compiler makes it with `flags`. `start`: the phase of the compiler that
    the text has reached; none: it is an assembled one.

    Raises `iree.compiler.tools.CompilerToolError`, and `ValueError` where a kernel with products of bytes is for a
    SPIR-V that is not known here.
    """
    started, kind = ([f"--compile-from={start}"], "none") if start else ([], "auto")
    if PRODUCT not in text:
        whole: bytes = tools.compile_str(text, extra_args=[*flags, *started], input_type=kind)
        return whole
    arguments = [*flags, *started, f"--compile-to={_PHASE}"]
    sources = tools.compile_str(text, extra_args=arguments, input_type=kind).decode()
    head, *variants = sources.split(_SPLIT)
    newer = [_for_products(variant) if PRODUCT in variant else variant for variant in variants]
    joined = _SPLIT.join([head, *newer])
    code: bytes = tools.compile_str(joined, extra_args=[*flags, f"--compile-from={_PHASE}"], input_type="none")
    return code


def _for_products(variant: str) -> str:
    if _OLDER not in variant:
        raise ValueError(f"expected a kernel with products of bytes to be for a GPU with '{_OLDER}'")
    return variant.replace(_OLDER, _NEWER, 1)
