// RUN: sparsity-opt %s --sparsity-schedule --split-input-file | FileCheck %s
// RUN: sparsity-opt %s --sparsity-schedule="row-tile=3 token-vectors=2 workgroups=5" --split-input-file | FileCheck %s --check-prefix=GIVEN

// Dense rows share one column list, so the tallest tile that the registers hold is taken; a mixed pattern gets four rows.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64, workers = 2 : i64}>} {
  // CHECK-LABEL: func.func @defaults
  func.func @defaults(%x: tensor<30x16xf32>) -> (tensor<30x96xf32>, tensor<30x96xf32>, tensor<30x96xf32>) {
    %d = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<96x16xf32>
    %b = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 16 : i64, block_columns = 1 : i64}>} : () -> tensor<96x16xf32>
    %m = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 8 : i64, block_columns = 4 : i64}>} : () -> tensor<96x16xf32>
    // CHECK: "sparsity.linear"{{.*}} sparsity.schedule = #sparsity.schedule<{row_tile = 6 : i64, token_vectors = 4 : i64, workgroups = 8 : i64}>
    // GIVEN: "sparsity.linear"{{.*}} sparsity.schedule = #sparsity.schedule<{row_tile = 3 : i64, token_vectors = 2 : i64, workgroups = 5 : i64}>
    %1 = "sparsity.linear"(%x, %d) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<30x16xf32>, tensor<96x16xf32>) -> tensor<30x96xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 4
    %2 = "sparsity.linear"(%x, %b) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<30x16xf32>, tensor<96x16xf32>) -> tensor<30x96xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 4
    %3 = "sparsity.linear"(%x, %m) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<30x16xf32>, tensor<96x16xf32>) -> tensor<30x96xf32>
    return %1, %2, %3 : tensor<30x96xf32>, tensor<30x96xf32>, tensor<30x96xf32>
  }
}

// -----

// Sixteen registers hold fewer sums; a schedule that is there stays.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>} {
  // CHECK-LABEL: func.func @few_registers
  func.func @few_registers(%x: tensor<30x16xf32>) -> (tensor<30x96xf32>, tensor<30x96xf32>) {
    %d = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>} : () -> tensor<96x16xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 2
    %1 = "sparsity.linear"(%x, %d) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<30x16xf32>, tensor<96x16xf32>) -> tensor<30x96xf32>
    // CHECK: "sparsity.linear"{{.*}} sparsity.schedule = #sparsity.schedule<{row_tile = 1 : i64}>
    // GIVEN: "sparsity.linear"{{.*}} sparsity.schedule = #sparsity.schedule<{row_tile = 1 : i64}>
    %2 = "sparsity.linear"(%x, %d) {sparsity.schedule = #sparsity.schedule<{row_tile = 1 : i64}>, operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<30x16xf32>, tensor<96x16xf32>) -> tensor<30x96xf32>
    return %1, %2 : tensor<30x96xf32>, tensor<30x96xf32>
  }
}

// -----

// Few tokens of a sequence: rows are the lanes. Rows that differ need a gather for every token, which pays for fewer.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>} {
  // CHECK-LABEL: func.func @few_tokens
  func.func @few_tokens(%a: tensor<8x1x16xf32>, %b: tensor<1x6x16xf32>, %c: tensor<1x13x16xf32>) -> (tensor<8x1x96xf32>, tensor<1x6x96xf32>, tensor<1x6x96xf32>, tensor<1x13x96xf32>) {
    %d = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.dense<{}>} : () -> tensor<96x16xf32>
    %u = "sparsity.weight"() {source = dense<1.0> : tensor<96x16xf32>, sparsity.encoding = #sparsity.unstructured<{}>} : () -> tensor<96x16xf32>
    // CHECK: "sparsity.linear"{{.*}} row_vectors = 4 : i64, token_vectors = 3 : i64{{.*}}tensor<8x1x16xf32>
    %1 = "sparsity.linear"(%a, %u) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<8x1x16xf32>, tensor<96x16xf32>) -> tensor<8x1x96xf32>
    // CHECK: "sparsity.linear"{{.*}} row_vectors = 4
    %2 = "sparsity.linear"(%b, %d) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x6x16xf32>, tensor<96x16xf32>) -> tensor<1x6x96xf32>
    // CHECK-NOT: row_vectors
    %3 = "sparsity.linear"(%b, %u) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x6x16xf32>, tensor<96x16xf32>) -> tensor<1x6x96xf32>
    %4 = "sparsity.linear"(%c, %d) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<1x13x16xf32>, tensor<96x16xf32>) -> tensor<1x13x96xf32>
    return %1, %2, %3, %4 : tensor<8x1x96xf32>, tensor<1x6x96xf32>, tensor<1x6x96xf32>, tensor<1x13x96xf32>
  }
}

// -----

// On a GPU a thread has as many sums as its registers hold, eight rows for two vectors of tokens; where that leaves too
// few threads, several share the columns of a tile.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 24 : i64, threads = 512 : i64}>} {
  // CHECK-LABEL: func.func @threads
  func.func @threads(%x: tensor<128x64xf32>) -> (tensor<128x256xf32>, tensor<128x128xf32>, tensor<128x32xf32>, tensor<128x264xf32>, tensor<128x264xf32>) {
    %d = "sparsity.weight"() {source = dense<1.0> : tensor<256x64xf32>} : () -> tensor<256x64xf32>
    %b = "sparsity.weight"() {source = dense<1.0> : tensor<128x64xf32>} : () -> tensor<128x64xf32>
    %s = "sparsity.weight"() {source = dense<1.0> : tensor<32x64xf32>} : () -> tensor<32x64xf32>
    %e = "sparsity.weight"() {source = dense<1.0> : tensor<264x64xf32>, sparsity.encoding = #sparsity.bcr<{block_rows = 12 : i64, block_columns = 1 : i64}>} : () -> tensor<264x64xf32>
    %m = "sparsity.weight"() {source = dense<1.0> : tensor<264x64xf32>, sparsity.encoding = #sparsity.unstructured<{}>} : () -> tensor<264x64xf32>
    // 16 runs of eight tokens times 32 tiles of eight rows.
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 8 : i64, token_vectors = 2 : i64, workgroups = 1 : i64}>
    %1 = "sparsity.linear"(%x, %d) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<128x64xf32>, tensor<256x64xf32>) -> tensor<128x256xf32>
    // CHECK: "sparsity.linear"{{.*}}<{column_pieces = 2 : i64, row_tile = 8 : i64, token_vectors = 2 : i64
    %2 = "sparsity.linear"(%x, %b) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<128x64xf32>, tensor<128x64xf32>) -> tensor<128x128xf32>
    // Eight rows for one vector, in four pieces; two vectors would leave half of the threads.
    // CHECK: "sparsity.linear"{{.*}}<{column_pieces = 4 : i64, row_tile = 8 : i64, token_vectors = 1 : i64
    %3 = "sparsity.linear"(%x, %s) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<128x64xf32>, tensor<32x64xf32>) -> tensor<128x32xf32>
    // Tiles of eight would fill up bands of twelve.
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 4
    %4 = "sparsity.linear"(%x, %e) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<128x64xf32>, tensor<264x64xf32>) -> tensor<128x264xf32>
    // Rows that differ.
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 4 : i64, workgroups = 1 : i64}>
    %5 = "sparsity.linear"(%x, %m) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<128x64xf32>, tensor<264x64xf32>) -> tensor<128x264xf32>
    return %1, %2, %3, %4, %5 : tensor<128x256xf32>, tensor<128x128xf32>, tensor<128x32xf32>, tensor<128x264xf32>, tensor<128x264xf32>
  }
}

// -----

// Fewer registers, fewer sums; few columns are not worth sharing.
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 16 : i64, registers = 16 : i64, threads = 512 : i64}>} {
  // CHECK-LABEL: func.func @few_registers_of_threads
  func.func @few_registers_of_threads(%x: tensor<128x16xf32>, %y: tensor<128x8xf32>) -> (tensor<128x256xf32>, tensor<128x64xf32>) {
    %d = "sparsity.weight"() {source = dense<1.0> : tensor<256x16xf32>} : () -> tensor<256x16xf32>
    %b = "sparsity.weight"() {source = dense<1.0> : tensor<64x8xf32>} : () -> tensor<64x8xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 8 : i64, token_vectors = 1
    %1 = "sparsity.linear"(%x, %d) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<128x16xf32>, tensor<256x16xf32>) -> tensor<128x256xf32>
    // CHECK: "sparsity.linear"{{.*}}<{row_tile = 4 : i64, token_vectors = 1 : i64, workgroups = 1 : i64}>
    %2 = "sparsity.linear"(%y, %b) {operandSegmentSizes = array<i32: 1, 1, 0, 0>} : (tensor<128x8xf32>, tensor<64x8xf32>) -> tensor<128x64xf32>
    return %1, %2 : tensor<128x256xf32>, tensor<128x64xf32>
  }
}
