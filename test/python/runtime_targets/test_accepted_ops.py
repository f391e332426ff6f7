"""Every op that may cross to IREE: printed by the MLIR of torch-mlir, parsed and verified by IREE's."""

import iree.compiler.ir as iree_ir
import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.runtime_targets.iree.accepted import GPU_KERNEL_OPS, MAIN_OPS

_T, _V, _M = "tensor<4x8xf32>", "vector<16xf32>", "memref<4x16xf32>"
_ARGUMENTS = (
    f"%b: i1, %n: i32, %h: f16, %f: f32, %d: f64, %i: index, %t: {_T}, %s: tensor<8x4xf32>, %q: tensor<8xf32>, "
    f"%r: tensor<4xf32>, %t3: tensor<2x4x8xf32>, %s3: tensor<2x8x4xf32>, %q3: tensor<2x8xf32>, %v: {_V}, %m: {_M}, "
    "%vi: vector<16xindex>, %vb: vector<16xi1>, %g: memref<?xf32>, %im: tensor<1x3x8x8xf32>, %ih: tensor<1x8x8x3xf32>, "
    "%vh: vector<8xi16>, %ig: tensor<1x2x2x8x8xf32>, %iv: tensor<1x2x6x6x6xf32>"
)


def _unary(ops, operand, type_):
    return {op: f"%x = {op} %{operand} : {type_}" for op in ops.split()}


def _binary(ops, operand, type_):
    return {op: f"%x = {op} %{operand}, %{operand} : {type_}" for op in ops.split()}


def _cast(ops, operand, from_, to):
    return {op: f"%x = {op} %{operand} : {from_} to {to}" for op in ops.split()}


def _linalg(name, ins, outs, result):
    operands = ", ".join(f"%{n}" for n in ins)
    types = ", ".join(_types()[n] for n in ins)
    text = f"%e = tensor.empty() : {result}\n%x = linalg.{name} ins({operands} : {types}) outs(%e : {result})"
    return {f"linalg.{name.split(' ')[0]}": f"{text} -> {result}"} if outs else {}


def _types():
    pairs = [a.split(": ", 1) for a in _ARGUMENTS.split(", %")]
    return {name.removeprefix("%"): kind for name, kind in pairs}


_GENERIC = """%e = tensor.empty() : tensor<4x8xf32>
%x = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>], iterator_types = ["parallel", "parallel"]}
    outs(%e : tensor<4x8xf32>) {
  ^bb0(%o: f32):
    %j = linalg.index 1 : index
    %k = arith.index_cast %j : index to i32
    %l = arith.sitofp %k : i32 to f32
    linalg.yield %l : f32
} -> tensor<4x8xf32>"""
_POOL = """%w = tensor.empty() : tensor<2x2xf32>
%e = tensor.empty() : tensor<1x3x4x4xf32>
%x = linalg.{} {{strides = dense<2> : tensor<2xi64>, dilations = dense<1> : tensor<2xi64>}}
    ins(%im, %w : tensor<1x3x8x8xf32>, tensor<2x2xf32>) outs(%e : tensor<1x3x4x4xf32>) -> tensor<1x3x4x4xf32>"""
_POOL_1D = """%w = tensor.empty() : tensor<2xf32>
%e = tensor.empty() : tensor<2x4x4xf32>
%x = linalg.{} {{strides = dense<2> : tensor<1xi64>, dilations = dense<1> : tensor<1xi64>}}
    ins(%t3, %w : tensor<2x4x8xf32>, tensor<2xf32>) outs(%e : tensor<2x4x4xf32>) -> tensor<2x4x4xf32>"""
_POOL_3D = """%w = tensor.empty() : tensor<2x2x2xf32>
%e = tensor.empty() : tensor<1x1x3x3x6xf32>
%x = linalg.{} {{strides = dense<2> : tensor<3xi64>, dilations = dense<1> : tensor<3xi64>}}
    ins(%iv, %w : tensor<1x2x6x6x6xf32>, tensor<2x2x2xf32>) outs(%e : tensor<1x1x3x3x6xf32>)
    -> tensor<1x1x3x3x6xf32>"""
_CONV = """%w = tensor.empty() : tensor<{filter}xf32>
%e = tensor.empty() : tensor<{result}xf32>
%x = linalg.{name} {{dilations = dense<1> : tensor<{rank}xi64>, strides = dense<1> : tensor<{rank}xi64>}}
    ins(%{source}, %w : {type}, tensor<{filter}xf32>) outs(%e : tensor<{result}xf32>) -> tensor<{result}xf32>"""


def _conv(name, source, filter_, result, rank=2):
    type_ = _types()[source]
    text = _CONV.format(name=name, source=source, type=type_, filter=filter_, result=result, rank=rank)
    return {f"linalg.{name}": text}


SAMPLES = {
    **_binary(
        "arith.addf arith.divf arith.maximumf arith.maxnumf arith.minimumf arith.minnumf arith.mulf arith.remf "
        "arith.subf math.atan2 math.copysign math.powf",
        "f",
        "f32",
    ),
    **_binary(
        "arith.addi arith.andi arith.ceildivsi arith.ceildivui arith.divsi arith.divui arith.floordivsi arith.maxsi "
        "arith.maxui arith.minsi arith.minui arith.muli arith.ori arith.remsi arith.remui arith.shli arith.shrsi "
        "arith.shrui arith.subi arith.xori math.ipowi",
        "n",
        "i32",
    ),
    **_unary(
        "arith.negf math.absf math.acos math.acosh math.asin math.asinh math.atan math.atanh math.cbrt "
        "math.ceil math.cos math.cosh math.erf math.exp math.exp2 math.expm1 math.floor math.isfinite "
        "math.isinf math.isnan math.log math.log10 math.log1p math.log2 math.round math.roundeven math.rsqrt "
        "math.sin math.sinh math.sqrt math.tan math.tanh math.trunc",
        "f",
        "f32",
    ),
    **_unary("math.absi math.ctlz math.ctpop math.cttz", "n", "i32"),
    **_cast("arith.extf", "h", "f16", "f32"),
    **_cast("arith.truncf", "d", "f64", "f32"),
    **_cast("arith.extsi arith.extui", "n", "i32", "i64"),
    **_cast("arith.trunci", "n", "i32", "i8"),
    **_cast("arith.fptosi arith.fptoui arith.bitcast", "f", "f32", "i32"),
    **_cast("arith.sitofp arith.uitofp", "n", "i32", "f32"),
    **_cast("arith.index_cast arith.index_castui", "n", "i32", "index"),
    "arith.addui_extended": "%x, %y = arith.addui_extended %n, %n : i32, i1",
    "arith.mulsi_extended": "%x, %y = arith.mulsi_extended %n, %n : i32",
    "arith.mului_extended": "%x, %y = arith.mului_extended %n, %n : i32",
    "arith.cmpf": "%x = arith.cmpf olt, %f, %f : f32",
    "arith.cmpi": "%x = arith.cmpi slt, %n, %n : i32",
    "arith.constant": "%x = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>",
    "arith.select": "%x = arith.select %b, %f, %f : f32",
    "math.fma": "%x = math.fma %f, %f, %f : f32",
    "math.fpowi": "%x = math.fpowi %f, %n : f32, i32",
    "affine.apply": "%x = affine.apply affine_map<(i) -> (i * 2 + 1)>(%i)",
    "cf.assert": 'cf.assert %b, "expected a token"',
    "func.call": "%x = func.call @callee(%f) : (f32) -> f32",
    "func.func": "",
    "func.return": "",
    "llvm.call_intrinsic": '%x = llvm.call_intrinsic "llvm.x86.sse2.pmadd.wd"(%vh, %vh) '
    ": (vector<8xi16>, vector<8xi16>) -> vector<4xi32>",
    "scf.if": "%x = scf.if %b -> (f32) {\nscf.yield %f : f32\n} else {\nscf.yield %f : f32\n}",
    "scf.for": "%x = scf.for %j = %i to %i step %i iter_args(%a = %f) -> (f32) {\nscf.yield %a : f32\n}",
    "scf.yield": "scf.for %j = %i to %i step %i {\n}",
    "scf.while": "%x = scf.while (%a = %f) : (f32) -> f32 {\nscf.condition(%b) %a : f32\n} do {\n^bb0(%a: f32):\n"
    "scf.yield %a : f32\n}",
    "linalg.generic": _GENERIC,
    "linalg.index": _GENERIC,
    "linalg.yield": _GENERIC,
    **_linalg("matmul", ["t", "s"], "e", "tensor<4x4xf32>"),
    **_linalg("batch_matmul", ["t3", "s3"], "e", "tensor<2x4x4xf32>"),
    **_linalg("batch_matvec", ["t3", "q3"], "e", "tensor<2x4xf32>"),
    **_linalg("matvec", ["t", "q"], "e", "tensor<4xf32>"),
    **_linalg("vecmat", ["r", "t"], "e", "tensor<8xf32>"),
    **_linalg("dot", ["q", "q"], "e", "tensor<f32>"),
    **_linalg("copy", ["t"], "e", _T),
    **_linalg("fill", ["f"], "e", _T),
    "linalg.transpose": f"%e = tensor.empty() : tensor<8x4xf32>\n%x = linalg.transpose ins(%t : {_T}) "
    "outs(%e : tensor<8x4xf32>) permutation = [1, 0]",
    "linalg.broadcast": f"%e = tensor.empty() : {_T}\n%x = linalg.broadcast ins(%q : tensor<8xf32>) outs(%e : {_T}) "
    "dimensions = [0]",
    "linalg.reduce": f"%e = tensor.empty() : tensor<4xf32>\n%x = linalg.reduce {{ arith.addf }} ins(%t : {_T}) "
    "outs(%e : tensor<4xf32>) dimensions = [1]",
    "linalg.pooling_nchw_max": _POOL.format("pooling_nchw_max"),
    "linalg.pooling_nchw_sum": _POOL.format("pooling_nchw_sum"),
    "linalg.pooling_ncw_max": _POOL_1D.format("pooling_ncw_max"),
    "linalg.pooling_ncw_sum": _POOL_1D.format("pooling_ncw_sum"),
    "linalg.pooling_ndhwc_max": _POOL_3D.format("pooling_ndhwc_max"),
    "linalg.pooling_ndhwc_sum": _POOL_3D.format("pooling_ndhwc_sum"),
    **_conv("conv_2d_ngchw_gfchw", "ig", "2x3x2x3x3", "1x2x3x6x6"),
    **_conv("conv_3d_ncdhw_fcdhw", "iv", "3x2x3x3x3", "1x3x4x4x4", 3),
    **_conv("conv_1d_ncw_fcw", "t3", "5x4x3", "2x5x6", 1),
    **_conv("conv_2d_nchw_fchw", "im", "5x3x3x3", "1x5x6x6"),
    **_conv("conv_2d_nhwc_hwcf", "ih", "3x3x3x5", "1x6x6x5"),
    **_conv("depthwise_conv_2d_nchw_chw", "im", "3x3x3", "1x3x6x6"),
    **_conv("depthwise_conv_2d_nhwc_hwc", "ih", "3x3x3", "1x6x6x3"),
    "tensor.cast": f"%x = tensor.cast %t : {_T} to tensor<?x8xf32>",
    "tensor.collapse_shape": f"%x = tensor.collapse_shape %t [[0, 1]] : {_T} into tensor<32xf32>",
    "tensor.expand_shape": "%x = tensor.expand_shape %q [[0, 1]] output_shape [2, 4] : tensor<8xf32> "
    "into tensor<2x4xf32>",
    "tensor.concat": f"%x = tensor.concat dim(0) %t, %t : ({_T}, {_T}) -> tensor<8x8xf32>",
    "tensor.dim": f"%x = tensor.dim %t, %i : {_T}",
    "tensor.empty": f"%x = tensor.empty() : {_T}",
    "tensor.extract": f"%x = tensor.extract %t[%i, %i] : {_T}",
    "tensor.extract_slice": f"%x = tensor.extract_slice %t[0, 0] [2, 8] [1, 1] : {_T} to tensor<2x8xf32>",
    "tensor.from_elements": "%x = tensor.from_elements %f, %f : tensor<2xf32>",
    "tensor.generate": "%x = tensor.generate %i {\n^bb0(%j: index):\ntensor.yield %f : f32\n} : tensor<?xf32>",
    "tensor.yield": f"%x = tensor.pad %t low[1, 0] high[0, 0] {{\n^bb0(%j: index, %k: index):\n"
    f"tensor.yield %f : f32\n}} : {_T} to tensor<5x8xf32>",
    "tensor.insert": f"%x = tensor.insert %f into %t[%i, %i] : {_T}",
    "tensor.insert_slice": f"%x = tensor.insert_slice %q into %t[0, 0] [1, 8] [1, 1] : tensor<8xf32> into {_T}",
    "tensor.splat": "%x = tensor.splat %f : tensor<8xf32>",
    "gpu.barrier": "gpu.barrier",
    "memref.alloc": "%x = memref.alloc() : memref<16xvector<4xf32>, #gpu.address_space<workgroup>>",
    "memref.alloca": "%x = memref.alloca() : memref<16xf32>",
    "memref.cast": f"%x = memref.cast %m : {_M} to memref<?x16xf32>",
    "memref.collapse_shape": f"%x = memref.collapse_shape %m [[0, 1]] : {_M} into memref<64xf32>",
    "memref.expand_shape": "%x = memref.expand_shape %m [[0], [1, 2]] output_shape [4, 2, 8] : "
    f"{_M} into memref<4x2x8xf32>",
    "memref.reinterpret_cast": "%x = memref.reinterpret_cast %m to offset: [0], sizes: [64], strides: [1] : "
    f"{_M} to memref<64xf32>",
    "memref.dim": f"%x = memref.dim %m, %i : {_M}",
    "memref.load": "%x = memref.load %g[%i] : memref<?xf32>",
    "memref.store": "memref.store %f, %g[%i] : memref<?xf32>",
    "memref.subview": f"%x = memref.subview %m[%i, 0] [2, 16] [1, 1] : {_M} to "
    "memref<2x16xf32, strided<[16, 1], offset: ?>>",
    "memref.view": "%k = memref.alloca() : memref<64xi8>\n%x = memref.view %k[%i][] : memref<64xi8> to memref<4x4xf32>",
    "spirv.SDot": "%x = spirv.SDot %n, %n, <PackedVectorFormat4x8Bit> : i32 -> i32",
    "vector.bitcast": f"%x = vector.bitcast %v : {_V} to vector<16xi32>",
    "vector.broadcast": f"%x = vector.broadcast %f : f32 to {_V}",
    "vector.constant_mask": "%x = vector.constant_mask [4] : vector<16xi1>",
    "vector.create_mask": "%x = vector.create_mask %i : vector<16xi1>",
    "vector.contract": "%x = vector.contract {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>, "
    f'affine_map<(a) -> ()>], iterator_types = ["reduction"]}} %v, %v, %f : {_V}, {_V} into f32',
    "vector.extract": f"%x = vector.extract %v[3] : f32 from {_V}",
    "vector.extract_strided_slice": "%x = vector.extract_strided_slice %v "
    f"{{offsets = [4], sizes = [4], strides = [1]}} : {_V} to vector<4xf32>",
    "vector.fma": f"%x = vector.fma %v, %v, %v : {_V}",
    "vector.from_elements": "%x = vector.from_elements %f, %f : vector<2xf32>",
    "vector.gather": f"%x = vector.gather %g[%i] [%vi], %vb, %v : memref<?xf32>, vector<16xindex>, vector<16xi1>, {_V} "
    f"into {_V}",
    "vector.insert": f"%x = vector.insert %f, %v[3] : f32 into {_V}",
    "vector.insert_strided_slice": "%k = vector.broadcast %f : f32 to vector<4xf32>\n"
    f"%x = vector.insert_strided_slice %k, %v {{offsets = [4], strides = [1]}} : vector<4xf32> into {_V}",
    "vector.load": f"%x = vector.load %m[%i, %i] : {_M}, {_V}",
    "vector.maskedload": f"%x = vector.maskedload %m[%i, %i], %vb, %v : {_M}, vector<16xi1>, {_V} into {_V}",
    "vector.maskedstore": f"vector.maskedstore %m[%i, %i], %vb, %v : {_M}, vector<16xi1>, {_V}",
    "vector.multi_reduction": f"%x = vector.multi_reduction <add>, %v, %f [0] : {_V} to f32",
    "vector.outerproduct": f"%x = vector.outerproduct %v, %v : {_V}, {_V}",
    "vector.reduction": f"%x = vector.reduction <maximumf>, %v : {_V} into f32",
    "vector.shape_cast": f"%x = vector.shape_cast %v : {_V} to vector<4x4xf32>",
    "vector.shuffle": f"%x = vector.shuffle %v, %v [0, 17, 2] : {_V}, {_V}",
    "vector.step": "%x = vector.step : vector<16xindex>",
    "vector.store": f"vector.store %v, %m[%i, %i] : {_M}, {_V}",
    "vector.transfer_read": f"%x = vector.transfer_read %m[%i, %i], %f {{in_bounds = [true]}} : {_M}, {_V}",
    "vector.transfer_write": f"vector.transfer_write %v, %m[%i, %i] {{in_bounds = [true]}} : {_V}, {_M}",
    "vector.transpose": f"%k = vector.shape_cast %v : {_V} to vector<2x8xf32>\n"
    "%x = vector.transpose %k, [1, 0] : vector<2x8xf32> to vector<8x2xf32>",
}
SAMPLES["scf.condition"] = SAMPLES["scf.while"]
SAMPLES["tensor.pad"] = SAMPLES["tensor.yield"]


@pytest.fixture(scope="module")
def context():
    return make_context()


def test_there_is_a_sample_of_every_op():
    assert set(SAMPLES) == GPU_KERNEL_OPS | MAIN_OPS


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_op_crosses(context, name):
    text = f"func.func private @callee(f32) -> f32\nfunc.func @f({_ARGUMENTS}) {{\n{SAMPLES[name]}\nreturn\n}}"
    with context, ir.Location.unknown():
        printed = ir.Module.parse(text).operation.get_asm(print_generic_op_form=True)
    assert f'"{name}"' in printed
    with iree_ir.Context(), iree_ir.Location.unknown():
        found = iree_ir.Module.parse(printed)
        assert f'"{name}"' in found.operation.get_asm(print_generic_op_form=True)
