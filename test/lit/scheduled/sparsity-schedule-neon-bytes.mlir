// RUN: sparsity-opt %s --sparsity-number-format="weights=int8 arithmetic=int8" --sparsity-schedule --split-input-file | FileCheck %s

// Rows of bytes that have no columns in common are taken in twos, for twice the tokens; rows that share theirs in fours.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64, dot = "sdot"}>} {
  // CHECK-LABEL: func.func @mixed
  func.func @mixed(%x: tensor<64x8xf32>) -> (tensor<64x4xf32>, tensor<64x4xf32>) {
    %a = "sparsity.weight"() {source = dense<[[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]]> : tensor<4x8xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 4 : i64, block_columns = 4 : i64}>} : () -> tensor<4x8xf32>
    %b = "sparsity.weight"() {source = dense<1.0> : tensor<4x8xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 4 : i64, block_columns = 4 : i64}>} : () -> tensor<4x8xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 2 : i64, token_vectors = 8 : i64, unroll = 4 : i64
    %1 = "sparsity.linear"(%x, %a) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<64x8xf32>, tensor<4x8xf32>) -> tensor<64x4xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 4 : i64, token_vectors = 4 : i64, unroll = 4 : i64
    %2 = "sparsity.linear"(%x, %b) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<64x8xf32>, tensor<4x8xf32>) -> tensor<64x4xf32>
    return %1, %2 : tensor<64x4xf32>, tensor<64x4xf32>
  }
}

// -----

// Matrices of bytes are multiplied in tiles of eight rows, one run of columns in an iteration. A band of four is not filled
// up to that.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64, dot = "smmla"}>} {
  // CHECK-LABEL: func.func @matrices
  func.func @matrices(%x: tensor<64x16xf32>) -> (tensor<64x96xf32>, tensor<64x96xf32>, tensor<64x96xf32>) {
    %d = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<96x16xf32>
    %b = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 16 : i64, block_columns = 1 : i64}>} : () -> tensor<96x16xf32>
    %u = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 4 : i64, block_columns = 1 : i64}>} : () -> tensor<96x16xf32>
    // CHECK-COUNT-2: "sparsity.linear"{{.*}}<{row_tile = 8 : i64, token_vectors = 2 : i64, workgroups
    %1 = "sparsity.linear"(%x, %d) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<64x16xf32>, tensor<96x16xf32>) -> tensor<64x96xf32>
    %2 = "sparsity.linear"(%x, %b) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<64x16xf32>, tensor<96x16xf32>) -> tensor<64x96xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 4 : i64, token_vectors = 4 : i64, unroll = 4 : i64
    %3 = "sparsity.linear"(%x, %u) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<64x16xf32>, tensor<96x16xf32>) -> tensor<64x96xf32>
    return %1, %2, %3 : tensor<64x96xf32>, tensor<64x96xf32>, tensor<64x96xf32>
  }
}
