// RUN: sparsity-opt %s --sparsity-pack --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --sparsity-pack --split-input-file --statistics=json 2>&1 >/dev/null | FileCheck %s --check-prefix=STAT

// Every row of a tile gets a segment; the two rows of a group point at one column list (compact column), and values
// follow row by row. The order puts rows 0 and 2 into the first tile, 1 and 3 into the second.
// CHECK-LABEL: func.func @bcrc
// CHECK-SAME: (%[[X:.*]]: tensor<3x4xf32>)
func.func @bcrc(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %w = "sparsity.weight"() {source = dense<[[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 0.0], [5.0, 0.0, 6.0, 0.0], [0.0, 7.0, 0.0, 0.0]]> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
  // CHECK: %[[VALUES:.*]] = "sparsity.weight"() {source = dense<[1.000000e+00, 2.000000e+00, 5.000000e+00, 6.000000e+00, 3.000000e+00, 7.000000e+00]> : tensor<6xf32>}
  // CHECK: %[[COLUMNS:.*]] = "sparsity.weight"() {source = dense<[0, 2, 1]> : tensor<3xi32>}
  // CHECK: %[[SEGMENTS:.*]] = "sparsity.weight"() {source = dense<{{\[\[\[}}0, 2], [0, 2]], {{\[\[}}2, 3], [2, 3]]]> : tensor<2x2x2xi32>}
  // CHECK: %[[OFFSETS:.*]] = "sparsity.weight"() {source = dense<[0, 4]> : tensor<2xi32>}
  // CHECK: %[[ROWS:.*]] = "sparsity.weight"() {source = dense<{{\[\[}}0, 2], [1, 3]]> : tensor<2x2xi32>}
  // CHECK: %[[WORK:.*]] = "sparsity.weight"() {source = dense<[0, 2]> : tensor<2xi32>}
  // CHECK: "sparsity.packed_linear"(%[[X]], %[[VALUES]], %[[COLUMNS]], %[[SEGMENTS]], %[[OFFSETS]], %[[ROWS]], %[[WORK]])
  // CHECK-SAME: activation = "relu"
  // CHECK-SAME: row_masks = [1, 2], row_tile = 2
  %y = "sparsity.linear"(%x, %w) {activation = "relu", sparsity.order = dense<[0, 2, 1, 3]> : tensor<4xi32>, sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// Three rows in tiles of two: the last tile repeats its row, values and all. An empty row has an empty segment.
// STAT: "padding-values": 0
// STAT: "repeated-rows": 1
// STAT: "padding-values": 1
// CHECK-LABEL: func.func @remainder
func.func @remainder(%x: tensor<3x2xf32>) -> tensor<3x3xf32> {
  %w = "sparsity.weight"() {source = dense<[[1.0, 2.0], [0.0, 0.0], [0.0, 4.0]]> : tensor<3x2xf32>} : () -> tensor<3x2xf32>
  // CHECK: dense<[1.000000e+00, 2.000000e+00, 4.000000e+00, 4.000000e+00]> : tensor<4xf32>
  // CHECK: dense<{{\[\[}}0, 1], [2, 2]]> : tensor<2x2xi32>
  // CHECK: "sparsity.packed_linear"
  %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<3x2xf32>) -> tensor<3x3xf32>
  return %y : tensor<3x3xf32>
}

// -----

// No weight is left: buffers keep one element, segments are empty.
// CHECK-LABEL: func.func @all_zero
func.func @all_zero(%x: tensor<3x2xf32>) -> tensor<3x2xf32> {
  %w = "sparsity.weight"() {source = dense<0.0> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  // CHECK: dense<0.000000e+00> : tensor<1xf32>
  // CHECK: dense<0> : tensor<1xi32>
  // CHECK: dense<0> : tensor<1x2x2xi32>
  %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %y : tensor<3x2xf32>
}

// -----

// A weight that is computed, or a layer without a schedule, stays as it is.
// CHECK-LABEL: func.func @left_alone
// CHECK-NOT: packed_linear
func.func @left_alone(%x: tensor<3x2xf32>, %w: tensor<2x2xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %u = "sparsity.weight"() {source = dense<1.0> : tensor<2x2xf32>} : () -> tensor<2x2xf32>
  %1 = "sparsity.linear"(%x, %u) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %2 = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1, %2 : tensor<3x2xf32>, tensor<3x2xf32>
}
