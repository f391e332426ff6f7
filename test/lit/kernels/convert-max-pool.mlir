// Pooling of what a convolution with a ReLU makes stays in planes, and is computed the same at every step.
// RUN: sparsity-opt %s --sparsity-detect --sparsity-schedule --sparsity-pack-convolutions --sparsity-eliminate-loads --convert-sparsity-to-kernels | FileCheck %s
// RUN: sparsity-opt %s --sparsity-detect --sparsity-schedule --sparsity-pack-convolutions --sparsity-eliminate-loads --convert-sparsity-to-kernels --convert-sparsity-to-linalg --check-semantics > /dev/null
// RUN: sparsity-opt %s --sparsity-detect --sparsity-schedule --sparsity-pack-convolutions --sparsity-eliminate-loads --convert-sparsity-to-linalg --check-semantics > /dev/null
// RUN: sparsity-opt %s --convert-sparsity-to-linalg --check-semantics > /dev/null

// CHECK: func.func private @max_pool_3_2_9
// CHECK: vector.shuffle {{.*}} [0, 2, 4, 6, 8, 10, 12, 14]
// CHECK: arith.maximumf
// CHECK: func.func private @conv_2x1_17_relu
// CHECK-LABEL: func.func @main
// CHECK: %[[Y:.*]] = "sparsity.dispatch"{{.*}}kernel = @conv_2x1_17_relu
// CHECK-NEXT: "sparsity.dispatch"(%[[Y]]){{.*}}kernel = @max_pool_3_2_9
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>} {
func.func @main(%x: tensor<1x1x17xf32>) -> tensor<1x2x9xf32> {
  %w = "sparsity.weight"() {source = dense<[[[1.0, 0.5, -1.0]], [[-2.0, 1.0, 0.25]]]> : tensor<2x1x3xf32>} : () -> tensor<2x1x3xf32>
  %0 = "sparsity.conv"(%x, %w) {strides = [1], padding = [1, 1], dilation = [1], groups = 1 : i64, activation = "relu", operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x1x17xf32>, tensor<2x1x3xf32>) -> tensor<1x2x17xf32>
  %1 = "sparsity.max_pool"(%0) {kernel = [3], strides = [2], padding = [1, 1], dilation = [1]} : (tensor<1x2x17xf32>) -> tensor<1x2x9xf32>
  return %1 : tensor<1x2x9xf32>
}
}
