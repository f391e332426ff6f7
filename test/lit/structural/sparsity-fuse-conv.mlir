// What follows a convolution joins it: an activation, a residual, and, unlike for a linear, an activation of their sum.
// RUN: sparsity-opt %s --sparsity-fuse --split-input-file --check-semantics | FileCheck %s
// RUN: sparsity-opt %s --sparsity-fuse=plan=activation-of-sum=separate --split-input-file --check-semantics | FileCheck %s --check-prefix=APART

// APART-LABEL: func.func @basic_block
// APART: %[[Y:.*]] = "sparsity.conv"(%{{.*}}, %{{.*}}, %{{.*}}) {dilation
// APART: "sparsity.activation"(%[[Y]])
// CHECK-LABEL: func.func @basic_block
// CHECK-SAME: (%[[X:.*]]: tensor<1x2x3xf32>)
// CHECK: %[[H:.*]] = "sparsity.conv"(%[[X]], %{{.*}}) {activation = "relu"
// CHECK-SAME: array<i32: 1, 1, 0, 0>
// CHECK: %[[Y:.*]] = "sparsity.conv"(%[[H]], %{{.*}}, %[[X]]) {activation = "relu"
// CHECK-SAME: array<i32: 1, 1, 0, 1>
// CHECK-SAME: residual_first
// CHECK-NOT: sparsity.a
// CHECK: return %[[Y]]
func.func @basic_block(%x: tensor<1x2x3xf32>) -> tensor<1x2x3xf32> {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<2x2x3xf32>} : () -> tensor<2x2x3xf32>
  %0 = "sparsity.conv"(%x, %w) {strides = [1], padding = [1, 1], dilation = [1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x3xf32>, tensor<2x2x3xf32>) -> tensor<1x2x3xf32>
  %1 = "sparsity.activation"(%0) {kind = "relu"} : (tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
  %2 = "sparsity.conv"(%1, %w) {strides = [1], padding = [1, 1], dilation = [1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x3xf32>, tensor<2x2x3xf32>) -> tensor<1x2x3xf32>
  %3 = "sparsity.add"(%2, %x) : (tensor<1x2x3xf32>, tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
  %4 = "sparsity.activation"(%3) {kind = "relu"} : (tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
  return %4 : tensor<1x2x3xf32>
}

// -----

// An activation in front of the addition stays in front of it, and one behind the sum stays apart then.
// CHECK-LABEL: func.func @activation_first
// CHECK: %[[Y:.*]] = "sparsity.conv"{{.*}} {activation = "silu"
// CHECK-NOT: residual_first
// CHECK: "sparsity.activation"(%[[Y]]) {kind = "relu"}
func.func @activation_first(%x: tensor<1x2x3xf32>) -> tensor<1x2x3xf32> {
  %w = "sparsity.weight"() {source = dense<1.0> : tensor<2x2x3xf32>} : () -> tensor<2x2x3xf32>
  %0 = "sparsity.conv"(%x, %w) {strides = [1], padding = [1, 1], dilation = [1], groups = 1 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x2x3xf32>, tensor<2x2x3xf32>) -> tensor<1x2x3xf32>
  %1 = "sparsity.activation"(%0) {kind = "silu"} : (tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
  %2 = "sparsity.add"(%1, %x) : (tensor<1x2x3xf32>, tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
  %3 = "sparsity.activation"(%2) {kind = "relu"} : (tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
  return %3 : tensor<1x2x3xf32>
}
