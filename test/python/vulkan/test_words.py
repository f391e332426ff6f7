"""Bytes that kernels read as words of 32 bits, and products of them for a SPIR-V that has none."""

import pytest
from torch_mlir import ir

from secateur.compiler.pipeline.context import make_context
from secateur.runtime_targets.iree.dot_products import compile_for_gpu
from secateur.runtime_targets.iree.words import lower_words

VIEWS = """
  %zero = arith.constant 0 : index
  %flat = memref.collapse_shape %q [[0, 1]] : memref<2x64xi8> into memref<128xi8>
  %x = memref.view %flat[%zero][] : memref<128xi8> to memref<4x8xi32>
  %size = memref.dim %v, %zero : memref<?xi8>
  %four = arith.constant 4 : index
  %words = arith.divui %size, %four : index
  %w = memref.view %v[%zero][%words] : memref<?xi8> to memref<?xi32>
  %word = memref.load %w[%zero] : memref<?xi32>
  memref.store %word, %x[%zero, %zero] : memref<4x8xi32>
"""


def types(more=""):
    text = f"func.func @k(%q: memref<2x64xi8>, %v: memref<?xi8>, %f: memref<4xf32>) {{{VIEWS}{more}\nreturn\n}}"
    with make_context(), ir.Location.unknown():
        module = ir.Module.parse(text)
        kernel = module.body.operations[0].operation
        lower_words(kernel)
        ops = [op.operation.name for op in kernel.regions[0].blocks[0].operations]
        return [str(a.type) for a in kernel.regions[0].blocks[0].arguments], ops


def test_buffers_become_what_they_are_viewed_as():
    found, ops = types()
    assert found == ["memref<4x8xi32>", "memref<?xi32>", "memref<4xf32>"]
    assert not {"memref.view", "memref.collapse_shape", "memref.dim"} & set(ops)


@pytest.mark.parametrize(
    "other",
    [
        "%byte = memref.load %q[%zero, %zero] : memref<2x64xi8>",
        "%y = memref.view %flat[%zero][] : memref<128xi8> to memref<32xi32>\n"
        "memref.store %word, %y[%zero] : memref<32xi32>",
    ],
)
def test_bytes_that_are_read_otherwise_stay_bytes(other):
    found, ops = types(other)
    assert found[0] == "memref<2x64xi8>" and "memref.view" in ops


PRODUCT = """
stream.executable private @ex {
  stream.executable.export public @k workgroups() -> (index, index, index) {
    %one = arith.constant 1 : index
    stream.return %one, %one, %one : index, index, index
  }
  builtin.module {
    func.func @k(%a: !stream.binding, %b: !stream.binding) attributes {translation_info =
        #iree_codegen.translation_info<pipeline = #iree_gpu.spirv_pipeline<BaseLowering> workgroup_size = [1, 1, 1]>} {
      %zero = arith.constant 0 : index
      %x = stream.binding.subspan %a[%zero] : !stream.binding -> memref<4xi32>
      %y = stream.binding.subspan %b[%zero] : !stream.binding -> memref<4xi32>
      %word = memref.load %x[%zero] : memref<4xi32>
      %sum = spirv.SDot %word, %word, <PackedVectorFormat4x8Bit> : i32 -> i32
      memref.store %sum, %y[%zero] : memref<4xi32>
      return
    }
  }
}
func.func @main(%x: tensor<16xi8>) -> tensor<4xi32> {
  %0 = flow.dispatch @ex::@k(%x) : (tensor<16xi8>) -> tensor<4xi32>
  return %0 : tensor<4xi32>
}
"""


def test_products_need_a_version_that_is_known():
    flags = ["--iree-hal-target-device=vulkan", "--iree-vulkan-target=vp_android_baseline_2022"]
    assert compile_for_gpu(PRODUCT, [*flags, "--iree-vulkan-target-features=spirv:v1.3,cap:Shader"])
    with pytest.raises(ValueError, match=r"expected a kernel with products of bytes to be for a GPU with"):
        compile_for_gpu(PRODUCT, [*flags, "--iree-vulkan-target-features=spirv:v1.4,cap:Shader"])
