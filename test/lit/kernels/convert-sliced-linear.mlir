// RUN: sparsity-opt %s --convert-sparsity-to-kernels --canonicalize --check-semantics --split-input-file | FileCheck %s

// One list for both vectors of a slice: a step loads two vectors of weights once, and one number of x for each token.
// The vectors' rows are neighbours: a vector store where all of them exist, a row at a time at the end of the layer.
// CHECK-LABEL: func.func private @rows_9x6_relu(
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<2x6xf32>, %[[VALUES:[a-z0-9]+]]: memref<?x8xf32>, %[[COLUMNS:[a-z0-9]+]]: memref<?x1xi16>,
// CHECK-SAME: %[[OFFSETS:[a-z0-9]+]]: memref<?xi32>, %[[ROWS:[a-z0-9]+]]: memref<?x8xi32>, %[[WORK:[a-z0-9]+]]: memref<2xi32>, %[[Y:[a-z0-9]+]]: memref<2x9xf32>
// CHECK-SAME: attributes {sparsity.kernel}
// CHECK: scf.for
// CHECK: scf.for %[[K:.*]] = {{.*}} iter_args({{.*}}) -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>)
// CHECK-COUNT-2: vector.load %[[VALUES]][%[[K]], {{.*}} vector<4xf32>
// CHECK-COUNT-1: memref.load %[[COLUMNS]][%[[K]]
// CHECK-COUNT-2: memref.load %[[X]]
// CHECK-COUNT-4: vector.fma
// CHECK-NOT: vector.fma
// CHECK: arith.select
// CHECK: scf.if
// CHECK: vector.store {{.*}}, %[[Y]]
// CHECK: else
// CHECK: vector.extract
// CHECK: memref.store {{.*}}, %[[Y]]
// CHECK-LABEL: func.func @one_list
// CHECK: "sparsity.dispatch"{{.*}}grid = array<i64: 1, 1, 1>, kernel = @rows_9x6_relu
func.func @one_list(%x: tensor<2x6xf32>) -> tensor<2x9xf32> {
  %v = "sparsity.weight"() {source = dense<1.0> : tensor<4x8xf32>} : () -> tensor<4x8xf32>
  %c = "sparsity.weight"() {source = dense<[[0], [2], [0], [2]]> : tensor<4x1xi16>} : () -> tensor<4x1xi16>
  %o = "sparsity.weight"() {source = dense<[0, 2, 4]> : tensor<3xi32>} : () -> tensor<3xi32>
  %r = "sparsity.weight"() {source = dense<[[0, 1, 2, 3, 4, 5, 6, 7], [8, 8, 8, 8, 8, 8, 8, 8]]> : tensor<2x8xi32>} : () -> tensor<2x8xi32>
  %w = "sparsity.weight"() {source = dense<[0, 2]> : tensor<2xi32>} : () -> tensor<2xi32>
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {activation = "relu", vector_rows = 4 : i64, consecutive = true, sparsity.schedule = #sparsity.schedule<{token_vectors = 2 : i64}>, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<2x6xf32>, tensor<4x8xf32>, tensor<4x1xi16>, tensor<3xi32>, tensor<2x8xi32>, tensor<2xi32>) -> tensor<2x9xf32>
  return %y : tensor<2x9xf32>
}

// -----

// A list per row, and a target on which gathers pay: x is gathered, from one dimension. One sum a token leaves the multiply-adds waiting for each other,
// so four steps run at a time, and a loop takes those that are left. Rows are stored one by one, plus the residual.
// CHECK-LABEL: func.func private @rows_8x6_residual(
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<1x6xf32>
// CHECK: %[[FLAT:.*]] = memref.collapse_shape %[[X]]
// CHECK: %[[BIAS:.*]] = vector.load {{.*}} memref<?x8xf32>, vector<8xf32>
// CHECK: scf.for {{.*}} step %c4 iter_args(%{{.*}} = %[[BIAS]],
// CHECK-COUNT-4: vector.gather %[[FLAT]]
// CHECK: scf.for {{.*}} step %c1
// CHECK-COUNT-1: vector.gather %[[FLAT]]
// CHECK-NOT: vector.gather
// CHECK-NOT: vector.store
// CHECK-COUNT-8: memref.store
// CHECK-LABEL: func.func @lists
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64, gather = 1 : i64}>} {
func.func @lists(%x: tensor<1x6xf32>, %h: tensor<1x8xf32>) -> tensor<1x8xf32> {
  %v = "sparsity.weight"() {source = dense<2.0> : tensor<5x8xf32>} : () -> tensor<5x8xf32>
  %c = "sparsity.weight"() {source = dense<[[0, 1, 2, 3, 4, 5, 0, 1], [1, 2, 3, 4, 5, 0, 1, 2], [2, 3, 4, 5, 0, 1, 2, 3], [3, 4, 5, 0, 1, 2, 3, 4], [5, 0, 1, 2, 3, 4, 5, 0]]> : tensor<5x8xi32>} : () -> tensor<5x8xi32>
  %o = "sparsity.weight"() {source = dense<[0, 5]> : tensor<2xi32>} : () -> tensor<2xi32>
  %r = "sparsity.weight"() {source = dense<[[2, 0, 3, 1, 7, 6, 5, 4]]> : tensor<1x8xi32>} : () -> tensor<1x8xi32>
  %w = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  %b = "sparsity.weight"() {source = dense<1.0> : tensor<1x8xf32>} : () -> tensor<1x8xf32>
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %b, %h) {vector_rows = 8 : i64, consecutive = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0>} : (tensor<1x6xf32>, tensor<5x8xf32>, tensor<5x8xi32>, tensor<2xi32>, tensor<1x8xi32>, tensor<2xi32>, tensor<1x8xf32>, tensor<1x8xf32>) -> tensor<1x8xf32>
  return %y : tensor<1x8xf32>
}
}

// -----

// Elsewhere: a column and a number of x for each lane.
// CHECK-LABEL: func.func private @rows_4x6(
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<1x6xf32>, %{{[a-z0-9]+}}: memref<?x4xf32>, %[[COLUMNS:[a-z0-9]+]]: memref<?x4xi32>
// CHECK-NOT: vector.gather
// CHECK: %[[C:.*]] = memref.load %[[COLUMNS]]
// CHECK: %[[PLACE:.*]] = arith.index_castui %[[C]]
// CHECK: memref.load %[[X]][%c0, %[[PLACE]]]
// CHECK: vector.from_elements {{.*}} : vector<4xf32>
func.func @narrow(%x: tensor<1x6xf32>) -> tensor<1x4xf32> {
  %v = "sparsity.weight"() {source = dense<2.0> : tensor<2x4xf32>} : () -> tensor<2x4xf32>
  %c = "sparsity.weight"() {source = dense<[[0, 1, 2, 3], [1, 2, 3, 4]]> : tensor<2x4xi32>} : () -> tensor<2x4xi32>
  %o = "sparsity.weight"() {source = dense<[0, 2]> : tensor<2xi32>} : () -> tensor<2xi32>
  %r = "sparsity.weight"() {source = dense<[[2, 0, 3, 1]]> : tensor<1x4xi32>} : () -> tensor<1x4xi32>
  %w = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w) {vector_rows = 4 : i64, consecutive = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0>} : (tensor<1x6xf32>, tensor<2x4xf32>, tensor<2x4xi32>, tensor<2xi32>, tensor<1x4xi32>, tensor<2xi32>) -> tensor<1x4xf32>
  return %y : tensor<1x4xf32>
}

// -----

// Windows of 32 places, two steps each, in a copy of x with its columns in another order: both vectors of the window are
// loaded once, and each step looks its numbers up in them. No steps are left over.
// CHECK-LABEL: func.func private @rows_16x40(
// CHECK-SAME: %[[X:[a-z0-9]+]]: memref<1x40xf32>, %[[VALUES:[a-z0-9]+]]: memref<?x16xf32>, %[[COLUMNS:[a-z0-9]+]]: memref<?x16xi8>
// CHECK-SAME: %[[STARTS:[a-z0-9]+]]: memref<?xi16>, %[[ORDER:[a-z0-9]+]]: memref<33xi16>, %[[Y:[a-z0-9]+]]: memref<1x16xf32>
// CHECK: %[[COPY:.*]] = memref.alloca() : memref<1x33xf32>
// CHECK: scf.for
// CHECK: %[[C:.*]] = memref.load %[[ORDER]]
// CHECK: %[[FROM:.*]] = arith.index_castui %[[C]]
// CHECK: %[[NUMBER:.*]] = memref.load %[[X]][%c0, %[[FROM]]]
// CHECK: memref.store %[[NUMBER]], %[[COPY]]
// CHECK: scf.for %[[K:.*]] = {{.*}} step %c2 iter_args
// CHECK: %[[WINDOW:.*]] = arith.divui %[[K]], %c2
// CHECK: memref.load %[[STARTS]][%[[WINDOW]]]
// CHECK: %[[LOW:.*]] = vector.load %[[COPY]]
// CHECK: %[[HIGH:.*]] = vector.load %[[COPY]]
// CHECK-COUNT-2: llvm.call_intrinsic "llvm.x86.avx512.vpermi2var.ps.512"(%[[LOW]], %{{.*}}, %[[HIGH]])
// CHECK-COUNT-2: vector.fma
// CHECK: arith.addf
// CHECK-NOT: vector.fma
// CHECK-COUNT-16: memref.store {{.*}}, %[[Y]]
// CHECK-LABEL: func.func @windows
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 64 : i64, registers = 32 : i64}>} {
func.func @windows(%x: tensor<1x40xf32>) -> tensor<1x16xf32> {
  %v = "sparsity.weight"() {source = dense<2.0> : tensor<4x16xf32>} : () -> tensor<4x16xf32>
  %c = "sparsity.weight"() {source = dense<[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 31], [16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 31], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2]]> : tensor<4x16xi8>} : () -> tensor<4x16xi8>
  %o = "sparsity.weight"() {source = dense<[0, 4]> : tensor<2xi32>} : () -> tensor<2xi32>
  %r = "sparsity.weight"() {source = dense<[[15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]> : tensor<1x16xi32>} : () -> tensor<1x16xi32>
  %w = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  %s = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi16>} : () -> tensor<2xi16>
  %p = "sparsity.weight"() {source = dense<[0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 37, 2, 5, 8, 11, 14, 17]> : tensor<33xi16>} : () -> tensor<33xi16>
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s, %p) {vector_rows = 16 : i64, window_steps = 2 : i64, consecutive = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1>} : (tensor<1x40xf32>, tensor<4x16xf32>, tensor<4x16xi8>, tensor<2xi32>, tensor<1x16xi32>, tensor<2xi32>, tensor<2xi16>, tensor<33xi16>) -> tensor<1x16xf32>
  return %y : tensor<1x16xf32>
}
}

// -----

// A target without that lookup: the op is left for the portable lowering.
// CHECK-LABEL: func.func @no_lookup
// CHECK: "sparsity.sliced_linear"
module attributes {sparsity.target = #sparsity.target<{vector_bytes = 32 : i64, registers = 16 : i64}>} {
func.func @no_lookup(%x: tensor<1x40xf32>) -> tensor<1x16xf32> {
  %v = "sparsity.weight"() {source = dense<2.0> : tensor<1x16xf32>} : () -> tensor<1x16xf32>
  %c = "sparsity.weight"() {source = dense<3> : tensor<1x16xi8>} : () -> tensor<1x16xi8>
  %o = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  %r = "sparsity.weight"() {source = dense<[[15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]> : tensor<1x16xi32>} : () -> tensor<1x16xi32>
  %w = "sparsity.weight"() {source = dense<[0, 1]> : tensor<2xi32>} : () -> tensor<2xi32>
  %s = "sparsity.weight"() {source = dense<[8]> : tensor<1xi16>} : () -> tensor<1xi16>
  %y = "sparsity.sliced_linear"(%x, %v, %c, %o, %r, %w, %s) {vector_rows = 16 : i64, window_steps = 1 : i64, consecutive = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0>} : (tensor<1x40xf32>, tensor<1x16xf32>, tensor<1x16xi8>, tensor<2xi32>, tensor<1x16xi32>, tensor<2xi32>, tensor<1xi16>) -> tensor<1x16xf32>
  return %y : tensor<1x16xf32>
}
}
