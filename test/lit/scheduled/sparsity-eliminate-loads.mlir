// RUN: sparsity-opt %s --sparsity-eliminate-loads --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --sparsity-eliminate-loads --sparsity-eliminate-loads --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --sparsity-eliminate-loads --statistics=json --split-input-file 2>&1 >/dev/null | FileCheck %s --check-prefix=STAT

// Both rows use columns 2 and 5, so these are loaded once: three loads instead of five. The values of a shared column
// become neighbours.
// CHECK-LABEL: func.func @equal_in_part
// STAT: "vector-loads-before": 5
// STAT: "vector-loads-after": 3
func.func @equal_in_part(%x: tensor<3x8xf32>) -> tensor<3x2xf32> {
  %values = "sparsity.weight"() {source = dense<[1.0, 2.0, 3.0, 4.0, 5.0]> : tensor<5xf32>} : () -> tensor<5xf32>
  %columns = "sparsity.weight"() {source = dense<[2, 5, 7, 2, 5]> : tensor<5xi32>} : () -> tensor<5xi32>
  %segments = "sparsity.weight"() {source = dense<[[[0, 3], [3, 5]]]> : tensor<1x2x2xi32>} : () -> tensor<1x2x2xi32>
  %offsets = "sparsity.weight"() {source = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %rows = "sparsity.weight"() {source = dense<[[0, 1]]> : tensor<1x2xi32>} : () -> tensor<1x2xi32>
  %work = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  // CHECK: dense<[3.000000e+00, 1.000000e+00, 4.000000e+00, 2.000000e+00, 5.000000e+00]> : tensor<5xf32>
  // CHECK: dense<[7, 2, 5]> : tensor<3xi32>
  // CHECK: dense<{{\[\[\[}}0, 1], [1, 1], [1, 3]]]> : tensor<1x3x2xi32>
  // CHECK: "sparsity.packed_linear"{{.*}} row_masks = [1, 2, 3], row_tile = 2
  %y = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [1, 2], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<3x8xf32>, tensor<5xf32>, tensor<5xi32>, tensor<1x2x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

// All rows of all tiles have equal lists: one segment is left and the column list is untouched.
// CHECK-LABEL: func.func @equal
func.func @equal(%x: tensor<3x8xf32>) -> tensor<3x2xf32> {
  %values = "sparsity.weight"() {source = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  %columns = "sparsity.weight"() {source = dense<[2, 5]> : tensor<2xi32>} : () -> tensor<2xi32>
  %segments = "sparsity.weight"() {source = dense<[[[0, 2], [0, 2]]]> : tensor<1x2x2xi32>} : () -> tensor<1x2x2xi32>
  %offsets = "sparsity.weight"() {source = dense<0> : tensor<1xi32>} : () -> tensor<1xi32>
  %rows = "sparsity.weight"() {source = dense<[[0, 1]]> : tensor<1x2xi32>} : () -> tensor<1x2xi32>
  %work = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  // CHECK: dense<[1.000000e+00, 3.000000e+00, 2.000000e+00, 4.000000e+00]> : tensor<4xf32>
  // CHECK: dense<[2, 5]> : tensor<2xi32>
  // CHECK: "sparsity.packed_linear"{{.*}} row_masks = [3], row_tile = 2
  %y = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [1, 2], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<3x8xf32>, tensor<4xf32>, tensor<2xi32>, tensor<1x2x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

// Arrays that are not known cannot be proved equal.
// CHECK-LABEL: func.func @unknown
// CHECK: row_masks = [1, 2]
func.func @unknown(%x: tensor<3x8xf32>, %values: tensor<5xf32>, %columns: tensor<5xi32>, %segments: tensor<1x2x2xi32>, %offsets: tensor<1xi32>, %rows: tensor<1x2xi32>, %work: tensor<2xi32>) -> tensor<3x2xf32> {
  %y = "sparsity.packed_linear"(%x, %values, %columns, %segments, %offsets, %rows, %work) {row_tile = 2 : i64, row_masks = [1, 2], operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<3x8xf32>, tensor<5xf32>, tensor<5xi32>, tensor<1x2x2xi32>, tensor<1xi32>, tensor<1x2xi32>, tensor<2xi32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}
