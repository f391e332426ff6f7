// A packed convolution as a kernel, as linalg, and computed the same at every step.
// RUN: sparsity-opt %s --sparsity-detect --sparsity-schedule --sparsity-reorder --sparsity-pack-convolutions --sparsity-tile --sparsity-eliminate-loads --convert-sparsity-to-kernels | FileCheck %s
// RUN: sparsity-opt %s --sparsity-detect --sparsity-schedule --sparsity-reorder --sparsity-pack-convolutions --sparsity-tile --sparsity-eliminate-loads --convert-sparsity-to-kernels --convert-sparsity-to-linalg --check-semantics > /dev/null
// RUN: sparsity-opt %s --sparsity-detect --sparsity-schedule --sparsity-pack-convolutions --sparsity-eliminate-loads --convert-sparsity-to-linalg --check-semantics | FileCheck %s --check-prefix=LINALG

// The kernel: loads from all planes of an image as one run, a store at the origin, and a choice between the value of a
// pixel and the zero of a gap.
// CHECK: func.func private @conv_4x2_3x3_relu_residual(%[[X:.*]]: memref<1x2x192xf32>,
// CHECK-SAME: attributes {sparsity.kernel}
// CHECK: %[[FLAT:.*]] = memref.collapse_shape %[[X]] {{\[\[}}0], [1, 2]] : memref<1x2x192xf32> into memref<1x384xf32>
// CHECK: vector.load %[[FLAT]]
// CHECK: vector.fma
// CHECK: arith.cmpf one
// CHECK: arith.select
// CHECK: vector.store
// CHECK: "sparsity.dispatch"{{.*}}kernel = @conv_4x2_3x3_relu_residual
// LINALG-LABEL: func.func @main
// LINALG-NOT: sparsity.packed_conv
// LINALG: tensor.extract
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>} {
func.func @main(%x: tensor<1x2x5x5xf32>, %r: tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32> {
  %w = "sparsity.weight"() {source = dense<[[[[1.0, 0.0, 2.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 4.0, 0.0], [-1.0, 0.0, 0.0]]], [[[5.0, 0.0, 1.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [3.0, 0.0, 0.0]]], [[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 6.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]], [[[0.0, 7.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 8.0]], [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]]> : tensor<4x2x3x3xf32>} : () -> tensor<4x2x3x3xf32>
  %b = "sparsity.weight"() {source = dense<[0.5, -0.5, 1.0, 2.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  %0 = "sparsity.conv"(%x, %w, %b, %r) {strides = [2, 2], padding = [1, 1, 1, 1], dilation = [1, 1], groups = 1 : i64, activation = "relu", residual_first, operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<1x2x5x5xf32>, tensor<4x2x3x3xf32>, tensor<4xf32>, tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  return %0 : tensor<1x4x3x3xf32>
}
}
