// RUN: sparsity-opt %s --convert-sparsity-to-linalg --split-input-file | FileCheck %s

// A linear layer is one contraction; its epilogue is one element-wise op.
// CHECK-LABEL: func.func @linear
// CHECK-SAME: (%[[X:.*]]: tensor<1x3x4xf32>, %[[W:.*]]: tensor<5x4xf32>, %[[B:.*]]: tensor<5xf32>, %[[R:.*]]: tensor<1x3x5xf32>)
func.func @linear(%x: tensor<1x3x4xf32>, %w: tensor<5x4xf32>, %b: tensor<5xf32>, %r: tensor<1x3x5xf32>) -> tensor<1x3x5xf32> {
  // CHECK: %[[P:.*]] = linalg.generic {{.*}}"parallel", "parallel", "parallel", "reduction"{{.*}} ins(%[[X]], %[[W]]
  // CHECK: arith.mulf
  // CHECK: arith.addf
  // CHECK: %[[Y:.*]] = linalg.generic {{.*}} ins(%[[P]], %[[B]], %[[R]]
  // CHECK: math.tanh
  // CHECK: return %[[Y]]
  // CHECK-NOT: sparsity
  %y = "sparsity.linear"(%x, %w, %b, %r) {activation = "tanh", operandSegmentSizes = array<i32: 1, 1, 1, 1>} : (tensor<1x3x4xf32>, tensor<5x4xf32>, tensor<5xf32>, tensor<1x3x5xf32>) -> tensor<1x3x5xf32>
  return %y : tensor<1x3x5xf32>
}

// -----

// A packed layer gathers the columns its tiles keep: here two of four, so half of the multiply-adds are gone.
// CHECK-LABEL: func.func @packed
func.func @packed(%x: tensor<3x4xf32>) -> tensor<3x2xf32> {
  // CHECK-DAG: %[[LISTS:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}0, 2]]> : tensor<1x2xi32>}
  // CHECK-DAG: %[[WEIGHTS:.*]] = "sparsity.weight"() {source = dense<{{\[\[\[}}1.000000e+00, 2.000000e+00], [0.000000e+00, 3.000000e+00]]]> : tensor<1x2x2xf32>}
  %values = "sparsity.weight"() {source = dense<[1.0, 2.0, 3.0]> : tensor<3xf32>} : () -> tensor<3xf32>
  %columns = "sparsity.weight"() {source = dense<[0, 2, 2]> : tensor<3xi32>} : () -> tensor<3xi32>
  %segments = "sparsity.weight"() {source = dense<[[[0, 2], [2, 3]]]> : tensor<1x2x2xi32>} : () -> tensor<1x2x2xi32>
  %offsets = "sparsity.weight"() {source = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %rows = "sparsity.weight"() {source = dense<[[1, 0]]> : tensor<1x2xi32>} : () -> tensor<1x2xi32>
  %work = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  // CHECK: linalg.generic {{.*}} ins(%[[LISTS]]
  // CHECK: tensor.extract
  // CHECK: linalg.generic {{.*}} ins(%[[WEIGHTS]]
  // CHECK-NOT: sparsity.packed_linear
  %y = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [1, 2], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<3x4xf32>, tensor<3xf32>, tensor<3xi32>, tensor<1x2x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

// An op in panels is computed token-major between two changes of layout.
// CHECK-LABEL: func.func @panels
func.func @panels(%x: tensor<1x2x8x16xf32>) -> tensor<1x2x8x16xf32> {
  // CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<1x2x16x8xf32>)
  // CHECK: tensor.collapse_shape {{.*}} into tensor<1x32x8xf32>
  // CHECK: arith.maximumf
  // CHECK: tensor.expand_shape
  // CHECK: linalg.generic {{.*}} outs(%{{.*}} : tensor<1x2x8x16xf32>)
  // CHECK-NOT: sparsity
  %a = "sparsity.activation"(%x) {kind = "relu", layout = #sparsity.layout<{panel = 16 : i64, inner = 1 : i64}>} : (tensor<1x2x8x16xf32>) -> tensor<1x2x8x16xf32>
  return %a : tensor<1x2x8x16xf32>
}
