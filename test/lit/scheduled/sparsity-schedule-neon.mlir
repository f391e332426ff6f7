// RUN: sparsity-opt %s --sparsity-schedule --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --sparsity-schedule="row-tile=6" --split-input-file | FileCheck %s --check-prefix=GIVEN

// With NEON (16-byte vectors, 32 registers) rows and token vectors are chosen together: bands of 16 rows are not padded
// by tiles of 6 or 12, and what would not fit the registers is not taken. Four columns make an iteration.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64, workers = 2 : i64}>} {
  // CHECK-LABEL: func.func @defaults
  func.func @defaults(%x: tensor<30x16xf32>) -> (tensor<30x96xf32>, tensor<30x96xf32>, tensor<30x96xf32>, tensor<30x96xf32>) {
    %d = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<96x16xf32>
    %b = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 16 : i64, block_columns = 1 : i64}>} : () -> tensor<96x16xf32>
    %u = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 4 : i64, block_columns = 1 : i64}>} : () -> tensor<96x16xf32>
    %m = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 8 : i64, block_columns = 4 : i64}>} : () -> tensor<96x16xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 12 : i64, token_vectors = 2 : i64, unroll = 4 : i64, workgroups = 8 : i64}>
    // GIVEN: "sparsity.linear"{{.*}}<{row_tile = 6 : i64, token_vectors = 4 : i64, unroll = 4 : i64
    %1 = "sparsity.linear"(%x, %d) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<30x16xf32>, tensor<96x16xf32>) -> tensor<30x96xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 8 : i64, token_vectors = 2 : i64, unroll = 4 : i64
    %2 = "sparsity.linear"(%x, %b) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<30x16xf32>, tensor<96x16xf32>) -> tensor<30x96xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 4 : i64, token_vectors = 4 : i64, unroll = 4 : i64
    %3 = "sparsity.linear"(%x, %u) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<30x16xf32>, tensor<96x16xf32>) -> tensor<30x96xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 4 : i64, token_vectors = 4 : i64, unroll = 4 : i64
    // GIVEN-COUNT-2: unroll = 4
    // A tall tile whose rows differ is a loop for each subset of them already.
    // GIVEN: "sparsity.linear"{{.*}}<{row_tile = 6 : i64, token_vectors = 4 : i64, workgroups
    %4 = "sparsity.linear"(%x, %m) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<30x16xf32>, tensor<96x16xf32>) -> tensor<30x96xf32>
    return %1, %2, %3, %4 : tensor<30x96xf32>, tensor<30x96xf32>, tensor<30x96xf32>, tensor<30x96xf32>
  }
}

// -----

// With rows for lanes, `unroll` counts steps and is the kernel's to choose.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 32 : i64}>} {
  // CHECK-LABEL: func.func @one_token
  func.func @one_token(%x: tensor<1x16xf32>) -> tensor<1x96xf32> {
    %d = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<96x16xf32>
    // CHECK: "sparsity.linear"
    // CHECK-NOT: unroll
    // CHECK-SAME: row_vectors
    // CHECK: return
    %1 = "sparsity.linear"(%x, %d) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x16xf32>, tensor<96x16xf32>) -> tensor<1x96xf32>
    return %1 : tensor<1x96xf32>
  }
}
