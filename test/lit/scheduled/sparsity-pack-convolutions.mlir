// RUN: sparsity-opt %s --sparsity-pack-convolutions --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --sparsity-pack-convolutions --split-input-file --statistics=json 2>&1 >/dev/null | FileCheck %s --check-prefix=STAT

// Rows of 3 pixels and a gap: the weight at the kernel's first place meets x one row and one pixel in front of the
// result's pixel, 16 - 4 - 1 = 11; the one in the middle of the second channel at 48 + 16 = 64. The second convolution
// reads what the first one writes.
// STAT: "copies-cancelled": 1
// CHECK-LABEL: func.func @two
// CHECK: %[[C:.*]] = "sparsity.weight"() {source = dense<[11, 64]> : tensor<2xi32>}
// CHECK: %[[P:.*]] = "sparsity.to_planes"(%arg0) {planes = #sparsity.planes<{length = 48 : i64, origin = 16 : i64, phases = [1, 1], pitches = [4, 1], sizes = [3, 3]}>}
// CHECK-SAME: -> tensor<1x2x48xf32>
// CHECK: %[[Y:.*]] = "sparsity.packed_conv"(%[[P]], %{{.*}}, %[[C]],
// CHECK-SAME: activation = "relu"
// CHECK-SAME: row_masks = [1], row_tile = 1
// CHECK: %[[Z:.*]] = "sparsity.packed_conv"(%[[Y]],
// CHECK: "sparsity.from_planes"(%[[Z]])
// CHECK-NEXT: return
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64}>} {
func.func @two(%x: tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32> {
  %w = "sparsity.weight"() {source = dense<[[[[5.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 7.0, 0.0], [0.0, 0.0, 0.0]]], [[[5.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0], [0.0, 7.0, 0.0], [0.0, 0.0, 0.0]]]]> : tensor<2x2x3x3xf32>} : () -> tensor<2x2x3x3xf32>
  %0 = "sparsity.conv"(%x, %w) {strides = [1, 1], padding = [1, 1, 1, 1], dilation = [1, 1], groups = 1 : i64, activation = "relu", sparsity.schedule = #sparsity.schedule<{row_tile = 1 : i64, token_vectors = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x3x3xf32>, tensor<2x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = "sparsity.conv"(%0, %w) {strides = [1, 1], padding = [1, 1, 1, 1], dilation = [1, 1], groups = 1 : i64, sparsity.schedule = #sparsity.schedule<{row_tile = 1 : i64, token_vectors = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x3x3xf32>, tensor<2x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  return %1 : tensor<1x2x3x3xf32>
}
}

// -----

// With a stride of 2 x is read in two phases: its pixels 1, 3, ... are the second one, 32 places behind the first.
// CHECK-LABEL: func.func @strided
// CHECK: dense<[47, 16, 48]> : tensor<3xi32>
// CHECK: "sparsity.to_planes"(%arg0) {planes = #sparsity.planes<{length = 32 : i64, origin = 16 : i64, phases = [2], pitches = [1], sizes = [5]}>}
// CHECK: "sparsity.packed_conv"
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64}>} {
func.func @strided(%x: tensor<1x1x5xf32>) -> tensor<1x1x3xf32> {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<1x1x3xf32>} : () -> tensor<1x1x3xf32>
  %0 = "sparsity.conv"(%x, %w) {strides = [2], padding = [1, 1], dilation = [1], groups = 1 : i64, sparsity.schedule = #sparsity.schedule<{row_tile = 1 : i64, token_vectors = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x1x5xf32>, tensor<1x1x3xf32>) -> tensor<1x1x3xf32>
  return %0 : tensor<1x1x3xf32>
}
}

// -----

// A weight that is an argument is left alone, and so is an op without a schedule.
// CHECK-LABEL: func.func @unknown
// CHECK-NOT: packed_conv
func.func @unknown(%x: tensor<1x1x5xf32>, %w: tensor<1x1x1xf32>) -> tensor<1x1x5xf32> {
  %0 = "sparsity.conv"(%x, %w) {strides = [1], padding = [0, 0], dilation = [1], groups = 1 : i64, sparsity.schedule = #sparsity.schedule<{row_tile = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x1x5xf32>, tensor<1x1x1xf32>) -> tensor<1x1x5xf32>
  return %0 : tensor<1x1x5xf32>
}
