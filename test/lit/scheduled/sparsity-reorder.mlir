// RUN: sparsity-opt %s --sparsity-reorder --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --sparsity-reorder --statistics=json --split-input-file 2>&1 >/dev/null | FileCheck %s --check-prefix=STAT

// Rows that keep the same columns become neighbours, groups in the order of their first rows.
// CHECK-LABEL: func.func @groups
// STAT: "groups-formed": 2
// STAT: "rows-moved": 2
func.func @groups(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %w = "sparsity.weight"() {source = dense<[[1.0, 0.0, 2.0, 0.0], [0.0, 3.0, 0.0, 4.0], [5.0, 0.0, 6.0, 0.0], [0.0, 7.0, 0.0, 8.0]]> : tensor<4x4xf32>, sparsity.encoding = #sparsity.unstructured<{}>} : () -> tensor<4x4xf32>
  // CHECK: "sparsity.linear"{{.*}} sparsity.order = dense<[0, 2, 1, 3]> : tensor<4xi32>
  %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// Where no two rows are equal, a tile gets the rows that share most columns with its first: 0 with 3, then 1 with 2.
// CHECK-LABEL: func.func @similar
func.func @similar(%x: tensor<3x4xf32>) -> tensor<3x4xf32> {
  %w = "sparsity.weight"() {source = dense<[[1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]]> : tensor<4x4xf32>, sparsity.encoding = #sparsity.unstructured<{}>} : () -> tensor<4x4xf32>
  // CHECK: sparsity.order = dense<[0, 3, 1, 2]>
  %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x4xf32>, tensor<4x4xf32>) -> tensor<3x4xf32>
  return %y : tensor<3x4xf32>
}

// -----

// Empty rows fill a tile of their own. The bands that they leave incomplete are tiled last, so that others stay whole.
// CHECK-LABEL: func.func @bands
func.func @bands(%x: tensor<3x4xf32>) -> tensor<3x6xf32> {
  %w = "sparsity.weight"() {source = dense<[[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]]> : tensor<6x4xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 2 : i64, block_columns = 2 : i64}>} : () -> tensor<6x4xf32>
  // CHECK: sparsity.order = dense<[1, 4, 2, 3, 0, 5]>
  %y = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x4xf32>, tensor<6x4xf32>) -> tensor<3x6xf32>
  return %y : tensor<3x6xf32>
}

// -----

// Without a schedule, without an encoding or with a dense one nothing is reordered.
// CHECK-LABEL: func.func @left_alone
// CHECK-NOT: sparsity.order
func.func @left_alone(%x: tensor<3x2xf32>, %w: tensor<2x2xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x2xf32>) {
  %u = "sparsity.weight"() {source = dense<[[0.0, 1.0], [1.0, 0.0]]> : tensor<2x2xf32>, sparsity.encoding = #sparsity.unstructured<{}>} : () -> tensor<2x2xf32>
  %d = "sparsity.weight"() {source = dense<[[0.0, 1.0], [1.0, 0.0]]> : tensor<2x2xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<2x2xf32>
  %1 = "sparsity.linear"(%x, %u) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %2 = "sparsity.linear"(%x, %d) {sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %3 = "sparsity.linear"(%x, %w) {sparsity.schedule = #sparsity.schedule<{row_tile = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  return %1, %2, %3 : tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x2xf32>
}
