// Weights of linear layers get the encoding with the fewest packed bytes; other weights get none.
// RUN: sparsity-opt %s --sparsity-detect --split-input-file | FileCheck %s

// Columns 0 to 4 and 9 of all rows: one column list for a band of four rows.
// CHECK-LABEL: func.func @columns
// CHECK: "sparsity.weight"
// CHECK-SAME: sparsity.encoding = #sparsity.bcr<{block_columns = 1 : i64, block_rows = 4 : i64}>
func.func @columns(%x: tensor<2x16xf32>) -> tensor<2x4xf32> {
  %w = "sparsity.weight"() {source = dense<[[1.0, 1.1, 1.2, 1.3, 1.4, 0.0, 0.0, 0.0, 0.0, 1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                                           [2.0, 2.1, 2.2, 2.3, 2.4, 0.0, 0.0, 0.0, 0.0, 2.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                                           [3.0, 3.1, 3.2, 3.3, 3.4, 0.0, 0.0, 0.0, 0.0, 3.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
                                           [4.0, 4.1, 4.2, 4.3, 4.4, 0.0, 0.0, 0.0, 0.0, 4.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<4x16xf32>}
       : () -> tensor<4x16xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x16xf32>, tensor<4x16xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// A splat without zeros is dense. Two layers share the weight; the bias, though a weight op, has no encoding.
// CHECK-LABEL: func.func @shared
// CHECK-COUNT-1: sparsity.encoding = #sparsity.dense<{}>
// CHECK-NOT: sparsity.encoding
// CHECK: return
func.func @shared(%x: tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>) {
  %w = "sparsity.weight"() {source = dense<0.5> : tensor<8x8xf32>} : () -> tensor<8x8xf32>
  %b = "sparsity.weight"() {source = dense<0.0> : tensor<8xf32>} : () -> tensor<8xf32>
  %y = "sparsity.linear"(%x, %w, %b) {operandSegmentSizes = array<i32: 1, 1, 1, 0>}
       : (tensor<2x8xf32>, tensor<8x8xf32>, tensor<8xf32>) -> tensor<2x8xf32>
  %z = "sparsity.linear"(%y, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x8xf32>, tensor<8x8xf32>) -> tensor<2x8xf32>
  return %y, %z : tensor<2x8xf32>, tensor<2x8xf32>
}

// -----

// An all-zero weight of many rows: no description is cheaper than one band that keeps no column.
// CHECK-LABEL: func.func @zeros
// CHECK: sparsity.encoding = #sparsity.bcr<{block_columns = 64 : i64, block_rows = 200 : i64}>
func.func @zeros(%x: tensor<2x64xf32>) -> tensor<2x200xf32> {
  %w = "sparsity.weight"() {source = dense<0.0> : tensor<200x64xf32>} : () -> tensor<200x64xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x64xf32>, tensor<200x64xf32>) -> tensor<2x200xf32>
  return %y : tensor<2x200xf32>
}

// -----

// Two of each four columns.
// CHECK-LABEL: func.func @two_of_four
// CHECK: sparsity.encoding = #sparsity.nm<{m = 4 : i64, n = 2 : i64}>
func.func @two_of_four(%x: tensor<2x8xf32>) -> tensor<2x3xf32> {
  %w = "sparsity.weight"() {source = dense<[[1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0],
                                           [0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0],
                                           [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0]]> : tensor<3x8xf32>}
       : () -> tensor<3x8xf32>
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x8xf32>, tensor<3x8xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// The table of an embedding stays as it is, whatever its zeros.
// CHECK-LABEL: func.func @embedding
// CHECK-NOT: sparsity.encoding
// CHECK: return
func.func @embedding(%ids: tensor<1x2xi64>) -> tensor<1x2x4xf32> {
  %t = "sparsity.weight"() {source = dense<0.0> : tensor<16x4xf32>} : () -> tensor<16x4xf32>
  %y = "sparsity.embedding"(%ids, %t) {operandSegmentSizes = array<i32: 1, 1, 0>} : (tensor<1x2xi64>, tensor<16x4xf32>) -> tensor<1x2x4xf32>
  return %y : tensor<1x2x4xf32>
}

// -----

// A linear layer whose weight is computed has nothing to analyse.
// CHECK-LABEL: func.func @computed
// CHECK-NOT: sparsity.encoding
// CHECK: return
func.func @computed(%x: tensor<2x4xf32>, %w: tensor<3x4xf32>) -> tensor<2x3xf32> {
  %y = "sparsity.linear"(%x, %w) {operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<2x4xf32>, tensor<3x4xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}
