"""The ops that may cross from this project's MLIR to IREE's: both know them, and print and parse them alike.

The two builds of MLIR differ in age. An op is on the list where a test has printed it with one and parsed it with
the other; anything else is refused with a sentence before IREE's compiler sees it.
"""

_ARITH = """addf addi addui_extended andi bitcast ceildivsi ceildivui cmpf cmpi constant divf divsi divui extf extsi
    extui floordivsi fptosi fptoui index_cast index_castui maximumf maxnumf maxsi maxui minimumf minnumf minsi minui
    mulf muli mulsi_extended mului_extended negf ori remf remsi remui select shli shrsi shrui sitofp subf subi
    truncf trunci uitofp xori"""
_MATH = """absf absi acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh ctlz ctpop cttz erf exp
    exp2 expm1 floor fma fpowi ipowi isfinite isinf isnan log log10 log1p log2 powf round roundeven rsqrt
    sin sinh sqrt tan tanh trunc"""
_LINALG = """batch_matmul batch_matvec broadcast conv_1d_ncw_fcw conv_2d_nchw_fchw conv_2d_ngchw_gfchw
    conv_2d_nhwc_hwcf conv_3d_ncdhw_fcdhw copy depthwise_conv_2d_nchw_chw depthwise_conv_2d_nhwc_hwc dot fill generic
    index matmul matvec pooling_nchw_max pooling_nchw_sum pooling_ncw_max pooling_ncw_sum pooling_ndhwc_max
    pooling_ndhwc_sum reduce transpose vecmat yield"""
_TENSOR = """cast collapse_shape concat dim empty expand_shape extract extract_slice from_elements generate insert
    insert_slice pad splat yield"""
_SCF = "condition for if while yield"
_MEMREF = "alloca cast collapse_shape dim expand_shape load reinterpret_cast store subview view"
_VECTOR = """bitcast broadcast constant_mask contract create_mask extract extract_strided_slice fma from_elements gather
    insert insert_strided_slice load maskedload maskedstore multi_reduction outerproduct reduction shape_cast shuffle
    step store transfer_read transfer_write transpose"""


def _names(dialect: str, ops: str) -> set[str]:
    return {f"{dialect}.{op}" for op in ops.split()}


KERNEL_OPS = frozenset(
    _names("arith", _ARITH)
    | _names("math", _MATH)
    | _names("scf", _SCF)
    | _names("memref", _MEMREF)
    | _names("vector", _VECTOR)
    | {"affine.apply", "func.return", "llvm.call_intrinsic"}
)
"""What the body of a kernel may hold."""

GPU_KERNEL_OPS = KERNEL_OPS | {"gpu.barrier", "memref.alloc", "spirv.SDot"}
"""What the body of a kernel for a GPU's threads may hold: workgroup memory and products of packed bytes too."""

MAIN_OPS = frozenset(
    _names("arith", _ARITH)
    | _names("math", _MATH)
    | _names("scf", _SCF)
    | _names("linalg", _LINALG)
    | _names("tensor", _TENSOR)
    | {"affine.apply", "cf.assert", "func.call", "func.func", "func.return"}
)
"""What the tensor-level functions may hold, besides `sparsity.dispatch` and `sparsity.weight`, which are replaced."""
